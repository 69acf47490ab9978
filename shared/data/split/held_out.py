"""Chooses the pairs that are held out for evaluation, so that they represent the training pairs.

A stratum is a kohya folder `N_name/`, or else a first folder below the data set's. Each has a share of the held-out
pairs in proportion to what is trained of it, pictures × repeats, by the method of Sainte-Laguë (1910): also every
beginning of the list, such as the evaluation's prompts, has these proportions. The split depends on ids, repeats and
seed only; a data set without folders is one stratum, dealt in the order its seed shuffles. Pictures for regularisation
are never held out. Pure.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from shared.data.sources import KOHYA_FOLDER, Pair
from shared.errors import DataError

ENOUGH = 7
"""With so many different captions a large gain is seen in nine of ten runs (`shared/launch/power.py`)."""
LEAST = 4
"""With fewer, hardly any difference can be told from chance; with so few, a large one often can."""
MOST = 24
OF_COPIES = "only one of each is held out, and none of it is trained on then"
"""What happens to pictures that are copies of one another, in words."""


def suggested(num_pictures: int) -> int:
    """How many of a data set's pictures to hold out: as many as a verdict needs, if the set can give them up.

    A third of a small set up to `ENOUGH`, but `LEAST` from 8 pictures on and 2 of fewer: half of them would cost more
    than such an uncertain verdict is worth. A larger set gives more, so that smaller gains are seen: a fifth up to 12,
    then a tenth up to `MOST`.
    """
    small = min(max(num_pictures // 3, LEAST if num_pictures >= 2 * LEAST else 2), ENOUGH)
    return min(max(small, min(num_pictures // 5, 12), num_pictures // 10), MOST)


def pictures_needed(count: int) -> int:
    """The smallest data set that can give up so many; count: `MOST` at most."""
    return next(number for number in range(2, 10 * MOST + 1) if suggested(number) >= min(count, MOST))


def choose(pairs: Sequence[Pair], count: int, seed: int, named: Sequence[str] = ()) -> list[str]:
    """The ids kept from training, in the order evaluation takes its prompts: the named first, the others by seed.

    Raises:
        DataError: a named id is unknown or for regularisation, more are named than held out, or no pair would be left
            to train on.
    """
    subject = [pair for pair in pairs if not pair.is_regularization]
    _refuse_unknown(named, pairs)
    chosen = list(dict.fromkeys(named))
    if len(chosen) > count:
        raise DataError(
            f"data.validation_ids names {len(chosen)} pairs, data.num_validation is {count}",
            f"set data.num_validation to {len(chosen)} or more",
        )
    if len(subject) <= count:
        raise DataError(
            f"{len(subject)} pictures, {count} of them to be held out, leave nothing to train on",
            "add pictures or lower data.num_validation",
        )
    return [*chosen, *_deal(subject, chosen, count - len(chosen), seed)]


def shuffled(pairs: Iterable[Pair], seed: str) -> list[str]:
    """The ids in an order that depends on them and the seed only."""
    ids = sorted(pair.id for pair in pairs)
    random.Random(seed).shuffle(ids)
    return ids


def stratum(pair_id: str) -> str:
    """The part of the data set a pair belongs to: its nearest `N_name/`, or its first folder; empty at the top."""
    folders = PurePosixPath(pair_id).parent.parts
    depths = [depth for depth, name in enumerate(folders, 1) if KOHYA_FOLDER.fullmatch(name)]
    return "/".join(folders[: max(depths, default=1)])


def _deal(pairs: Sequence[Pair], chosen: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` further ids, one after another, each from the stratum with the largest deficit.

    A stratum of which half is held out already comes last, so that none is lost to training while others have more.
    """
    repeats, named = {pair.id: pair.repeats for pair in pairs}, set(chosen)
    strata: dict[str, list[str]] = {}
    for pair_id in shuffled(pairs, f"held-out:{seed}"):  # strata with equal deficits are served in this order
        strata.setdefault(stratum(pair_id), []).append(pair_id)
    weights = {name: sum(repeats[pair_id] for pair_id in members) for name, members in strata.items()}
    left = {name: [pair_id for pair_id in members if pair_id not in named] for name, members in strata.items()}
    taken = {name: len(members) - len(left[name]) for name, members in strata.items()}
    dealt: list[str] = []
    for _ in range(count):
        name = max(
            (name for name in left if left[name]),
            key=lambda name: (2 * (taken[name] + 1) <= len(strata[name]), weights[name] / (2 * taken[name] + 1)),
        )
        dealt.append(left[name].pop(0))
        taken[name] += 1
    return dealt


def _refuse_unknown(named: Sequence[str], pairs: Sequence[Pair]) -> None:
    regularization = {pair.id for pair in pairs if pair.is_regularization}
    if wrong := [name for name in named if name in regularization]:
        raise DataError(
            f"data.validation_ids names pictures for regularisation: {', '.join(wrong)}",
            'name pictures of the subject; data.regularization_path = "none" trains every folder alike',
        )
    known = [pair.id for pair in pairs if not pair.is_regularization]
    unknown = [name for name in named if name not in set(known)]
    if not unknown:
        return
    guesses = {name: difflib.get_close_matches(name, known, n=1) for name in unknown}
    names = [f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else "") for name, near in guesses.items()]
    raise DataError(
        f"data.validation_ids names what is not in the data set: {', '.join(names)}",
        "give each picture's path below the data set's folder, without its ending",
    )
