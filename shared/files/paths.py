"""Paths as people write them: `~` is the home folder; obvious mistakes are refused, each with its cure."""

from __future__ import annotations

import os
import re
from pathlib import Path

QUOTES = (
    "write the path in single quotes, 'D:\\new', or with forward slashes: in double quotes, a backslash of TOML begins "
    "an escape"
)
WINDOWS = "give the folder as this system knows it; in WSL the drive C: is /mnt/c"
VARIABLES = "write the path itself, or ~ for your home folder: variables are the shell's, not replaced in settings"
HOME = "write the path itself"
_WINDOWS = re.compile(r"[A-Za-z]:[\\/\0-\x1f]|\\\\")  # a backslash may have become a control character
_VARIABLE = re.compile(r"\$\{?\w|%\w+%")
_OPTION = re.compile(r"(--[\w-]+=)(~.*)")


def expand(text: str) -> str:
    """The path with `~` replaced by the home folder; unchanged if there is no such user.

    `~name` is the home folder of that user.
    """
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError:
        return text


def behind_links(place: str) -> str:
    """Where a folder leads that holds nothing but links to folders, for a person to read; else the place itself."""
    folder = Path(place)
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    if not entries or not all(entry.is_symlink() and not entry.is_file() for entry in entries):
        return place
    return " and ".join(str(entry.readlink()) for entry in entries)


def expand_argument(argument: str) -> str:
    """A word of the command line with the home folder for `~`, also in `--option=~/…`, which shells leave alone."""
    if match := _OPTION.fullmatch(argument):
        return match[1] + expand(match[2])
    return expand(argument)


def fault(text: str) -> tuple[str, str] | None:
    """What is wrong with a path after `expand`, and its cure; None: nothing, or it exists."""
    if Path(text).exists():
        return None
    if _WINDOWS.match(text) and os.name != "nt":
        broken = f"; {QUOTES}" if _has_control_characters(text) else ""
        return "a path of Windows, on another system", WINDOWS + broken
    if _has_control_characters(text):
        return "which holds a tab, a line break or another control character", QUOTES
    if _VARIABLE.match(text):
        return "which begins with a variable", VARIABLES
    return ("whose home folder is not known", HOME) if text.startswith("~") else None


def _has_control_characters(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in text)
