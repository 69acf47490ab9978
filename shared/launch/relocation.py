"""A data set may lie elsewhere than it did: it is known again by what it holds, and what differs is named.

What else a run needs and where it lies, its task knows (`shared.launch.task`).
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from shared.config.path_settings import HUB, NO_PICTURES, TRAINING_ADAPTER
from shared.config.schema import Config
from shared.data import dataset
from shared.data.dataset import Digest
from shared.data.sources import Pair
from shared.data.split import regularization
from shared.errors import DataError, ModelError
from shared.files import paths
from shared.files.digests import Digests
from shared.files.publication import sha256
from shared.run_folder.records.inventory import Inventory, PairRecord
from shared.run_folder.run_dir import RunDir

LISTED = 10
"""Pairs that are named where a data set has changed; the rest are counted."""
DATA_KEYS = ("data.path", "data.regularization_path")


def moved_data(run: RunDir, config: Config, changed: Collection[str]) -> set[str]:
    """Of the settings that differ from the run's, those that name another place of the same pictures and captions.

    Raises:
        DataError: other pictures or captions lie there, or none.
    """
    before = run.read_config()
    moved = {"data.path"} & set(changed) if before.data.path != NO_PICTURES else set[str]()
    if _is_place(before.data.regularization_path) and _is_place(config.data.regularization_path):
        moved |= {"data.regularization_path"} & set(changed)
    if moved:
        places = {key.partition(".")[2]: config.value(key) for key in (*moved, "data.cache_dir")}
        there = before.model_copy(update={"run": config.run, "data": before.data.model_copy(update=places)})
        scan_again(run, there, Digests(dataset.digests_path(config)))
    return moved


def absent_data(run: RunDir, config: Config) -> dict[str, str]:
    """The settings of data sets that are not where the config says, each with a sentence."""
    places = {key: str(config.value(key)) for key in DATA_KEYS}
    return {
        key: not_at(run, "data set", place)
        for key, place in places.items()
        if _is_place(place) and not Path(place).exists()
    }


def not_at(run: RunDir, name: str, place: str) -> str:
    """The sentence for something that a run needs and that is not here."""
    return f"the {name} of {run.path} is not at {place}"


def require_present(run: RunDir, absent: Mapping[str, str], *, to_train: bool) -> None:
    """Whether what is needed is where the config says; asked before any program is started.

    Encoders are not among it: without them metrics are blank. absent: what `Task.missing_paths` returned. to_train: the
    data set and the LoRAs that training begins from are needed, and `evaluation.model` is not.

    Raises:
        DataError, ModelError: what is missing, and how to give its new place.
    """
    for key in DATA_KEYS:
        if to_train and key in absent:
            raise DataError(absent[key], new_place(run, key))
    other = ("lora.init_from", TRAINING_ADAPTER) if to_train else ("evaluation.model",)
    for key, sentence in absent.items():
        if key in other or (key.startswith("model.") and key != TRAINING_ADAPTER):
            raise ModelError(sentence, new_place(run, key))


def require_data(run: RunDir, config: Config) -> None:
    """Whether the data set is where the config says.

    Raises:
        DataError: it is not; with how to give its new place.
    """
    for key, sentence in absent_data(run, config).items():
        raise DataError(sentence, new_place(run, key))


def scan_again(run: RunDir, config: Config, digest: Digest) -> list[Pair]:
    """The pairs the run was made of, wherever they lie by now, with the ids they had then.

    config: the run's, with `data.path` naming where they are looked for.

    Raises:
        DataError: they are not there, or no longer what they were; each that differs is named.
    """
    require_data(run, config)
    pairs, is_same = dataset.scan_again(config, run.read_record().dataset.fingerprint, digest)
    if is_same:
        return pairs
    inventory = run.read_inventory()
    renamed, changes = compare(inventory, pairs, digest) if inventory else (list[Pair](), list[str]())
    if inventory and not changes:
        return renamed
    place = config.data.path
    listed = "".join(f"\n       {line}" for line in _shortened(changes))
    before = run.read_config().data
    if (place, config.data.regularization_path) == (before.path, before.regularization_path):
        named = paths.behind_links(place)
        raise DataError(
            f"{named} has changed since this run was made{listed}", f"restore {named}, or start a new run with --new"
        )
    raise DataError(
        f"data.path is {place}, but this run was made of other pictures or captions than lie there{listed}",
        "give the place of the same pictures and captions, or start a new run with --new",
    )


def compare(then: Inventory, pairs: Iterable[Pair], digest: Digest = sha256) -> tuple[list[Pair], list[str]]:
    """The pairs, with the ids that the same content had then; and a line for each pair that has changed."""
    now = {pair.id: pair for pair in pairs}
    seen = dataset.inventory([*now.values()], digest).pairs
    before, after = _without_common(then.pairs, seen)
    names = _renamed(before, after)
    known = [replace(now[pair.id], id=names.get(pair.id, pair.id)) for pair in seen]
    old = {pair.id: pair for pair in before if pair.id not in set(names.values())}
    new = {pair.id: pair for pair in after if pair.id not in names}
    lines = [
        *(
            _changed(old[name], new[name], "class" if then.classified else "caption")
            for name in sorted(old.keys() & new.keys())
        ),
        *(f"removed: {name}" for name in sorted(old.keys() - new.keys())),
        *(f"added: {name}" for name in sorted(new.keys() - old.keys())),
    ]
    return sorted(known, key=lambda pair: pair.id), lines


def _without_common(then: Sequence[PairRecord], now: Sequence[PairRecord]) -> tuple[list[PairRecord], list[PairRecord]]:
    """Those of then, and those of now, that the other has not, as they are."""
    common = set(then) & set(now)
    return [pair for pair in then if pair not in common], [pair for pair in now if pair not in common]


def _renamed(before: Iterable[PairRecord], after: Iterable[PairRecord]) -> dict[str, str]:
    """Id now → id then, of pairs with the same content."""
    by_content: defaultdict[Hashable, list[str]] = defaultdict(list)
    for pair in sorted(before, key=lambda pair: pair.id, reverse=True):
        by_content[pair.content].append(pair.id)
    return {pair.id: by_content[pair.content].pop() for pair in after if by_content[pair.content]}


def _changed(old: PairRecord, new: PairRecord, text: str) -> str:
    """text: what stands as caption."""
    what = {
        "picture": old.image != new.image,
        text: old.caption != new.caption,
        "number of repeats": old.repeats != new.repeats,
        "mask": old.mask != new.mask,
        "sources": old.sources != new.sources,
        "use for regularisation": old.is_regularization != new.is_regularization,
    }
    sentence = f"changed: {old.id}: the {' and the '.join(name for name, differs in what.items() if differs)}"
    return f"{sentence} ({old.caption!r}, then {new.caption!r})" if what[text] else sentence


def other_content(place: str, what: str, changes: Sequence[str]) -> DataError:
    """The error that a data set holds other content than the run was made of. what: it holds; changes: a line each."""
    listed = "".join(f"\n       {line}" for line in _shortened(changes))
    return DataError(
        f"{place} holds other {what} than this run was made of{listed}",
        f"restore {place}, or start a new run with --new",
    )


def moved(
    run: RunDir, changed: Collection[str], same_data: Callable[[], object], fingerprint: Callable[[], str | None]
) -> set[str]:
    """Of the changed settings those that name another place of the same data or the same model.

    same_data: raises where other data lie at the new place. fingerprint: of the model there.
    """
    found: set[str] = set()
    if "data.path" in changed:
        same_data()
        found.add("data.path")
    recorded = run.read_record().base_model.get("fingerprint")
    if "model.path" in changed and recorded and fingerprint() == recorded:
        found.add("model.path")
    return found


def absent(run: RunDir, config: Config, model: str) -> dict[str, str]:
    """What is not where the config says, of the data set and a model that is a folder or a file. model: what it is
    called."""
    missing = absent_data(run, config)
    place = config.model.path
    if run.read_record().base_model.get("fingerprint") and not Path(place).exists():
        missing["model.path"] = not_at(run, model, place)
    return missing


def _shortened(lines: Sequence[str]) -> list[str]:
    left = len(lines) - LISTED
    return [*lines[:LISTED], *([f"and {left} more"] if left > 0 else [])]


def remember(digest: Digests) -> None:
    """Keep digests; where the cache cannot be written, files are read again: whoever needs the cache says so."""
    with contextlib.suppress(OSError):
        digest.save()


def _is_place(data: str) -> bool:
    """Whether `data.path` or `data.regularization_path` names a folder or file."""
    return not data.startswith(HUB) and data not in (NO_PICTURES, regularization.AUTO, regularization.NONE)


def new_place(run: RunDir, key: str) -> str:
    """The cure where something was moved: the commands that take its new place."""
    place = f"{key}=PLACE"
    return (
        f"give its new place, if it was moved: `python run.py train CONFIG {place}` to train, "
        f"`python run.py evaluate {run.path} {place}` to evaluate"
    )
