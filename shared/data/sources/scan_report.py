"""Problems and notices from reading a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MAX_LISTED = 40


def _no_lines() -> list[str]:
    return []


def _no_pictures() -> dict[Path, str]:
    return {}


def _no_faults() -> dict[Path, list[str]]:
    return {}


def _no_places() -> dict[Path, CaptionPlace]:
    return {}


def _no_paths() -> set[Path]:
    return set()


@dataclass(frozen=True)
class CaptionPlace:
    """Where the caption of a picture stands."""

    file: Path
    line: int | None = None
    """The last line of its row in a table, from 1 on; None: the file is this picture's alone."""


@dataclass
class ScanReport:
    """Sentences for a person, in the order they were found."""

    problems: list[str] = field(default_factory=_no_lines)
    """Problems that prevent training."""
    uncaptioned: dict[Path, str] = field(default_factory=_no_pictures)
    """Pictures without a caption; each is a problem with this text, unless a trigger word replaces the caption."""
    named_by_folder: set[Path] = field(default_factory=_no_paths)
    """Pictures whose caption is the class of their kohya folder."""
    without_source: set[Path] = field(default_factory=_no_paths)
    """Pictures without a source in a set for an edit model; each is a problem."""
    source_faults: dict[Path, list[str]] = field(default_factory=_no_faults)
    """Picture → what is wrong with the sources that a table names for it: problems where sources are used."""
    places: dict[Path, CaptionPlace] = field(default_factory=_no_places)
    """Where the captions of pictures stand."""
    notices: list[str] = field(default_factory=_no_lines)
    """Notices of what was interpreted differently or not used."""


def listed(sentences: list[str]) -> list[str]:
    """Each of them once, at most a screenful; the rest is counted."""
    lines = list(dict.fromkeys(sentences))
    rest = len(lines) - MAX_LISTED
    return lines[:MAX_LISTED] + ([f"and {rest} more"] if rest > 0 else [])
