"""The machine at this moment, and what the programs of a run say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

from dashboard.components import state_line
from dashboard.components.state_line import Tone
from dashboard.data.machine.machine_usage import read_machine
from dashboard.data.reader import RunReader
from dashboard.data.versions import is_live
from dashboard.text.formatting import size
from dashboard.text.language import say
from shared.machine.gpu_readings import Gpu, read_gpus
from shared.run_folder.heartbeat import is_alive, read_statuses
from shared.run_folder.records.process_status import ProcessStatus, Role
from shared.run_folder.times import parse_time


@dataclass(frozen=True)
class Gauge:
    """How much of something is in use."""

    name: str
    share: float
    """0 to 1."""
    text: str


@dataclass(frozen=True)
class Program:
    """The last record of a program."""

    name: str
    state: str
    tone: Tone
    remark: str
    step: str
    pid: str
    host: str
    started: str


@dataclass(frozen=True)
class Machine:
    """What the page of the machine shows of now; the words above its columns too."""

    live: bool
    """Whether a program is at work on the run: else it is asked for rarely."""
    gauges: tuple[Gauge, ...]
    titles: tuple[str, ...]
    programs: tuple[Program, ...]


def machine(reader: RunReader, now: datetime, zone: tzinfo) -> Machine:
    """Where the dashboard runs, which is where the run's files are."""
    titles = (say("program"), say("state"), say("remark"), say("step"), say("pid"), say("host"), say("started"))
    roles: tuple[Role, ...] = (
        "supervisor",
        "importer" if reader.run.read_record().imported else "trainer",
        "evaluator",
    )
    programs = (
        program(role, slot, status, now, zone) for role in roles for slot, status in slots_of(reader, role).items()
    )
    return Machine(is_live(reader.run), gauges(reader.run.path), titles, tuple(programs))


def gauges(folder: Path) -> tuple[Gauge, ...]:
    """Present use of processors, memory, disk and GPUs."""
    now = read_machine(folder)
    busy = say("{percent} % of {count} cores", percent=f"{now.cpu_percent:.0f}", count=now.num_cpus)
    used, total = now.memory_used_bytes, now.memory_total_bytes
    free = say("{size} free", size=size(now.disk_free_bytes))
    return (
        Gauge(say("Processors"), _share(now.cpu_percent, 100), busy),
        Gauge(say("Memory"), _share(used, total), f"{size(used)} / {size(total)}"),
        Gauge(say("Disk"), _share(now.disk_total_bytes - now.disk_free_bytes, now.disk_total_bytes), free),
        *map(gpu_gauge, read_gpus()),
    )


def gpu_gauge(gpu: Gpu) -> Gauge:
    """Its memory, and how warm and how busy it is."""
    fact = state_line.gpu_fact(gpu)
    return Gauge(gpu.name, _share(gpu.used_bytes, gpu.total_bytes), " · ".join(filter(None, (fact.value, fact.note))))


def program(role: Role, slot: int, status: ProcessStatus | None, now: datetime, zone: tzinfo) -> Program:
    """As it last said of itself."""
    name = say(role.capitalize()) + (f" {slot}" if slot > 1 else "")
    fact = state_line.process_fact(name, status, is_alive(status), now)
    return Program(
        name,
        fact.value,
        fact.tone,
        fact.note,
        str(status.step) if status and role != "supervisor" else "",
        str(status.pid) if status else "",
        status.host if status else "",
        f"{parse_time(status.started).astimezone(zone):%Y-%m-%d %H:%M:%S}" if status else say("not started"),
    )


def slots_of(reader: RunReader, role: Role) -> dict[int, ProcessStatus | None]:
    """The programs of a role by slot; the first one even if it never ran."""
    return {1: None, **read_statuses(reader.run, role)}


def _share(part: float, whole: float) -> float:
    return round(min(1.0, max(0.0, part / whole)), 2) if whole else 0.0
