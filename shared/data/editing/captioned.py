"""The captions of a data set as they stand on the disk now, and how to write others in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from shared.config.path_settings import NO_PICTURES
from shared.config.schema import Config
from shared.data import captions, dataset, hub_datasets
from shared.data.editing.change import Entry
from shared.data.editing.history import History
from shared.data.editing.table_text import TableText
from shared.data.sources import Pair, ScanReport
from shared.data.sources.scan_report import CaptionPlace
from shared.errors import DataError
from shared.files.publication import MANIFEST

LINE_ENDS = ("\r\n", "\n", "\r")
OWN = ".txt"
"""Ending of the caption file that is written beside a picture which has none."""


@dataclass(frozen=True)
class Captioned:
    """The pairs of a data set, their captions without the trigger word, and where these stand."""

    folder: Path
    """That the places of pictures are relative to."""
    pairs: list[Pair]
    report: ScanReport

    @cached_property
    def by_id(self) -> dict[str, Pair]:
        """Id → pair."""
        return {pair.id: pair for pair in self.pairs}

    def is_without(self, pair: Pair) -> bool:
        """Whether a picture has no caption of its own."""
        return pair.image in self.report.uncaptioned

    @property
    def history(self) -> History:
        """Its changes."""
        return History(self.folder)

    def entries(self, wanted: Mapping[str, str]) -> list[Entry]:
        """What has to be written so that pictures have these captions. wanted: id → caption.

        Where a picture had the name of its folder as caption, the others there keep it in a file of their own: with one
        caption file in the folder, the name no longer counts.

        Raises:
            DataError: a caption cannot be used, a picture is not there, or its caption cannot be written.
        """
        tables: dict[Path, TableText] = {}
        entries: list[Entry] = []
        for pair_id, caption in self._with_neighbours(wanted).items():
            pair, text = self.by_id.get(pair_id), captions.tidy(caption)
            if pair is None:
                raise DataError(f"there is no picture {pair_id}", "load the page again")
            if fault := captions.fault(text):
                raise DataError(f"{pair_id}: {fault}", "write a caption")
            place = self.report.places.get(pair.image)
            if place and place.line is not None:
                entries.append(self._row(pair_id, place, text, tables))
            else:
                entries.append(self._file(pair, place, text))
        return [entry for entry in entries if entry.before != entry.after]

    def _with_neighbours(self, wanted: Mapping[str, str]) -> dict[str, str]:
        named = self.report.named_by_folder
        folders = {
            self.by_id[pair_id].image.parent
            for pair_id in wanted
            if pair_id in self.by_id and self.by_id[pair_id].image in named
        }
        beside = {pair.id: pair.caption for pair in self.pairs if pair.image in named and pair.image.parent in folders}
        return beside | dict(wanted)

    def _row(self, pair_id: str, place: CaptionPlace, caption: str, tables: dict[Path, TableText]) -> Entry:
        assert place.line is not None
        text, encoding = self.history.text_of(place.file)
        if place.file not in tables:
            tables[place.file] = TableText(place.file, text or "")
        table = tables[place.file]
        return Entry(
            id=pair_id,
            file=self.history.place_of(place.file),
            is_row=True,
            encoding=encoding,
            before=table.row(place.line),
            after=table.edited(place.line, caption),
        )

    def _file(self, pair: Pair, place: CaptionPlace | None, caption: str) -> Entry:
        """A JSON file beside a picture stays as it is: the text file that is written comes before it."""
        is_text = place is not None and place.file.suffix.lower() != ".json"
        file = place.file if place and is_text else pair.image.with_suffix(OWN)
        before, encoding = self.history.text_of(file)
        mark = "\ufeff" if (before or "").startswith("\ufeff") else ""
        end = next((end for end in LINE_ENDS if (before or "").endswith(end)), "")
        after = mark + caption + end
        return Entry(id=pair.id, file=self.history.place_of(file), encoding=encoding, before=before, after=after)


def read(config: Config) -> Captioned:
    """The data set of a run as it is now; nothing is imported or downloaded.

    Raises:
        DataError: it is not there, or cannot be read.
    """
    data, cache = config.data.model_copy(update={"trigger_word": ""}), dataset.cache_dir(config)
    if data.path == NO_PICTURES:
        raise DataError("this run has no data set", "look at a run that trains")
    if hub_datasets.is_copied(data.path) and not hub_datasets.place_of_copy(data.path, cache).is_dir():
        raise DataError(f"the copy of {data.path} is not on this machine", "open the page where the run was trained")
    report = ScanReport()
    pairs = dataset.look(data, cache, report)
    return Captioned(dataset.folder_of(config), sorted(pairs, key=lambda pair: pair.id), report)


def is_copy(path: str, folder: Path) -> bool:
    """Whether the captions are a copy of a data set of the library `datasets`, which stays as it is."""
    return hub_datasets.is_copied(path) or (folder / MANIFEST).is_file()
