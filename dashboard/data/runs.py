"""Which runs there are, and one shared reader for each."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from dashboard.data.reader import RunReader
from shared.run_folder.run_dir import list_runs, open_run


def runs_folder() -> Path:
    """The folder of run folders: `DARKROOM_RUNS`, else `runs` where the server was started."""
    return Path(os.environ.get("DARKROOM_RUNS") or "runs").resolve()


def run_names() -> list[str]:
    """Every run by name, newest first, the one named by `DARKROOM_RUN` before all others."""
    names = [run.path.name for run in list_runs(runs_folder())]
    first = Path(os.environ.get("DARKROOM_RUN", "")).name
    return sorted(names, key=lambda name: name != first)


def open_reader(name: str) -> RunReader:
    """The reader of a run, the same for all viewers.

    Raises:
        RunFolderError: the folder is gone, damaged, or written by a newer version.
    """
    run = open_run(runs_folder() / name)
    return _shared_reader(str(run.path), run.read_record().run_id)


@st.cache_resource(max_entries=16, show_spinner=False)
def _shared_reader(path: str, run_id: str) -> RunReader:
    return RunReader(open_run(Path(path)), run_id)
