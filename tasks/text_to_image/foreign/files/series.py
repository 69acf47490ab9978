"""Numbers that no single name tells for certain, but several names together: `dress-25`, `dress-50`, `dress-75`. Pure.

Names that are alike but for one number form a series. A number that is glued to a letter, or stands behind a word of
settings, is a version or a setting (`v2`, `rank-16`): it is no number of the training, and headers have to tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.text_to_image.foreign.files.header import Facts
from tasks.text_to_image.foreign.files.names import Name

DIGITS = re.compile(r"\d+")
DATE = re.compile(r"\d{4}-?\d\d-?\d\d(?!\d)")
BEFORE = "-_. (=#"
"""What may stand before a number of the training, unless the name begins with it."""
OTHER_NUMBERS = re.compile(
    r"(?:^|[-_. (])(?:v|ver|version|r|rank|dim|a|alpha|lr|seed|bs|batch|fp|bf|sd|sdxl|flux)[-_. (=#]*$", re.IGNORECASE
)
"""Ends of what stands before a number that counts something else."""
EPOCH_DIGITS = 6
"""kohya writes an epoch with so many, behind a hyphen."""


@dataclass(frozen=True)
class Named:
    """A LoRA, as its name and its header describe it."""

    text: str
    """The name of its file without the ending, or of its folder."""
    name: Name
    facts: Facts
    is_sound: bool = True
    """Its header could be read."""


@dataclass(frozen=True)
class _Part:
    """A number of a name and what stands around it."""

    before: str
    digits: str
    after: str

    @property
    def stem(self) -> str:
        """The name without its number: the last of the training may be called so."""
        return self.before.rstrip(BEFORE) + self.after.lstrip(")")

    @property
    def may_count(self) -> bool:
        """Whether it can be a number of the training."""
        is_apart = not self.before or self.before[-1] in BEFORE
        return is_apart and not OTHER_NUMBERS.search(self.before)

    @property
    def is_of_kohya(self) -> bool:
        """Whether it is written like an epoch."""
        return len(self.digits) == EPOCH_DIGITS and self.before.endswith("-") and bool(self.stem)


def names(loras: Mapping[str, Named]) -> dict[str, Name]:
    """What the names of a folder's LoRAs say together, by label."""
    found = {label: one.name for label, one in loras.items()}
    alike: dict[str, list[str]] = {}
    for label, one in loras.items():
        if not DATE.search(one.text):
            alike.setdefault(DIGITS.sub("#", one.text), []).append(label)
    for labels in alike.values():
        if any(not found[label].is_numbered for label in labels):
            found |= _together(loras, labels)
    return found | _of_one_session(loras, found)


def _together(loras: Mapping[str, Named], labels: Sequence[str]) -> dict[str, Name]:
    """Of names that are alike but for numbers; empty: they tell nothing."""
    numbers = {label: [*DIGITS.finditer(loras[label].text)] for label in labels}
    count = len(numbers[labels[0]])
    varying = [place for place in range(count) if len({int(one[place][0]) for one in numbers.values()}) > 1]
    if len(labels) == 1 and count:
        varying = [count - 1]
    if len(varying) != 1:
        return {}
    parts = {label: _part(loras[label].text, one[varying[0]]) for label, one in numbers.items()}
    if len(labels) == 1 and not _counts_alone(loras, labels[0], parts[labels[0]]):
        return {}
    if not all(part.may_count for part in parts.values()):
        return _by_headers(loras, labels, next(iter(parts.values())).stem) if len(labels) > 1 else {}
    members = [loras[label] for label in labels]
    is_epoch = any(one.name.epoch for one in members if one.name.is_numbered) or (
        not any(one.name.step for one in members)
        and (
            all(part.is_of_kohya for part in parts.values())
            or any(loras[label].facts.step not in (None, int(part.digits)) for label, part in parts.items())
        )
    )
    return {
        label: Name(part.stem, **{"epoch" if is_epoch else "step": int(part.digits)})
        for label, part in parts.items()
        if not loras[label].name.is_numbered
    }


def _part(text: str, match: re.Match[str]) -> _Part:
    return _Part(text[: match.start()], match[0], text[match.end() :])


def _counts_alone(loras: Mapping[str, Named], label: str, part: _Part) -> bool:
    """Whether the number at the end of one name is the training's: nothing else lies there, or the last of it does."""
    others = [one for other, one in loras.items() if other != label]
    is_last = any(not one.name.is_numbered and one.text == part.stem for one in others)
    return part.may_count and part.after in ("", ")") and (is_last or not others)


def _by_headers(loras: Mapping[str, Named], labels: Sequence[str], stem: str) -> dict[str, Name]:
    """Of names whose numbers count something else: by the steps in their headers, unless these are of several
    trainings. What cannot be read waits as the last one."""
    sound = [loras[label] for label in labels if loras[label].is_sound]
    told = [one.facts.step for one in sound if one.facts.step]
    sessions = {one.facts.session for one in sound}
    if len(told) < len(sound) or len(set(told)) < len(told) or len(sessions) > 1 or not told:
        return {}
    return {label: Name(stem, step=loras[label].facts.step) for label in labels}


def _of_one_session(loras: Mapping[str, Named], found: Mapping[str, Name]) -> dict[str, Name]:
    """Names without any number, as `early` and `late`, whose headers name one session of one trainer and the steps."""
    sessions = {one.facts.session for one in loras.values()}
    steps = [one.facts.step for one in loras.values()]
    is_one = len(sessions) == 1 and "" not in sessions and None not in steps and len({*steps}) == len(steps) > 1
    if not is_one or any(name.is_numbered for name in found.values()):
        return {}
    return {label: Name("", step=one.facts.step) for label, one in loras.items()}
