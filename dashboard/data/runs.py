"""Which runs there are, and one shared reader for each."""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dashboard.components.state_line import Tone, process_fact
from dashboard.data.reader import RunReader
from dashboard.text.language import counting, say
from shared.errors import DarkroomError, RunFolderError
from shared.files.regular import leads_out
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.run_dir import list_runs, open_run


@dataclass(frozen=True)
class RunLine:
    """A run in the list of all."""

    name: str
    state: str
    tone: Tone
    best: str
    """`best: step 600`; empty before there is one."""


def runs_folder() -> Path:
    """The folder of run folders: `DARKROOM_RUNS`, else `runs` where the server was started."""
    return Path(os.environ.get("DARKROOM_RUNS") or "runs").resolve()


def run_names() -> list[str]:
    """Every run by name, newest first, the one named by `DARKROOM_RUN` before all others."""
    names = [run.path.name for run in list_runs(runs_folder())]
    first = Path(os.environ.get("DARKROOM_RUN", "")).name
    return sorted(names, key=lambda name: name != first)


def starts_with_all(names: list[str], asked: str | None) -> bool:
    """Whether nothing says which of several runs to show: neither the viewer nor who started the dashboard."""
    return len(names) > 1 and not (asked or os.environ.get("DARKROOM_RUN"))


def id_of(name: str, names: list[str]) -> str:
    """The id of the run that has this name now; empty where there is none or its record cannot be read."""
    with suppress(RunFolderError, OSError):
        return open_run(runs_folder() / name).read_record().run_id if name in names else ""
    return ""


def open_reader(name: str) -> RunReader:
    """The reader of a run, the same for all viewers.

    Raises:
        RunFolderError: the folder is gone, damaged, or written by a newer version; or the name is a path.
    """
    if name in ("", ".", "..") or Path(name).name != name:
        raise RunFolderError(say("There is no such run."))
    try:
        run = open_run(runs_folder() / name)
    except (OSError, ValueError):  # a name that no file can have
        raise RunFolderError(say("There is no such run.")) from None
    for path in (run.record, run.config):
        if leads_out(path, run.path):
            raise RunFolderError(f"{path} leads out of the run folder", f"put the file itself at {path}")
    return _shared_reader(str(run.path), run.read_record().run_id)


def run_lines() -> list[RunLine]:
    """All of them, in the order of `run_names`."""
    return [run_line(name) for name in run_names()]


def run_line(name: str) -> RunLine:
    """What its trainer does, and its best step; says so if the run cannot be read."""
    with suppress(DarkroomError, OSError):
        reader = open_reader(name)
        trainer, best = read_status(reader.run, "trainer") or read_status(reader.run, "importer"), reader.best()
        fact = process_fact("", trainer, is_alive(trainer), datetime.now(UTC))
        with counting(reader.unit):
            said = say("best: step {step}", step=best.step) if best and best.is_chosen else ""
        return RunLine(name, fact.value, fact.tone, said)
    return RunLine(name, say("cannot be read"), "bad", "")


@functools.lru_cache(maxsize=16)
def _shared_reader(path: str, run_id: str) -> RunReader:
    return RunReader(open_run(Path(path)), run_id)
