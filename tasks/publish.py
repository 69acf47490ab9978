"""`python -m tasks.publish RUN --to …`: a snapshot with its card, in a folder, in a zip, or on the hub.

What it is comes from the run's own task, its module `publish`; numbers and pictures from the run folder. A folder or a
zip appears whole or not at all. Nothing is sent to the hub without `--yes`.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import cast

import tasks
from shared.command_name import as_called
from shared.errors import RunFolderError, exit_code_of, writing
from shared.files.new_folder import new_folder
from shared.files.publication import verify
from shared.files.zipped import zip_folder
from shared.publishing import card, hub, pictures, target
from shared.publishing.card import Card
from shared.publishing.figures import compared
from shared.publishing.places import cleaner
from shared.publishing.publication import Publication, Request
from shared.publishing.target import Target
from shared.run_folder.file_to_ship import chosen_step, why_not_shippable
from shared.run_folder.run_dir import RunDir, open_run
from shared.run_folder.sharing.leases import reading
from tasks.protocol import PublishPart


def main() -> int:
    """Say what would be published, or publish it."""
    parser = argparse.ArgumentParser(prog=as_called("python run.py publish"), description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--to", required=True, help="owner/name, a folder, or a .zip")
    parser.add_argument("--step", default="best", help="`best`, the step of a snapshot, or 750-900 for an average")
    parser.add_argument("--yes", action="store_true", help="send it to the hub; without it, it is only shown")
    parser.add_argument("--private", action="store_true", help="make the repository private, if it is new")
    parser.add_argument("--license", default="", help="as the hub spells it: apache-2.0; the base model's when absent")
    parser.add_argument("--base-model", default="", help="hub id of the base model, if it was loaded from this disk")
    parser.add_argument("--with-references", action="store_true", help="show the real pictures, too")
    options = parser.parse_args()
    run, place = open_run(options.run), target.parse(options.to)
    step = chosen_step(run, options.step)
    if why_not := why_not_shippable(run, step):
        raise RunFolderError(f"this snapshot cannot be published: {why_not}", "give another --step")
    with reading(run, step):
        verify(run.snapshot(step))
        _publish(_Work(run, step, place, options), private=options.private, sends=options.yes)
    return 0


def _publish(work: _Work, *, private: bool, sends: bool) -> None:
    for line in work.listing():
        _say(line)
    if work.place.form == "hub" and not sends:
        _say(f"\n{work.text}\nnothing was sent: --yes sends it")
        return
    work.publish(private=private)


class _Work:
    """One snapshot for one place."""

    def __init__(self, run: RunDir, step: int, place: Target, options: argparse.Namespace) -> None:
        best, descriptions = run.read_best(), run.read_metric_descriptions()
        self.place, self.best = place, best if best and best.step == step else None
        measured = self.best.strength.recommended if self.best and self.best.strength else None
        strength = measured or 1.0
        self.shown = pictures.shown(run, step, strength, with_references=options.with_references)
        request = Request(
            place.form, place.name, place.repository or ".", strength=strength, base_model=options.base_model
        )
        module = importlib.import_module(tasks.command(run.read_config().run.task, "publish"))
        self.told: Publication = cast("PublishPart", module).describe(run, step, request, self.shown)
        self.licence = options.license or self.told.licence
        figures = tuple(compared(run, step))
        written = Card(
            place.name, place.form, self.told, self.shown, figures, self.best, descriptions, measured, self.licence
        )
        self.text = cleaner(run)(written.text())

    @property
    def card_name(self) -> str:
        """A zip has a description, to be pasted into a page."""
        return card.DESCRIPTION if self.place.form == "zip" else card.README

    def listing(self) -> list[str]:
        """What is published, and what a person should know before."""
        where = {"hub": f"https://huggingface.co/{self.place.repository}"}.get(self.place.form, str(self.place.path))
        weights = [f"  {name}  for {one.readers}" for one in self.told.weights for name in one.names]
        drawn = [pictures.SHEET, f"{pictures.FOLDER}/ ({len(self.shown.drawn)})"] if self.shown.drawn else []
        return [f"{where}:", f"  {self.card_name}", *weights, *(f"  {name}" for name in drawn), *self._cautions()]

    def _cautions(self) -> list[str]:
        found = list(self.told.cautions)
        if not self.licence:
            found.append("no licence is named, so nobody may use it: give it as --license")
        if self.best is None:
            found.append("this is not the snapshot that the verdict names")
        elif self.best.flagged:
            found.append("the verdict recommends no snapshot of this run; the card says so")
        elif not self.best.better_than_base:
            found.append("this snapshot is not shown to be better than the base model; the card says so")
        return [f"caution: {text}" for text in (*found, *(self.best.cautions if self.best else ()))]

    def publish(self, *, private: bool) -> None:
        """To where it belongs."""
        if self.place.form == "hub":
            hub.require_access()
            with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:
                self._fill(Path(folder))
                _say(f"published: {hub.upload(Path(folder), self.place.repository, private=private)}")
            return
        path = self.place.path.resolve()
        with writing("--to", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                path.rmdir()  # empty, as `target.parse` has seen
            if self.place.form == "folder":
                with new_folder(path) as staging:
                    staging.mkdir()
                    self._fill(staging)
            else:
                self._zip(path)
        _say(f"published: {path}")

    def _fill(self, folder: Path) -> None:
        for weights in self.told.weights:
            weights.write(folder)
        pictures.write(self.shown, folder)
        (folder / self.card_name).write_text(self.text, encoding="utf-8", newline="\n")

    def _zip(self, path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            self._fill(Path(folder))
            zip_folder(Path(folder), path)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
