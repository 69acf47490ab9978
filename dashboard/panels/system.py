"""The machine now and while the run was at work, the programs of the run, its environment, and its disk use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import url_state
from dashboard.charts.system import Axis
from dashboard.components.figure import show_chart
from dashboard.components.screen import show_machine
from dashboard.data.machine.consumption import Consumption, consumption
from dashboard.data.machine.machine_usage import folder_bytes
from dashboard.data.reader import RunReader
from dashboard.panels import LANGUAGE, refreshed
from dashboard.server.figures import figure_url
from dashboard.story.curves import system_chart
from dashboard.text import language
from dashboard.text.formatting import duration, number, size
from dashboard.text.language import say
from shared.run_folder.heartbeat import is_alive, read_statuses
from shared.run_folder.records.process_status import Role

FOLDERS = ("snapshots", "checkpoints", "evaluations", "confirmations", "requested", "references", "exports", "logs")
ELSEWHERE: dict[str, Any] = {
    "schema_version": True,
    "memory": True,
    "changes": True,
    "exports": True,
    "dataset": {"held_out"},
}
OVER: dict[Axis, str] = {"relative": "hours", "step": "steps"}
MEASURED = {"gpu_allocated_mib": "allocated", "gpu_reserved_mib": "reserved", "process_rss_mib": "resident"}


@st.fragment
def machine_panel(run_name: str) -> None:
    """Drawn once; from then on the browser asks for what it shows."""
    language.use(st.session_state.get(LANGUAGE, "en"))
    show_machine(run_name, key="machine")


@refreshed("system", seconds=10.0)
def series_panel(reader: RunReader) -> None:
    """What was recorded while the run was at work, one figure for each machine."""
    st.markdown("## " + say("While the run was at work"))
    tables = reader.system()
    if not tables:
        st.info(why_no_series(reader), icon=":material/info:")
        return
    st.caption(took([consumption(table) for table in tables]))
    url_state.settle("over", [*OVER], "relative")
    over = st.segmented_control(
        say("Horizontal axis"),
        OVER,
        required=True,
        key="over",
        persist_state="session",
        on_change=url_state.write,
        format_func=lambda kind: say(OVER[kind]),
        width="content",
    )
    for machine in range(1, len(tables) + 1):
        if len(tables) > 1:
            st.markdown("### " + say("Machine {number}", number=machine))
        show_chart(
            figure_url(reader.name, f"system-{machine}", over=over or "relative"),
            run=reader.name,
            parts=("system",),
            group=f"{reader.run_id}-{over}",
            file_name=f"{reader.name}-system-{machine}",
            key=f"system_chart_{machine}",
            height=system_chart(reader, machine, over or "relative").height,
        )


def why_no_series(reader: RunReader) -> str:
    """Why nothing is drawn."""
    roles: tuple[Role, ...] = ("trainer", "evaluator")
    if any(is_alive(status) for role in roles for status in read_statuses(reader.run, role).values()):
        return say("Nothing is recorded yet. A row comes every 10 seconds.")
    if reader.train().empty:
        return say("Nothing is recorded yet, because this run has not started.")
    return say("An earlier version trained this run, and it did not record memory, load, temperature and power.")


def took(machines: Sequence[Consumption]) -> str:
    """Total time and energy in a sentence each, or why the energy is unknown."""
    time = say("Recorded: {time}.", time=duration(max(one.seconds for one in machines)))
    known = [one.kilowatt_hours for one in machines if one.kilowatt_hours is not None]
    if not known:
        return f"{time} {say('Energy: unknown, because no GPU of this run says how much power it takes.')}"
    energy = number(sum(known))
    return f"{time} {say('Energy of the GPUs: {energy} kWh, without processors and power supply.', energy=energy)}"


@refreshed("train", "settings", "snapshots", "exports", seconds=30.0)
def provenance_panel(reader: RunReader) -> None:
    """Facts that rarely change: versions, data, estimated memory, disk use."""
    record = reader.run.read_record()
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("## " + say("Versions"))
        st.dataframe(record_table(record.model_dump(mode="json", exclude=ELSEWHERE)), hide_index=True)
    with right:
        if record.memory:
            st.markdown("## " + say("Memory, estimated before the first step"))
            st.dataframe(memory_table(record.memory), hide_index=True)
            measured = reader.train()[list(MEASURED)].max().dropna()
            if len(measured):
                peaks = ", ".join(f"{say(MEASURED[str(name)])} {mib:,.0f} MiB" for name, mib in measured.items())
                st.caption(say("Measured peak of the trainer: {peaks}", peaks=peaks))
        st.markdown("## " + say("Disk use"))
        taken = {name: folder_bytes(reader.run.path / name) for name in FOLDERS}
        rows = [{say("folder"): name, say("size"): size(taken[name])} for name in FOLDERS]
        st.dataframe(pd.DataFrame(rows), hide_index=True)


def record_table(tree: dict[str, Any], prefix: str = "") -> pd.DataFrame:
    """A record as name and value, nested names joined by dots; missing values are left out."""
    pairs = [(name, value) for name, value in _flat(tree, prefix) if value not in ("", "None", "[]")]
    return pd.DataFrame([{say("what"): name, say("value"): value} for name, value in pairs])


def memory_table(memory: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Place, program, sum, and what it is made of, the largest part first."""
    rows = [
        {
            say("place"): place,
            say("program"): say(program.capitalize()),
            say("MiB"): f"{sum(parts.values()):,.0f}",
            say("of which"): ", ".join(f"{name} {mib:,.0f}" for name, mib in largest_first(parts) if mib),
        }
        for place, programs in memory.items()
        for program, parts in programs.items()
        if isinstance(parts, Mapping)
    ]
    return pd.DataFrame(rows)


def largest_first(parts: Mapping[str, float]) -> list[tuple[str, float]]:
    """Names and sizes, largest first."""
    return sorted(parts.items(), key=lambda part: -part[1])


def _flat(tree: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs
