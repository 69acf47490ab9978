"""The data set of a run: its pictures and captions as they are on the disk now, and what the run recorded of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dashboard.data.reader import RunReader, version_of
from dashboard.data.runs import runs_folder
from dashboard.text.language import say
from shared.config.schema import Config
from shared.data import captions, masks
from shared.data.editing import captioned
from shared.data.editing.captioned import Captioned
from shared.data.editing.in_use import runs_that_use
from shared.data.sources import Pair
from shared.errors import DarkroomError, DataError
from shared.run_folder.records.inventory import Inventory, PairRecord
from shared.run_folder.tables import read_rows

KEPT_SECONDS, KEPT_FACTOR = 10.0, 20.0
"""What was read stays valid for so long, or for a multiple of the time it took."""
KEPT = 8
MAX_CELL = 10_000


Fixed = Literal["", "copy", "classes", "examples", "trouble"]


@dataclass(frozen=True)
class Row:
    """A picture, or an example of another kind."""

    id: str
    caption: str
    """Without the trigger word; a class, or the beginning of an example."""
    is_bare: bool = False
    """It has no caption of its own."""
    recorded: str | None = None
    """The caption that the run was made with; None: the picture is not in the run."""
    is_changed: bool = False
    """The caption is another one than the run was made with."""
    image: Path | None = None
    """None: it is no picture, or not there."""
    mask: Path | None = None
    split: str = ""
    bucket: str = ""
    tokens: int | None = None
    tokens_cut: int = 0
    alike: str = ""
    """The first of those that look alike; empty: none does."""


@dataclass(frozen=True)
class DataSet:
    """All of them, by id."""

    rows: dict[str, Row]
    captioned: Captioned | None = None
    """Where captions stand; None: they cannot be read."""
    fixed: Fixed = ""
    """Why captions cannot be changed here at all; empty: they can."""
    trouble: str = ""
    """Why the data set cannot be read."""
    is_recorded: bool = False
    """Whether training has recorded buckets, tokens and what looks alike."""
    groups: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    """First id → all that look alike."""


class DataSets:
    """Those that were read lately, for all viewers."""

    def __init__(self) -> None:
        self._read: dict[tuple[Path, str], tuple[float, object, DataSet]] = {}
        self._lock = threading.Lock()

    def of(self, reader: RunReader) -> DataSet:
        """The data set of a run, read again where it may have changed."""
        key, version = (reader.run.path, reader.run_id), _version(reader)
        with self._lock:
            known = self._read.get(key)
            if known and known[1] == version and time.monotonic() < known[0]:
                return known[2]
            started = time.monotonic()
            found = read(reader)
            ended = time.monotonic()
            while len(self._read) >= KEPT:
                self._read.pop(next(iter(self._read)))
            self._read[key] = ended + max(KEPT_SECONDS, KEPT_FACTOR * (ended - started)), version, found
            return found

    def forget(self) -> None:
        """Captions were changed."""
        with self._lock:
            self._read.clear()


DATA_SETS = DataSets()


def read(reader: RunReader) -> DataSet:
    """Pictures that the run recorded and those that are there now."""
    config, inventory = reader.config, reader.run.read_inventory()
    facts = {row.get("id", ""): row for row in read_rows(reader.run.dataset_csv)}
    if inventory and (inventory.classified or inventory.example):
        rows = [_recorded(record, inventory, config, reader) for record in inventory.pairs]
        return DataSet(
            _by_id(rows, reader, facts),
            fixed="classes" if inventory.classified else "examples",
            is_recorded=bool(facts),
        )
    trouble, found = "", None
    try:
        found = captioned.read(config)
    except (DarkroomError, OSError) as error:
        trouble = str(error)
    records = {record.id: record for record in inventory.pairs} if inventory else {}
    rows = [_there(pair, found, records.get(pair.id), config) for pair in found.pairs] if found else []
    here = {row.id for row in rows}
    rows += [
        Row(record.id, record.caption, recorded=record.caption) for record in records.values() if record.id not in here
    ]
    is_copy = found is not None and captioned.is_copy(config.data.path, found.folder)
    fixed: Fixed = "trouble" if found is None else "copy" if is_copy else ""
    by_id = _by_id(rows, reader, facts)
    groups: dict[str, list[str]] = {}
    for row in by_id.values():
        if row.alike:
            groups.setdefault(row.alike, []).append(row.id)
    return DataSet(by_id, found, fixed, trouble, bool(facts), groups)


def why_fixed(data: DataSet) -> str:
    """In the viewer's language."""
    match data.fixed:
        case "copy":
            return say(
                "These captions are a copy of a data set of the library `datasets`. Change them there, or export the "
                "data set."
            )
        case "classes":
            return say("These are classes, not captions. Change them where the data set names them.")
        case "examples":
            return say("These are no captioned pictures. Change them in the file of the data set.")
        case _:
            return data.trouble


def in_use(data: DataSet) -> str:
    """Why captions cannot be changed now, because a run trains on them; empty: none does."""
    names = runs_that_use(data.captioned.folder, runs_folder()) if data.captioned else []
    if not names:
        return ""
    return say(
        "{runs} trains on these pictures. Change captions when it has ended, or stop it first.", runs=", ".join(names)
    )


def mask_of(row: Row, config: Config) -> Path | None:
    """The file that holds the mask of a picture, which is the picture itself where its transparency is the mask."""
    if config.data.masks == "files":
        return row.mask
    if config.data.masks == "alpha" and row.image:
        try:
            return row.image if masks.has_alpha(row.image) else None
        except DataError:
            return None
    return None


def _version(reader: RunReader) -> object:
    run = reader.run
    return tuple(version_of(path) for path in (run.config, run.dataset, run.dataset_csv, run.record))


def _there(pair: Pair, found: Captioned, record: PairRecord | None, config: Config) -> Row:
    word = "" if pair.is_regularization else config.data.trigger_word
    trained = captions.with_trigger(pair.caption, word)
    return Row(
        pair.id,
        pair.caption,
        is_bare=found.is_without(pair),
        recorded=record.caption if record else None,
        is_changed=record is not None and record.caption != trained,
        image=pair.image if pair.image.is_file() else None,
        mask=pair.mask,
    )


def _recorded(record: PairRecord, inventory: Inventory, config: Config, reader: RunReader) -> Row:
    place = Path(config.data.path)
    folder = place.parent if place.is_file() else place
    path = folder / inventory.paths[record.id] if inventory.classified and record.id in inventory.paths else None
    image = path if path and path.is_file() else None
    return Row(record.id, record.caption, recorded=record.caption, image=image)


def _by_id(rows: list[Row], reader: RunReader, facts: Mapping[str, Mapping[str, str]]) -> dict[str, Row]:
    """With what training made of them; without its table, the split alone."""
    dataset = reader.run.read_record().dataset
    held_out, apart = set(dataset.held_out), set(dataset.set_apart)
    made: dict[str, Row] = {}
    for row in rows:
        known = facts.get(row.id, {})
        split = known.get("split") or ("held_out" if row.id in held_out else "left_out" if row.id in apart else "")
        if not split and row.recorded is not None and not facts and not dataset.num_regularization:
            split = "train"
        made[row.id] = Row(
            **{
                **row.__dict__,
                "split": split,
                "bucket": known.get("bucket", "")[:MAX_CELL],
                "tokens": _number(known.get("tokens")),
                "tokens_cut": _number(known.get("tokens_cut")) or 0,
                "alike": known.get("alike", ""),
            }
        )
    return made


def _number(cell: str | None) -> int | None:
    return int(cell) if cell and cell.isdecimal() and len(cell) < 10 else None
