"""A sentence as its English template and the facts in it: whoever shows it can say it in the reader's language.

Records keep the English text beside it, for people who open the file and for programs that do not know the template.
Templates speak of steps. A run whose snapshots are counted in epochs is told by `in_unit`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import reduce
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.run_folder.averages import is_average, label

Unit = Literal["step", "epoch"]
"""What the numbers of a run's snapshots count: of another trainer's files sometimes only the epoch is known."""

_EPOCH = {"s": "epoch", "S": "Epoch"}
_STEP = re.compile(r"(?<![\w.{/-])([Ss])tep(s?)(?![\w}/-])")
"""The word by itself: not in an option, a setting, a file's name or a `{value}`."""


def in_unit(text: str, unit: Unit) -> str:
    """An English text about steps, or a template of one, as a run counts: `epoch 12`."""
    return text if unit == "step" else _STEP.sub(lambda word: _EPOCH[word[1]] + word[2], text)


class Phrase(BaseModel):
    """A sentence or a part of one; `str` of it is the English text."""

    model_config = ConfigDict(frozen=True)

    text: str = Field(description="English, with `{names}` of the values and their formats.")
    values: dict[str, Phrase | str | int | float] = Field(default_factory=dict)

    def __str__(self) -> str:
        """Raises KeyError or ValueError where a text of a file does not fit its values."""
        spelled = {name: str(value) if isinstance(value, Phrase) else value for name, value in self.values.items()}
        return self.text.format(**spelled)


def phrase(text: str, /, **values: Phrase | str | int | float) -> Phrase:
    """A template of the code, which `dashboard.text` translates, and what fills it in. The number of an average of
    snapshots is spelled as people read it."""
    spelled = {name: label(one) if isinstance(one, int) and is_average(one) else one for name, one in values.items()}
    return Phrase(text=text, values=spelled)


def joined(text: str, parts: Iterable[Phrase]) -> Phrase:
    """All parts, two at a time. text: how `{one}` and `{other}` are joined; there is at least one part."""
    return reduce(lambda one, other: phrase(text, one=one, other=other), parts)
