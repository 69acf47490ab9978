"""The machine now and while the run was at work, the programs of the run, its environment, and its disk use."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import url_state
from dashboard.charts.system import Axis, system_figure
from dashboard.components import state_line
from dashboard.components.figure import show_figure
from dashboard.data.machine.consumption import Consumption, consumption
from dashboard.data.machine.machine_usage import folder_bytes, read_machine
from dashboard.data.reader import RunReader
from dashboard.data.versions import is_live
from dashboard.panels import refreshed
from dashboard.text import language
from dashboard.text.formatting import duration, number, size, zone_of
from dashboard.text.language import say
from shared.machine.gpu_readings import Gpu, read_gpus
from shared.run_folder.heartbeat import is_alive, read_statuses
from shared.run_folder.records.process_status import ProcessStatus, Role
from shared.run_folder.times import parse_time

ROLES: tuple[Role, ...] = ("supervisor", "trainer", "evaluator")
FOLDERS = ("snapshots", "checkpoints", "evaluations", "confirmations", "requested", "references", "exports", "logs")
ELSEWHERE: dict[str, Any] = {"schema_version": True, "memory": True, "changes": True, "dataset": {"held_out"}}
OVER: dict[Axis, str] = {"relative": "hours", "step": "steps"}
MEASURED = {"gpu_allocated_mib": "allocated", "gpu_reserved_mib": "reserved", "process_rss_mib": "resident"}

LIVE_SECONDS, QUIET_SECONDS = 2.0, 10.0  # between two looks at the machine


@refreshed()
def system_panel(reader: RunReader) -> float:
    """Where the dashboard runs, which is where the run's files are."""
    show_machine(reader.run.path)
    st.markdown("## " + say("Programs"))
    st.dataframe(program_table(reader, datetime.now(UTC), zone_of(st.context.timezone)), hide_index=True)
    return LIVE_SECONDS if is_live(reader.run) else QUIET_SECONDS


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
    for machine, table in enumerate(tables, 1):
        if len(tables) > 1:
            st.markdown("### " + say("Machine {number}", number=machine))
        version = ("system", machine, over, len(table), float(table["timestamp"].iloc[-1]), language.current())
        figure = reader.keep(version, functools.partial(system_figure, table, reader.train(), over or "relative"))
        label = say("{run}: memory, load, temperature and power of machine {number}", run=reader.name, number=machine)
        name = f"{reader.name}-system-{machine}"
        show_figure(
            figure, key=f"system_figure_{machine}", group=f"{reader.run_id}-{over}", label=label, file_name=name
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


def show_machine(folder: Path) -> None:
    """Present use of GPUs, processors, memory and disk."""
    now = read_machine(folder)
    busy = say("{percent} % of {count} cores", percent=f"{now.cpu_percent:.0f}", count=now.num_cpus)
    gauges: list[tuple[str, float, str]] = [
        (say("Processors"), now.cpu_percent / 100, busy),
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
            column.progress(min(1.0, max(0.0, share)), text=f"**{name}** {text}")


def program_table(reader: RunReader, now: datetime, zone: tzinfo) -> pd.DataFrame:
    """The last record of each program. zone: in which its start is told."""
    rows: list[dict[str, Any]] = []
    programs = [(role, slot, status) for role in ROLES for slot, status in slots_of(reader, role).items()]
    for role, slot, status in programs:
        label = say(role.capitalize()) + (f" {slot}" if slot > 1 else "")
        fact = state_line.process_fact(label, status, is_alive(status), now)
        rows.append(
            {
                say("program"): fact.label,
                say("state"): fact.value,
                say("remark"): fact.note,
                say("step"): str(status.step) if status and role != "supervisor" else "",
                say("pid"): str(status.pid) if status else "",
                say("host"): status.host if status else "",
                say("started"): f"{parse_time(status.started).astimezone(zone):%Y-%m-%d %H:%M:%S}"
                if status
                else say("not started"),
            }
        )
    return pd.DataFrame(rows)


def _started(status: ProcessStatus | None, zone: tzinfo) -> str:
    return f"{parse_time(status.started).astimezone(zone):%Y-%m-%d %H:%M:%S}" if status else say("not started")


def slots_of(reader: RunReader, role: Role) -> dict[int, ProcessStatus | None]:
    """The programs of a role by slot; the first one even if it never ran."""
    return {1: None, **read_statuses(reader.run, role)}


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


@st.cache_data(ttl=2, max_entries=1, show_spinner=False)
def gpus() -> list[Gpu]:
    """The GPUs, asked once for all viewers."""
    return read_gpus()
