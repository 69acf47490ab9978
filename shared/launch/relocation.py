"""What a run needs may lie elsewhere than it did: it is known again by what it holds, and what differs is named."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from shared.config.path_settings import FOLDER_KEYS, HUB, KEYWORDS
from shared.config.schema import POCKET, Config
from shared.data import dataset, regularization
from shared.data.dataset import Digest
from shared.data.sources import Pair
from shared.errors import DataError, ModelError, RunFolderError
from shared.files.digests import Digests
from shared.files.publication import sha256
from shared.launch.setting_changes import differences
from shared.models import base_model, lora_file
from shared.run_folder.records import Inventory, PairRecord, RunRecord
from shared.run_folder.run_dir import RunDir, open_run, steps_in

LISTED = 10
"""Pairs that are named where a data set has changed; the rest are counted."""
DATA_KEYS = ("data.path", "data.regularization_path")
NAMES = {
    "model.path": "base model",
    "model.vae": "VAE",
    "model.single_file_config": "folder of model.single_file_config",
    "lora.init_from": "LoRA of lora.init_from",
    **dict.fromkeys(DATA_KEYS, "data set"),
    "evaluation.fashion_clip": "encoder of evaluation.fashion_clip",
    "evaluation.visual": "encoder of evaluation.visual",
}
"""Settings that may name something on this disk → what that is."""


def moved(run: RunDir, config: Config) -> set[str]:
    """The settings that differ from the run's only in where the same thing lies.

    Raises:
        DataError: `data.path` differs, and other pictures or captions lie there, or none.
        ModelError: `model.path` differs, and there is no model.
    """
    before = run.read_config()
    found = differences(before, config).keys()
    data = {"data.path"} & found
    if _is_place(before.data.regularization_path) and _is_place(config.data.regularization_path):
        data |= {"data.regularization_path"} & found
    if data:
        places = {key.partition(".")[2]: config.value(key) for key in (*data, "data.cache_dir")}
        there = before.model_copy(update={"run": config.run, "data": before.data.model_copy(update=places)})
        scan_again(run, there, Digests(dataset.digests_path(config)))
    return data | _moved_models(run, config) | _moved_lora(run, config) | ({"data.cache_dir"} & found)


def moved_since(checkpoint: Path, config: Config) -> set[str]:
    """Likewise for a checkpoint of any run; nothing where the checkpoint no longer lies in its run's folder."""
    try:
        run = open_run(checkpoint.resolve().parents[1])
    except RunFolderError:
        return set[str]()
    return _moved_models(run, config)


def absent(run: RunDir, config: Config) -> dict[str, str]:
    """What the run needs and is not where the config says: the setting that names it → a sentence.

    The file of `lora.init_from` is needed until the first checkpoint.
    """
    before, identity = run.read_config(), run.read_record().base_model
    fingerprinted = {"model.path": "fingerprint" in identity, "model.vae": "vae_fingerprint" in identity}
    found: dict[str, str] = {}
    for key, name in NAMES.items():
        place = config.value(key)
        if not place or place in KEYWORDS or Path(place).exists():
            continue
        if key == "lora.init_from" and steps_in(run.checkpoints):
            continue
        was_local = Path(place).is_absolute() or os.path.abspath(place) == before.value(key)  # noqa: PTH100
        if _is_place(place) if key in DATA_KEYS else was_local or fingerprinted.get(key, False):
            found[key] = f"the {name} of {run.path} is not at {place}"
    return found


def require_present(run: RunDir, config: Config, *, to_train: bool = True) -> None:
    """Whether what is needed is where the config says; asked before any program is started.

    Encoders are not among it: without them metrics are blank. to_train: the data set and `lora.init_from` are needed.

    Raises:
        DataError, ModelError: what is missing, and how to give its new place.
    """
    if to_train:
        require_data(run, config)
    for key, sentence in absent(run, config).items():
        if key.startswith("model.") or (to_train and key == "lora.init_from"):
            raise ModelError(sentence, new_place(run, key))


def require_data(run: RunDir, config: Config) -> None:
    """Whether the data set is where the config says.

    Raises:
        DataError: it is not; with how to give its new place.
    """
    missing = absent(run, config)
    for key in DATA_KEYS:
        if key in missing:
            raise DataError(missing[key], new_place(run, key))


def replaced(run: RunDir, config: Config, digest: Digest) -> Iterator[str]:
    """A sentence for each model that lies where the run has it, and is no longer what it was.

    Raises:
        ModelError: what lies at `model.path` is no model.
    """
    record, before = run.read_record(), run.read_config()
    for key in ("model.path", "model.vae", "model.single_file_config"):
        place = config.value(key)
        if place and place == before.value(key) and _exists(place) and not _is_as_recorded(record, key, place, digest):
            yield f"the {NAMES[key]} at {place} is not the one that {run.path} was made with"


def require_same_models(run: RunDir, config: Config, digest: Digest) -> None:
    """Raises ModelError where a model has become another one at the same place."""
    for sentence in replaced(run, config, digest):
        raise ModelError(sentence, "restore it, or start a new run with --new")


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
        raise DataError(
            f"{place} has changed since this run was made{listed}", "restore it, or start a new run with --new"
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
        *(_changed(old[name], new[name]) for name in sorted(old.keys() & new.keys())),
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


def _changed(old: PairRecord, new: PairRecord) -> str:
    what = {
        "picture": old.image != new.image,
        "caption": old.caption != new.caption,
        "number of repeats": old.repeats != new.repeats,
        "mask": old.mask != new.mask,
        "use for regularisation": old.is_regularization != new.is_regularization,
    }
    text = f"changed: {old.id}: the {' and the '.join(name for name, differs in what.items() if differs)}"
    return f"{text} ({old.caption!r}, then {new.caption!r})" if what["caption"] else text


def _shortened(lines: Sequence[str]) -> list[str]:
    left = len(lines) - LISTED
    return [*lines[:LISTED], *([f"and {left} more"] if left > 0 else [])]


def _moved_models(run: RunDir, config: Config) -> set[str]:
    before, record = run.read_config(), run.read_record()
    known = {"model.vae": record.base_model.get("vae_fingerprint"), **record.folders}
    found = differences(before, config).keys()
    same = {
        key for key in found & set(FOLDER_KEYS) if _is_same_folder(before.value(key), config.value(key), known.get(key))
    }
    return same | ({"model.path"} if "model.path" in found and _is_same_model(run, config) else set[str]())


def _moved_lora(run: RunDir, config: Config) -> set[str]:
    """The file of `lora.init_from`, where the same one lies elsewhere."""
    before, now = run.read_record().init_from, config.lora.init_from
    if not (before and now) or now == run.read_config().lora.init_from or not Path(now).exists():
        return set[str]()
    return {"lora.init_from"} if lora_file.read(Path(now)).digest == before.sha256 else set[str]()


def _is_as_recorded(record: RunRecord, key: str, place: str, digest: Digest) -> bool:
    """True also where the record has nothing to compare with."""
    if key == "model.path":
        then = record.base_model.get("fingerprint")
        return then is None or base_model.is_same(place, then, digest)
    if folder := base_model.local_folder(place):
        return record.folders.get(key) in (None, base_model.folder_fingerprint(folder))
    return key != "model.vae" or record.base_model.get("vae_fingerprint") in (None, digest(Path(place)))


def _is_same_model(run: RunDir, config: Config) -> bool:
    fingerprint = run.read_record().base_model.get("fingerprint")
    if fingerprint is None:  # it was a hub id: what was downloaded then is not known
        return False
    before = run.read_config().model.path
    if not _exists(config.model.path):
        raise ModelError(
            f"model.path is {config.model.path}, where no model lies; that of {run.path} was at {before}",
            new_place(run, "model.path"),
        )
    return base_model.is_same(config.model.path, fingerprint, Digests(dataset.digests_path(config)))


def _is_same_folder(before: str | None, after: str | None, fingerprint: str | None) -> bool:
    there = _fingerprint(after)
    return there is not None and there == (fingerprint or _fingerprint(before))


def _fingerprint(path: str | None) -> str | None:
    """Of a local folder, or of a file; None: it is neither."""
    if folder := base_model.local_folder(path):
        return base_model.folder_fingerprint(folder)
    return sha256(Path(path)) if path and Path(path).is_file() else None


def remember(digest: Digests) -> None:
    """Keep digests; where the cache cannot be written, files are read again: whoever needs the cache says so."""
    with contextlib.suppress(OSError):
        digest.save()


def _is_place(data: str) -> bool:
    """Whether `data.path` or `data.regularization_path` names a folder or file."""
    return not data.startswith(HUB) and data not in (regularization.AUTO, regularization.NONE)


def _exists(path: str) -> bool:
    return path == POCKET or Path(path).exists()


def new_place(run: RunDir, key: str) -> str:
    """The cure where something was moved: the commands that take its new place."""
    place = f"{key}=PLACE"
    return (
        f"give its new place, if it was moved: `python run.py train CONFIG {place}` to train, "
        f"`python run.py evaluate {run.path} {place}` to evaluate"
    )
