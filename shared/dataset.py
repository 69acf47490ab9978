"""The captioned pictures of a run, by id: found, checked and split before anything is loaded.

`scan` is the only entrance, whatever form the data set has. The split depends on ids and seed only, and a picture that
is held out is never trained on: not by its repeats, and not as a copy under another name.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from shared import captions, hub, sources
from shared.config import Config
from shared.errors import DataError
from shared.pictures import SUFFIXES, undecodable
from shared.publication import sha256
from shared.records import combined_digest
from shared.sources import Pair

Digest = Callable[[Path], str]


def cache_dir(config: Config) -> Path:
    """Where encoded pictures and captions, imported data sets and remembered digests are kept."""
    return config.data.cache_dir or config.run.output_dir / ".cache"


def digests_path(config: Config) -> Path:
    """Where the digests of pictures are remembered."""
    return cache_dir(config) / "digests.json"


def scan_again(config: Config, fingerprint_then: str, digest: Digest) -> list[Pair]:
    """The pairs a run was made of.

    Raises:
        DataError: the data set is no longer what it was then.
    """
    pairs = scan(config)
    if fingerprint(pairs, digest) != fingerprint_then:
        raise DataError(
            f"{config.data.path} has changed since this run was made", "restore it, or start a new run with --new"
        )
    return pairs


def scan(config: Config, *, decode: bool = False) -> list[Pair]:
    """Every captioned picture of the data set, sorted by id, captions with the trigger word.

    decode: also decode every picture once.

    Raises:
        DataError: no data set, no pictures, or pictures that cannot be used; all of them listed with their reasons.
    """
    path = hub.on_disk(config.data.path, cache_dir(config))
    problems: list[str] = []
    pairs = sources.read(path, problems)
    problems.extend(_clashes(pairs))
    if decode:
        problems.extend(undecodable(sorted({pair.image for pair in pairs if pair.image.is_file()})))
    if problems:
        listed = "\n       ".join(dict.fromkeys(problems))
        hint = "repair or remove these files; a caption stands in <name>.txt, in UTF-8, or in metadata.jsonl"
        raise DataError(f"{len(dict.fromkeys(problems))} problem(s) in the data set:\n       {listed}", hint)
    if not pairs:
        raise DataError(f"data.path {path} holds no pictures", f"looked for {', '.join(sorted(SUFFIXES))} at any depth")
    captioned = (replace(pair, caption=captions.with_trigger(pair.caption, config.data.trigger_word)) for pair in pairs)
    return sorted(captioned, key=lambda pair: pair.id)


def held_out_ids(pairs: Sequence[Pair], count: int, seed: int, named: Sequence[str] = ()) -> list[str]:
    """The ids kept from training, in the order evaluation takes its prompts: the named first, the others by seed.

    Raises:
        DataError: a named id is unknown, more are named than held out, or no pair would be left to train on.
    """
    _refuse_unknown(named, [pair.id for pair in pairs])
    chosen = list(dict.fromkeys(named))
    if len(chosen) > count:
        raise DataError(
            f"data.validation_ids names {len(chosen)} pairs, data.num_validation is {count}",
            f"set data.num_validation to {len(chosen)} or more",
        )
    if len(pairs) <= count:
        raise DataError(
            f"{len(pairs)} pictures, {count} of them to be held out, leave nothing to train on",
            "add pictures or lower data.num_validation",
        )
    ids = _shuffled(pairs, f"held-out:{seed}")
    return [*chosen, *(pair_id for pair_id in ids if pair_id not in set(chosen))][:count]


def training_pairs(
    pairs: Sequence[Pair], held_out: Iterable[str], train_size: int | None, seed: int, digest: Digest = sha256
) -> list[Pair]:
    """The pairs to train on, by id: not held out, no copy of a held-out picture, at most `train_size` chosen by seed.

    Raises:
        DataError: nothing is left.
    """
    kept_away = set(held_out)
    seen = {digest(pair.image) for pair in pairs if pair.id in kept_away}
    left = [pair for pair in pairs if pair.id not in kept_away and digest(pair.image) not in seen]
    if not left:
        raise DataError("every picture is held out, or a copy of one that is", "add pictures")
    wanted = set(_shuffled(left, f"train:{seed}")[:train_size])
    return [pair for pair in left if pair.id in wanted]


def fingerprint(pairs: Iterable[Pair], digest: Digest = sha256) -> str:
    """sha256 over every id, caption and picture content."""
    return combined_digest(f"{pair.id}:{digest(pair.image)}:{pair.caption}" for pair in pairs)


def _clashes(pairs: Iterable[Pair]) -> list[str]:
    problems: list[str] = []
    seen: dict[str, Pair] = {}
    for pair in pairs:
        other = seen.setdefault(pair.id, pair)
        if other.image != pair.image:
            problems.append(f"{pair.image}: has the same id as {other.image.name}")
        elif other is not pair:
            problems.append(f"{pair.image}: is named twice")
    return problems


def _shuffled(pairs: Iterable[Pair], seed: str) -> list[str]:
    ids = sorted(pair.id for pair in pairs)
    random.Random(seed).shuffle(ids)
    return ids


def _refuse_unknown(named: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in named if name not in set(known)]
    if not unknown:
        return
    guesses = {name: difflib.get_close_matches(name, known, n=1) for name in unknown}
    told = [f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else "") for name, near in guesses.items()]
    raise DataError(
        f"data.validation_ids names what is not in the data set: {', '.join(told)}",
        "an id is the picture's path below the data set's folder, without its ending",
    )
