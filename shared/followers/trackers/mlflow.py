"""MLflow: one MLflow run for each run folder, in the experiment `run.project` (or `MLFLOW_EXPERIMENT_NAME`).

MLflow's own environment variables say where: `MLFLOW_TRACKING_URI`, `MLFLOW_TRACKING_TOKEN`,
`MLFLOW_TRACKING_USERNAME` … Every call can be made twice: MLflow keeps one of two points that are alike, and files
have names that follow from what they are.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from shared.config.schema import Config
from shared.errors import ConfigError
from shared.followers import verdict_words
from shared.followers.parameters import parameters
from shared.followers.tracker import Destination, Model, PictureName, Row, Table
from shared.run_folder.heartbeat import read_status
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time

PACKAGE = "mlflow"
T = TypeVar("T")
MAX_PARAMS, MAX_METRICS = 100, 1000
"""In one request."""
MAX_PARAM, MAX_TAG = 6000, 8000
"""Letters of a value."""
RUN_ID_TAG, DIGEST_TAG = "darkroom.run_id", "darkroom.digest"
NOTE_TAG, IMAGES_TAG, SOURCE_TAG = "mlflow.note.content", "mlflow.loggedImages", "mlflow.source.name"
MODEL_FOLDER = "model"
PREVIEW_SIDE = 256
"""Pixels of the small copy that MLflow's charts of pictures show."""
IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
"""Set where nobody has set them: the follower tries again by itself, and must hear that it is to end."""
REFUSALS = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
CURE = "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, for {uri}"


class MLflow:
    """Metrics and parameters by name, pictures by step, the verdict as note and tags, the best snapshot as a model."""

    def begin(self, run: RunDir, config: Config) -> Destination:
        """Find the MLflow run that is tagged with the run folder's id, or create it.

        Raises:
            ConfigError: the server does not let us in, or the address is none.
        """
        for name, value in IMPATIENCE.items():
            os.environ.setdefault(name, value)
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        self._folder, self._record = run, run.read_record()
        self._client = _asked(_package().MlflowClient)
        self._start_ms = _milliseconds(parse_time(self._record.created).timestamp())
        self._run_id, experiment = _asked(lambda: self._join(config))
        return Destination(self._run_id, self._link(experiment))

    def _join(self, config: Config) -> tuple[str, str]:
        """The ids of the run and of its experiment."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or config.run.project
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            identity = self._client.create_experiment(name)
        elif experiment.lifecycle_stage != "active":
            raise ConfigError(
                f"MLflow's experiment {name} has been deleted", "restore it there, or set run.project to another name"
            )
        else:
            identity = experiment.experiment_id
        found = self._client.search_runs([identity], f"tags.`{RUN_ID_TAG}` = '{self._record.run_id}'", max_results=1)
        run = (
            found[0]
            if found
            else self._client.create_run(
                identity,
                start_time=self._start_ms,
                run_name=self._folder.path.name,
                tags={RUN_ID_TAG: self._record.run_id, SOURCE_TAG: "darkroom", "darkroom.task": config.run.task},
            )
        )
        if found:
            self._client.update_run(run.info.run_id, status="RUNNING")
        self._log_parameters(run.info.run_id, config, run.data.params)
        return run.info.run_id, identity

    def _log_parameters(self, run_id: str, config: Config, known: dict[str, str]) -> None:
        """Those that MLflow has not: it refuses another value, so a changed setting becomes a tag."""
        package = _package()
        wanted = {name: str(value)[:MAX_PARAM] for name, value in parameters(self._folder, config).items()}
        wanted = {_allowed(name): value for name, value in wanted.items()}
        new = [package.entities.Param(name, value) for name, value in wanted.items() if name not in known]
        for begin in range(0, len(new), MAX_PARAMS):
            self._client.log_batch(run_id, params=new[begin : begin + MAX_PARAMS])
        for name, value in wanted.items():
            if known.get(name, value) != value:
                self._client.set_tag(run_id, f"darkroom.changed.{name}", value[:MAX_TAG])

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        """`train/loss`, `metrics/composite` …: MLflow draws those of one table together."""
        metric = _package().entities.Metric
        metrics = [
            metric(_allowed(name), value, _milliseconds(row.time) if row.time else self._start_ms, row.step)
            for row in rows
            for name, value in row.numbers.items()
        ]
        for begin in range(0, len(metrics), MAX_METRICS):
            part = metrics[begin : begin + MAX_METRICS]
            _asked(lambda part=part: self._client.log_batch(self._run_id, metrics=part))

    def picture(self, name: PictureName, step: int, picture: Image.Image) -> None:
        """Named as `MlflowClient.log_image` names pictures of a step, so that MLflow draws them by step; the part that
        is random there follows from run and step here. A comparison takes the place of the one before."""
        if name == "comparison":
            _asked(lambda: self._upload(f"{name}.png", _encoded(picture, "PNG")))
            return
        unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{self._record.run_id} {name} {step}")
        stem = f"images/{name}+step+{step}+timestamp+{self._start_ms}+{unique}"
        small = picture.copy()
        small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        _asked(lambda: self._upload(f"{stem}.png", _encoded(picture, "PNG")))
        _asked(lambda: self._upload(f"{stem}+compressed.webp", _encoded(small, "WEBP")))
        _asked(lambda: self._client.set_tag(self._run_id, IMAGES_TAG, "True"))

    def best(self, best: Best) -> None:
        """The run's description and tags."""
        told = {f"darkroom.{name}": value for name, value in verdict_words.tags(best).items()}
        told[NOTE_TAG] = verdict_words.note(self._folder, best)
        tags = [_package().entities.RunTag(name, value[:MAX_TAG]) for name, value in told.items()]
        _asked(lambda: self._client.log_batch(self._run_id, tags=tags))

    def model(self, model: Model) -> None:
        """The files and their card in the run, and a version of the registered model of the run's name.

        A snapshot that cannot be recommended is not registered. Where MLflow keeps no registry, the files are all.
        """
        _asked(lambda: self._client.log_artifacts(self._run_id, str(model.folder), MODEL_FOLDER))
        _asked(lambda: self._upload(f"{MODEL_FOLDER}/README.md", model.card.encode()))
        _asked(lambda: self._upload(f"{MODEL_FOLDER}/MLmodel", self._description(model)))
        if model.recommended:
            _asked(lambda: self._register(model))

    def _description(self, model: Model) -> bytes:
        """The `MLmodel` file of MLflow's model format. Its flavor is ours: whoever loads it reads the card."""
        run = self._folder.read_config().run
        described = _package().models.Model(
            artifact_path=MODEL_FOLDER,
            run_id=self._run_id,
            flavors={"darkroom": {"task": run.task, "step": model.label, "digest": model.digest}},
            utc_time_created=self._record.created,
        )
        return described.to_yaml().encode()

    def _register(self, model: Model) -> None:
        name = _allowed_model(model.name)
        exceptions = _package().exceptions
        try:
            self._client.create_registered_model(name)
        except exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        versions = self._client.search_model_versions(f"name = '{name}'")
        if any(version.tags.get(DIGEST_TAG) == model.digest and version.run_id == self._run_id for version in versions):
            return
        root = self._client.get_run(self._run_id).info.artifact_uri
        self._client.create_model_version(
            name,
            source=f"{root}/{MODEL_FOLDER}",
            run_id=self._run_id,
            description=model.card,
            tags={DIGEST_TAG: model.digest, "darkroom.step": model.label},
        )

    def end(self, code: int | None) -> None:
        """The run's state, at the time when training ended."""
        if code is not None:
            trainer = read_status(self._folder, "trainer")
            ended = _milliseconds(parse_time(trainer.heartbeat).timestamp()) if trainer else None
            status = "FAILED" if code else "FINISHED"
            _asked(lambda: self._client.set_terminated(self._run_id, status, ended))

    def _upload(self, path: str, content: bytes) -> None:
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / name
            file.write_bytes(content)
            self._client.log_artifact(self._run_id, str(file), folder or None)

    def _link(self, experiment: str) -> str:
        uri = _uri()
        if not uri.startswith("http"):
            return f"mlflow ui --backend-store-uri {_without_secrets(uri)}"
        return f"{_without_secrets(uri).rstrip('/')}/#/experiments/{experiment}/runs/{self._run_id}"


def _asked(call: Callable[[], T]) -> T:
    """What the server answers.

    Raises:
        ConfigError: it does not let us in, or its address is none: no further try would help.
    """
    exceptions = _package().exceptions
    try:
        return call()
    except exceptions.MlflowException as error:
        code = getattr(error, "error_code", "")
        status = error.get_http_status_code() if code in REFUSALS else 0
        if code in REFUSALS or status in (401, 403) or re.search(r"\b(401|403)\b", str(error).split("\n")[0][:200]):
            raise ConfigError(
                f"MLflow refuses this run: {_first_line(error)}", CURE.format(uri=_without_secrets(_uri()))
            ) from error
        if type(error).__name__ in ("UnsupportedModelRegistryStoreURIException", "InvalidUrlException"):
            raise ConfigError(f"MLflow: {_first_line(error)}", "set MLFLOW_TRACKING_URI to MLflow's address") from error
        raise


def _uri() -> str:
    return str(_package().get_tracking_uri())


def _without_secrets(uri: str) -> str:
    """An address may hold a user's name and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


def _first_line(error: Exception) -> str:
    return _without_secrets(str(error).partition("\n")[0][:300])


def _allowed(name: str) -> str:
    """A name of a metric or parameter as MLflow takes it."""
    return re.sub(r"[^\w./: -]", "_", name, flags=re.ASCII)[:250]


def _allowed_model(name: str) -> str:
    """Names of registered models may not hold some letters."""
    return re.sub(r"[/:.%\"']", "-", name)


def _milliseconds(seconds: float) -> int:
    return math.floor(seconds * 1000)


def _encoded(picture: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, form)
    return file.getvalue()


def _package() -> Any:
    """MLflow, which is optional. By its name, because a plain import in a file of that name confuses type checkers."""
    return importlib.import_module(PACKAGE)


def create() -> MLflow:
    """A tracker that is not connected yet."""
    return MLflow()
