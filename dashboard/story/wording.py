"""How the first screen says numbers, lists and the run's own words."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from dashboard.text.language import say
from shared.command_name import as_called
from shared.run_folder.records.run_record import RunRecord

MAX_PROMPT = 48
"""Characters of a prompt in a sentence."""


def units(count: int, unit: str) -> str:
    """`12 prompts`. unit: what the run's task compares by, one of it."""
    if count == 1:
        return say("1 {unit}", unit=say(unit))
    return say("{count} {unit}s", count=count, unit=say(unit))


def of_units(count: int, all_of_them: int, unit: str) -> str:
    """`18 of 20 prompts`."""
    return say("{count} of {all}", count=count, all=units(all_of_them, unit))


def sentence(*clauses: str) -> str:
    """One sentence of all that are not empty."""
    text = say(", ").join(filter(None, clauses))
    return capital(text) + say(".") if text else ""


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]


def steps(numbers: Iterable[object], shown: int = 4) -> str:
    """`80, 120, 160`; of many the first."""
    listed = [str(number) for number in numbers]
    return ", ".join(listed[:shown]) + (" …" if len(listed) > shown else "")


def of_run(command: str, path: Path) -> str:
    """`python run.py train '/my runs/dress/config.toml'`, to be pasted into a shell."""
    return as_called(f"python run.py {command} {shlex.quote(str(path))}")


def trained_elsewhere(record: RunRecord) -> str:
    """That another program trained the LoRAs, and what is known of it; empty where they are this run's own."""
    if record.imported is None:
        return ""
    trainer = record.imported.trainer or say("another program")
    return say(
        "The LoRAs in {folder} were trained by {trainer}: of its settings only what the files tell is known here.",
        folder=record.imported.folder,
        trainer=trainer,
    )


def short(text: str, characters: int = MAX_PROMPT) -> str:
    """One line, cut at a word where it is long."""
    line = " ".join(text.split())
    if len(line) <= characters:
        return line
    cut = line[:characters].rpartition(" ")[0] if " " in line[characters // 2 : characters] else line[:characters]
    return cut.rstrip(" ,.;:") + " …"


def about(seconds: float) -> str:
    """A duration as it may be told before it has passed."""
    if seconds < 50:
        return say("{s} s", s=max(5, 5 * round(seconds / 5)))
    if seconds < 3000:
        return say("{m} min", m=max(1, round(seconds / 60)))
    hours = seconds / 3600
    return say("{h} h", h=round(hours) if hours >= 10 else f"{hours:.1f}".removesuffix(".0"))
