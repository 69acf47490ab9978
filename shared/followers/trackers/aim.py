"""Aim: one Aim run for each run folder, in the experiment `run.project`.

`AIM_REPO` names the repository, a folder or `aim://host:port`; without it, it is the one that Aim finds from the
current folder. Aim keeps one value for each name, context and step, so that every call can be made twice.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

from PIL import Image

from shared.config.schema import Config
from shared.followers import verdict_words
from shared.followers.tracker import Destination, Model, PictureName, Row, Table
from shared.run_folder.averages import trained_to
from shared.run_folder.known_settings import known_settings
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir

PACKAGE = "aim"
REPOSITORY = "AIM_REPO"
OURS = "darkroom"
HASH = "hash"
ADVICE_TAG, BEATS_TAG = "advice: ", "better than base: "


class Aim:
    """Metrics with the table as context `subset`, as Aim has it; pictures, the verdict as text, description and tags.

    The best snapshot becomes an artifact where the repository has a place for artifacts.
    """

    def __init__(self) -> None:
        self._run: Any = None

    def begin(self, run: RunDir, config: Config) -> Destination:
        """Join the Aim run of this run folder, or create it."""
        self._folder, package = run, _package()
        if self._run is None:
            repository = os.environ.get(REPOSITORY)
            self._run = package.Run(
                self._known_hash(repository),
                repo=repository,
                experiment=config.run.project,
                force_resume=True,
                system_tracking_interval=None,
                capture_terminal_logs=False,
            )
            self._remember(config)
        return Destination(self._run.hash, f"aim up --repo {self._run.repo.path}")

    def _known_hash(self, repository: str | None) -> str | None:
        """Aim gives each run a hash; it is kept in the run folder."""
        path = self._folder.tracker("aim") / HASH
        known = path.read_text(encoding="utf-8").strip() if path.exists() else ""
        repo = (
            _package().Repo.from_path(repository, init=True) if repository else _package().Repo.default_repo(init=True)
        )
        return known if known and repo.run_exists(known) else None

    def _remember(self, config: Config) -> None:
        folder, record = self._folder.tracker("aim"), self._folder.read_record()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / HASH).write_text(f"{self._run.hash}\n", encoding="utf-8")
        self._run.name = self._folder.path.name
        self._run[OURS] = {"run_id": record.run_id, "created": record.created, "base_model": dict(record.base_model)}
        for table, values in known_settings(self._folder, config).items():
            self._run[table] = {key: value for key, value in values.items() if value is not None}

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        """`loss` in the context `{"subset": "train"}`; a curve that the task names keeps its name."""
        for row in rows:
            for name, value in row.numbers.items():
                self._run.track(value, name.removeprefix(f"{table}/"), row.step, context={"subset": table})

    def picture(self, name: PictureName, step: int, picture: Image.Image) -> None:
        """With its step as caption."""
        caption = f"{self._folder.read_record().unit} {step}"
        image = _package().Image(picture, caption=caption, format="jpeg")
        self._run.track(image, name, step, context={"subset": "pictures"})

    def best(self, best: Best) -> None:
        """In the run's parameters, description and tags, and as text at the step that is best."""
        told, note = verdict_words.tags(best), verdict_words.note(self._folder, best)
        self._run["verdict"] = told
        self._run.description = note
        self._run.track(_package().Text(note), "verdict", trained_to(best.step))
        wanted = {f"{BEATS_TAG}{told['better_than_base']}"}
        wanted |= {f"{ADVICE_TAG}{told['advice']}"} if "advice" in told else set()
        known = {tag for tag in self._run.tags if tag.startswith((ADVICE_TAG, BEATS_TAG))}
        for tag in known - wanted:
            self._run.remove_tag(tag)
        for tag in sorted(wanted - known):
            self._run.add_tag(tag)

    def model(self, model: Model) -> None:
        """The card as text, and the files, if Aim has been told where artifacts go (`set_artifacts_uri`)."""
        self._run["model"] = {"step": model.label, "digest": model.digest, "recommended": model.recommended}
        self._run.track(_package().Text(model.card), "model card", trained_to(model.step))
        if self._run.artifacts_uri is not None:
            self._run.log_artifacts(str(model.folder), "model", block=True)

    def end(self, code: int | None) -> None:
        """Close the run, which Aim takes for failed unless it is told otherwise."""
        if code is not None:
            self._run["exit_code"] = code
        if code == 0:
            self._run.report_successful_finish(block=True)
        self._run.close()
        self._run = None


def _package() -> Any:
    """Aim, which is optional. By its name, because a plain import in a file of that name confuses type checkers."""
    return importlib.import_module(PACKAGE)


def create() -> Aim:
    """A tracker that is not connected yet."""
    return Aim()
