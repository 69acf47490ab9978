"""The machine now, the programs of the run, what the run was made with, and the room it takes."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import state_line
from dashboard.language import say
from dashboard.machine import folder_bytes, read_machine
from dashboard.panels import refreshed
from dashboard.panels.state import gpus
from dashboard.reader import RunReader
from dashboard.words import size
from shared.records import Role
from shared.status import is_alive, read_status

ROLES: tuple[Role, ...] = ("supervisor", "trainer", "evaluator")
FOLDERS = ("snapshots", "checkpoints", "evaluations", "references", "logs")


@refreshed(seconds=2.0)
def system_panel(reader: RunReader) -> None:
    """Where the dashboard runs, which is where the run's files are."""
    show_machine(reader.run.path)
    st.markdown("##### " + say("Programs"))
    st.dataframe(program_table(reader, datetime.now(timezone.utc)), hide_index=True)


@refreshed(seconds=30.0)
def provenance_panel(reader: RunReader) -> None:
    """What changes seldom: versions, data, room on disk."""
    record = reader.run.read_record()
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("##### " + say("Made with"))
        st.dataframe(record_table(record.model_dump(mode="json")), hide_index=True)
    with right:
        st.markdown("##### " + say("Room on disk"))
        taken = {name: folder_bytes(reader.run.path / name) for name in FOLDERS}
        rows = [{say("folder"): name, say("size"): size(taken[name])} for name in FOLDERS]
        st.dataframe(pd.DataFrame(rows), hide_index=True)


def show_machine(folder: Path) -> None:
    """Gauges of now."""
    now = read_machine(folder)
    gauges: list[tuple[str, float, str]] = [
        (say("Processors"), now.cpu_percent / 100, f"{now.cpu_percent:.0f} % · {now.num_cpus}"),
        (
            say("Memory"),
            now.memory_used_bytes / now.memory_total_bytes,
            f"{size(now.memory_used_bytes)} / {size(now.memory_total_bytes)}",
        ),
        (
            say("Disk"),
            1 - now.disk_free_bytes / now.disk_total_bytes,
            say("{size} free", size=size(now.disk_free_bytes)),
        ),
    ]
    for gpu in gpus():
        fact = state_line.gpu_fact(gpu)
        gauges.append((gpu.name, gpu.used_bytes / gpu.total_bytes, f"{fact.value} · {fact.note}"))
    with st.container(key="gauges"):
        for column, (name, share, text) in zip(st.columns(len(gauges)), gauges, strict=True):
            column.caption(name)
            column.progress(min(1.0, max(0.0, share)), text=text)


def program_table(reader: RunReader, now: datetime) -> pd.DataFrame:
    """Each program's own last word."""
    rows: list[dict[str, Any]] = []
    for role in ROLES:
        status = read_status(reader.run, role)
        fact = state_line.process_fact(say(role.capitalize()), status, is_alive(status), now)
        rows.append(
            {
                say("program"): fact.label,
                say("state"): fact.value,
                say("remark"): fact.note,
                say("step"): status.step if status else None,
                say("pid"): status.pid if status else None,
                say("host"): status.host if status else "",
                say("started"): pd.Timestamp(status.started) if status else pd.NaT,
            }
        )
    return pd.DataFrame(rows)


def record_table(tree: dict[str, Any], prefix: str = "") -> pd.DataFrame:
    """A record as name and value, nested names joined by dots."""
    return pd.DataFrame([{say("what"): name, say("value"): value} for name, value in _flat(tree, prefix)])


def _flat(tree: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs
