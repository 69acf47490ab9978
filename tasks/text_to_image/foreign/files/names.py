"""What the name of a LoRA's file says: which training it is of, after which step or epoch.

| program    | names                                                                                          |
| ---------- | ---------------------------------------------------------------------------------------------- |
| kohya      | `NAME-000012` (epoch), `NAME-step00000500`, `NAME` (the last)                                    |
| ai-toolkit | `NAME_000000500` (step), `NAME` (the last)                                                       |
| OneTrainer | `PREFIX2026-01-31_12-00-00-save-500-4-20` (step, epoch, step of the epoch)                       |
| others     | `checkpoint-500/` (step), `NAME_e12`, `NAME-epoch-12`, `NAME_step_500`, `NAME-1500`, `NAME-final` |
|            | `NAME-500-steps`, `NAME-12-epochs`; shorter numbers and others count in a series, see `series`    |
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TIME = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"
PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<stem>.*?){TIME}-save-(?P<step>\d+)-(?P<epoch>\d+)-\d+",
        rf"(?P<stem>.*?){TIME}",
        r"(?P<stem>.*?)[-_. ]?(?:e|ep|epochs?)[-_= ]?(?P<epoch>\d+)[-_. ](?:s|steps?)[-_= ]?(?P<step>\d+)",
        r"(?P<stem>)checkpoint-(?P<step>\d+)(?:-.*)?",
        r"(?P<stem>.*?)[-_. ]?steps?[-_= ]?(?P<step>\d+)",
        r"(?P<stem>.*?)[-_. ]?(?<!\d)(?P<step>\d+)[-_. ]?steps?",
        r"(?P<stem>.+)[-_. ](?:e|ep)[-_= ]?(?P<epoch>\d+)",
        r"(?P<stem>.*?)[-_. ]?epochs?[-_= ]?(?P<epoch>\d+)",
        r"(?P<stem>.*?)[-_. ]?(?<!\d)(?P<epoch>\d+)[-_. ]?(?:ep|epochs?)",
        r"(?P<stem>.+)-(?P<epoch>\d{6})",
        r"(?P<stem>.+)[-_. ](?P<step>\d{3,})",
        r"(?P<stem>.+?)[-_. ](?:final|last|latest)",
        r"(?P<stem>)(?:final|last|latest)",
    )
)
"""The first that fits the whole name, without its ending, counts."""


@dataclass(frozen=True)
class Name:
    """What a name says."""

    stem: str
    """Of all files of one training the same; may be empty."""
    step: int | None = None
    epoch: int | None = None

    @property
    def is_numbered(self) -> bool:
        """Without a number it is the last LoRA of a training."""
        return self.step is not None or self.epoch is not None


def read(name: str) -> Name:
    """name: of a file without its ending, or of a folder."""
    match = next((match for pattern in PATTERNS if (match := pattern.fullmatch(name))), None)
    if match is None:
        return Name(name)
    numbers = {key: int(value) for key, value in match.groupdict().items() if key != "stem" and value is not None}
    return Name(match["stem"].rstrip("-_. "), **numbers)
