"""Pairs that belong together, so that none is trained on while another one is held out.

Near-duplicates do, what is made from the same sources, and what `data.group_key` says: views of one product. Of a group
one pair at most is held out; the others of this group are then set apart, neither trained on nor held out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from shared.data.sources import Pair
from shared.data.split.near_duplicates import near_duplicates
from shared.files.publication import sha256

Groups = Mapping[str, int]
"""Id → number of its group; a pair that belongs to no other is absent."""


def groups(
    pairs: Sequence[Pair],
    group_key: str = "",
    thumbprint: Callable[[Path], str] | None = None,
    digest: Callable[[Path], str] = sha256,
) -> Groups:
    """Of the pairs of the subject. group_key: a regular expression, see `key`; thumbprint: by which near-duplicates are
    found, if given; digest: of a source's bytes."""
    subject = [pair for pair in pairs if not pair.is_regularization]
    first_of: dict[str | tuple[str, ...], int] = {}
    links = near_duplicates([pair.image for pair in subject], thumbprint) if thumbprint else []
    for position, pair in enumerate(subject):
        if group_key and (name := key(pair.id, group_key)) is not None:
            links.append((first_of.setdefault(name, position), position))
        if pair.sources:
            links.append((first_of.setdefault(tuple(map(digest, pair.sources)), position), position))
    numbers = _connected(len(subject), links)
    members = defaultdict[int, list[str]](list)
    for pair, number in zip(subject, numbers, strict=True):
        members[number].append(pair.id)
    return {pair_id: number for number, ids in members.items() if len(ids) > 1 for pair_id in ids}


def key(pair_id: str, group_key: str) -> str | None:
    """What the expression finds in an id: its first group if it has one, else the whole match; None: nothing."""
    found = re.search(group_key, pair_id)
    if found is None:
        return None
    return found[1] if found.re.groups else found[0]


def one_of_each(pairs: Iterable[Pair], groups: Groups, named: Collection[str] = ()) -> list[Pair]:
    """The pairs without further ones of a group, as pairs to hold out are chosen from. named: ids that stay."""
    seen = {groups[pair_id] for pair_id in named if pair_id in groups}
    kept: list[Pair] = []
    for pair in pairs:
        number = groups.get(pair.id)
        if number is None or pair.id in named or number not in seen:
            kept.append(pair)
        if number is not None:
            seen.add(number)
    return kept


def set_apart(held_out: Sequence[str], groups: Groups) -> list[str]:
    """The ids that share a group with a held-out pair and are not held out themselves."""
    away = {groups[pair_id] for pair_id in held_out if pair_id in groups}
    return sorted(pair_id for pair_id, number in groups.items() if number in away and pair_id not in set(held_out))


def straddling(
    held_out: Sequence[Pair], training: Sequence[Pair], thumbprint: Callable[[Path], str]
) -> list[tuple[str, str]]:
    """(Held-out id, training id) of pictures that look alike on both sides of a split, as older runs may have them."""
    both = [*held_out, *training]
    links = near_duplicates([pair.image for pair in both], thumbprint)
    return [(both[one].id, both[other].id) for one, other in links if one < len(held_out) <= other]


def warning_of(straddling: Sequence[tuple[str, str]]) -> str:
    """What is said of them when training starts."""
    trained = list(dict.fromkeys(training for _, training in straddling))
    held_out, first = straddling[0]
    count = "1 training picture looks" if len(trained) == 1 else f"{len(trained)} training pictures look"
    return (
        f"{count} like a held-out one, such as {first} like {held_out}: what is learnt by heart passes for learning "
        "there. This run keeps its split. A new one (--new) keeps such pictures on one side; data.group_key names "
        "further ones that belong together"
    )


def notices(held_out: Sequence[str], groups: Groups) -> Iterator[str]:
    """What is said of the groups when a run is created."""
    if not groups:
        return
    ids = sorted(groups, key=lambda pair_id: (groups[pair_id], pair_id))
    count = len(set(groups.values()))
    yield (
        f"{len(ids)} pictures look like another one, also mirrored, or share its data.group_key or sources, such as "
        f"{ids[0]} and {ids[1]}: those that belong together are on one side of the split "
        f"({count} group{'' if count == 1 else 's'})"
    )
    if apart := set_apart(held_out, groups):
        named = ", ".join(apart[:3]) + (" …" if len(apart) > 3 else "")
        yield (
            f"{len(apart)} of these are neither trained on nor held out, because one like it is held out: {named}; to "
            "train on them, name other pictures in data.validation_ids, or remove what shows the same"
        )


def _connected(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` positions the smallest one that it is linked to, over any number of links."""
    leader = list(range(count))

    def find(position: int) -> int:
        while leader[position] != position:
            leader[position] = leader[leader[position]]
            position = leader[position]
        return position

    for one, other in links:
        first, second = sorted((find(one), find(other)))
        leader[second] = first
    return [find(position) for position in range(count)]
