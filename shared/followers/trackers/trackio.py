"""trackio: one trackio run for each run folder, in the project `run.project`.

trackio's own environment variables say where: `TRACKIO_DIR`, or `TRACKIO_SPACE_ID`, or `TRACKIO_SERVER_URL` with
`TRACKIO_WRITE_TOKEN`. Without them it writes to its cache on this machine; `trackio show` opens it.

trackio writes from a thread of its own and only warns where that fails. So each call opens the run, logs, and closes
it, which waits for that thread; a warning then is an error.
"""

from __future__ import annotations

import importlib
import io
import os
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from PIL import Image

from shared.config.schema import Config
from shared.followers import verdict_words
from shared.followers.parameters import parameters
from shared.followers.tracker import Destination, Model, PictureName, Row, Table
from shared.run_folder.averages import trained_to
from shared.run_folder.known_settings import known_toml
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir

PACKAGE = "trackio"
REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Where one of these is set, trackio keeps what it cannot send, and sends it later."""
ID_LETTERS = 6


class Trackio:
    """Metrics by name, pictures, the verdict as a report and in the config, the best snapshot as an artifact."""

    def begin(self, run: RunDir, config: Config) -> Destination:
        """See what trackio has of the run; the first time, the settings are put there as a report."""
        self._folder, self._record = run, run.read_record()
        self._project = config.run.project
        self._name = f"{run.path.name}-{self._record.run_id[:ID_LETTERS]}"  # trackio knows runs by their names
        self._config: dict[str, Any] = dict(parameters(run, config))
        best = run.read_best()
        if best:
            self._config |= _told(best)
        self._stored = self._read_stored()
        if ("settings", 0) not in self._stored:
            report = _package().Markdown(f"```toml\n{known_toml(run, config)}\n```")
            self._log([({"settings": report}, 0)])
        remote = next((os.environ[name] for name in REMOTE if os.environ.get(name)), "")
        place = remote.partition("?")[0] or str(self._storage.get_project_db_path(self._project).parent)
        record = None if remote else self._storage.get_latest_run_record_by_name(self._project, self._name)
        identity = record["id"] if record else f"{place} {self._project} {self._name}"
        return Destination(identity, place if remote else f"trackio show --project {self._project!r}")

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        """`train/loss`, `metrics/composite` …: trackio draws those of one table together."""
        entries = [(self._new(row), row.step) for row in rows]
        self._log([(numbers, step) for numbers, step in entries if numbers])

    def _new(self, row: Row) -> dict[str, Any]:
        """Numbers of a row that are not there yet; NaN by its text, as it is not equal to itself."""
        return {name: value for name, value in row.numbers.items() if (name, row.step, str(value)) not in self._stored}

    def picture(self, name: PictureName, step: int, picture: Image.Image) -> None:
        """With its step as caption."""
        key = f"pictures/{name}"
        if (key, step) not in self._stored:
            caption = f"{self._record.unit} {step}"
            self._log([({key: _package().Image(picture, caption=caption)}, step)])

    def best(self, best: Best) -> None:
        """A report at the step that is best, and short facts in the config."""
        self._config |= _told(best)
        note = verdict_words.note(self._folder, best)
        step = trained_to(best.step)
        if ("verdict", step, note) not in self._stored:
            self._log([({"verdict": _package().Markdown(note)}, step)])

    def model(self, model: Model) -> None:
        """An artifact of type `model`."""
        package = _package()
        artifact = package.Artifact(
            self._name,
            type="model",
            description=model.card,
            metadata={"step": model.label, "digest": model.digest, "recommended": model.recommended},
        )
        artifact.add_dir(model.folder)
        with self._opened() as run:
            run.log_artifact(artifact, aliases=["best"] if model.recommended else None)

    def end(self, code: int | None) -> None:
        """Nothing is open."""

    def _log(self, entries: Sequence[tuple[dict[str, Any], int]]) -> None:
        if not entries:
            return
        with self._opened() as run:
            for values, step in entries:
                run.log(dict(values), step=step)
        for values, step in entries:
            self._stored.update(key for name, value in values.items() for key in _keys(name, step, value))

    @contextmanager
    def _opened(self) -> Generator[Any]:
        """The run, joined; closed when everything is written.

        Raises:
            OSError: trackio says that it could not write.
        """
        with warnings.catch_warnings(record=True) as said, redirect_stdout(io.StringIO()):
            warnings.simplefilter("always")
            run = _package().init(
                project=self._project,
                name=self._name,
                config=dict(self._config),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            try:
                yield run
            finally:
                _package().finish()
        own = [str(one.message) for one in said if "trackio" in Path(one.filename).parts]
        if own and not any(os.environ.get(name) for name in REMOTE):
            raise OSError(own[0])

    @property
    def _storage(self) -> Any:
        return importlib.import_module("trackio.sqlite_storage").SQLiteStorage

    def _read_stored(self) -> set[tuple[object, ...]]:
        """What trackio has on this machine of the run; of a server only its own buffer is known."""
        logs = self._storage.get_logs(self._project, self._name)
        return {
            key
            for log in logs
            for name, value in log.items()
            if name not in ("step", "timestamp")
            for key in _keys(name, log["step"], value)
        }


def _keys(name: str, step: int, value: Any) -> list[tuple[object, ...]]:
    """A number counts as stored with its value, a report with its text, a picture by its step."""
    if isinstance(value, int | float):
        return [(name, step), (name, step, str(float(value)))]
    if isinstance(value, dict) and "_value" in value:
        return [(name, step), (name, step, value["_value"])]
    return [(name, step), (name, step, getattr(value, "text", ""))]


def _told(best: Best) -> dict[str, str]:
    return {f"verdict.{name}": value for name, value in verdict_words.tags(best).items()}


def _package() -> Any:
    """trackio, which is optional. By its name, because a plain import in a file of that name confuses type checkers."""
    return importlib.import_module(PACKAGE)


def create() -> Trackio:
    """A tracker that is not connected yet."""
    return Trackio()
