"""What chaos does to a run: each fault takes the scene and a seeded draw, and says what it did; None: it cannot now."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.chaos_scene import Broken, Scene, alive, pick, send
from shared.run_folder.run_dir import steps_in
from shared.run_folder.tables import read_rows, whole_lines

Fault = Callable[[Scene, random.Random], str | None]
PROGRAMS = ("run.py", "trainer", "evaluator", "dashboard", "tracker", "copy")
HOURS = (-26.0, -1.0, -0.05, 0.05, 1.0, 26.0)
"""By which the clock jumps, forwards or back."""
DEAD_SECONDS = 3600.0


def killed(program: str) -> Fault:
    """SIGKILL."""

    def strike(scene: Scene, draw: random.Random) -> str | None:
        pids = scene.pids(program)
        if not pids or not send(draw.choice(sorted(pids)), signal.SIGKILL):
            return None
        return f"SIGKILL to {program}"

    return strike


def held(program: str) -> Fault:
    """SIGSTOP, and SIGCONT after some seconds."""

    def strike(scene: Scene, draw: random.Random) -> str | None:
        seconds, pids = draw.uniform(1.0, 9.0), scene.pids(program)
        if not pids or not send(pid := draw.choice(sorted(pids)), signal.SIGSTOP):
            return None
        scene.wait(seconds)
        send(pid, signal.SIGCONT)
        return f"{program} held by SIGSTOP for {seconds:.1f} s"

    return strike


def orphaned_while_held(scene: Scene, draw: random.Random) -> str | None:
    """`run.py` dies while its trainer is stopped, which goes on later."""
    seconds, trainers, runs = draw.uniform(1.0, 6.0), scene.pids("trainer"), scene.pids("run.py")
    if not trainers or not runs or not send(trainers[0], signal.SIGSTOP):
        return None
    send(runs[0], signal.SIGKILL)
    time.sleep(seconds)
    send(trainers[0], signal.SIGCONT)
    return f"SIGKILL to run.py while the trainer was held for {seconds:.1f} s"


def asked_to_end(scene: Scene, draw: random.Random) -> str | None:
    """Ctrl-C, SIGTERM, or a terminal that is closed; sometimes twice."""
    number = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    twice, pids = draw.random() < 0.3, scene.pids("run.py")
    if not pids or not send(pids[0], number):
        return None
    if twice:
        scene.wait(1.0)
        send(pids[0], number)
    return f"{number.name} to run.py{', twice' if twice else ''}"


def full_disk(scene: Scene, draw: random.Random) -> str | None:
    """No room for some seconds, or room for next to nothing."""
    keep, seconds = draw.choice([0, 4096, 65536, 1 << 20]), draw.uniform(2.0, 8.0)
    with _filled(scene.disk, keep) if scene.disk else _limited(scene):
        done = scene.wait(seconds)
    kind = f"the disk was full for {seconds:.1f} s, {keep} bytes left" if scene.disk else "no file could grow"
    return None if done else kind


def clock_jump(scene: Scene, draw: random.Random) -> str | None:
    """The programs' wall clock jumps, and back some seconds later."""
    hours, seconds = draw.choice(HOURS), draw.uniform(3.0, 12.0)
    if scene.clock is None:
        return None
    _shift(scene.clock, int(hours * 3600))
    scene.wait(seconds)
    _shift(scene.clock, 0)
    return f"the clock jumped by {hours:+g} h, and back after {seconds:.1f} s"


def records_damaged(scene: Scene, draw: random.Random) -> str | None:
    """While all are at work: a status, a table that is derived, or the verdict is deleted, emptied or cut."""
    run = scene.run
    derived = [run.metrics_csv, run.path / "best.json", run.path / "metrics.json", run.path / "averages.csv"]
    path = pick(draw, [*run.processes.glob("*.json"), *(path for path in derived if path.exists())])
    if path == run.metrics_csv:
        scene.broken.append(Broken("metrics.csv", by_hand=False, is_named=False))
    return _damage(path, draw) if path else None


def leftovers_planted(scene: Scene, draw: random.Random) -> str | None:
    """What a dead program of this machine leaves: half a folder in `.staging/`."""
    stage = scene.run.staging / f"{socket.gethostname()}-{_dead_pid()}-{draw.getrandbits(32):08x}"
    stage.mkdir(parents=True)
    (stage / "half.bin").write_bytes(draw.randbytes(draw.randrange(1, 5000)))
    scene.broken.append(Broken(stage.name, by_hand=False))  # until the next start
    return f"a dead program's folder was planted in .staging/: {stage.name}"


def damaged_while_down(scene: Scene, draw: random.Random) -> str | None:
    """The run is ended, files of it are damaged; `check` must name what cannot mend itself; then it goes on."""
    number = draw.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    damages = draw.sample(OFFLINE, k=draw.randint(1, 3))
    if scene.program is None:
        return None
    scene.bring_down(number)
    scene.forget_mended()
    scene.check_at_once(f"down after {number.name}")
    done = list(filter(None, (damage(scene, draw) for damage in damages)))
    named = "\n".join(map(str, _all_problems(scene)))
    scene.violations += [
        f"check does not name {one.name}" for one in scene.broken if one.is_named and one.name not in named
    ]
    if any(one.by_hand for one in scene.broken):
        done.append(scene.repair())
        scene.broken = [one for one in scene.broken if not one.by_hand]
        scene.violations += [f"not whole after check --repair: {problem}" for problem in scene.problems()]
    scene.start()
    return f"down by {number.name}; {'; '.join(done)}" if done else f"down by {number.name}"


def _picture(scene: Scene, draw: random.Random) -> str | None:
    """Of a snapshot's evaluation."""
    path = pick(draw, scene.run.evaluations.glob("step-*/images/*.png"))
    if path is None:
        return None
    scene.broken.append(Broken(path.parents[1].name, by_hand=True))
    return _damage(path, draw)


def _result(scene: Scene, draw: random.Random) -> str | None:
    path = pick(draw, scene.run.evaluations.glob("step-*/result.json"))
    if path is None:
        return None
    scene.broken.append(Broken(path.parent.name, by_hand=True))
    return _damage(path, draw)


def _newest_checkpoint(scene: Scene, draw: random.Random) -> str | None:
    """Training falls back to the one before. The only one is left alone."""
    steps = sorted(steps_in(scene.run.checkpoints))
    if len(steps) < 2:
        return None
    folder = scene.run.checkpoint(steps[-1])
    path = pick(draw, (path for path in folder.iterdir() if path.name != "manifest.json"))
    scene.proven -= {steps[-1]}
    scene.broken.append(Broken(f"checkpoints/{folder.name}", by_hand=False))
    return _damage(path, draw) if path else None


def _half_line(scene: Scene, draw: random.Random) -> str | None:
    """As a program leaves it that dies while it writes."""
    run = scene.run
    path = pick(draw, (path for path in (run.train_csv, run.validation_csv, run.metrics_csv) if path.exists()))
    if path is None:
        return None
    with path.open("ab") as file:
        file.write(b"7,0.1,0.0")
    return f"half a line at the end of {path.name}"


def _rows_after_checkpoint(scene: Scene, draw: random.Random) -> str | None:
    """The end of train.csv is cut, in the middle of a line, where no checkpoint lies behind it."""
    data, newest = whole_lines(scene.run.train_csv), max(steps_in(scene.run.checkpoints), default=0)
    later = [line for line in data.splitlines(keepends=True)[1:] if int(line.partition(b",")[0]) > newest]
    if not later:
        return None
    cut = draw.randrange(1, sum(map(len, later)))
    os.truncate(scene.run.train_csv, len(data) - cut)
    return f"{cut} bytes were cut from the end of train.csv, after step {newest}"


def _held_out_row(scene: Scene, draw: random.Random) -> str | None:
    """The last held-out loss is lost: measured once, it is not measured again."""
    rows, data = read_rows(scene.run.validation_csv), whole_lines(scene.run.validation_csv)
    newest = max(steps_in(scene.run.checkpoints), default=0)
    if not rows or not 0 < int(rows[-1]["step"]) <= newest:
        return None
    last = data.splitlines(keepends=True)[-1]
    os.truncate(scene.run.validation_csv, len(data) - draw.randrange(1, len(last)))
    scene.lost.add(("validation.csv", int(rows[-1]["step"])))
    return f"the last row of validation.csv, step {rows[-1]['step']}, was cut"


def _table_or_record(scene: Scene, draw: random.Random) -> str | None:
    """What is derived or written again by the next start."""
    run = scene.run
    paths = [run.metrics_csv, run.path / "best.json", run.dataset_csv, run.path / "metrics.json"]
    path = pick(draw, [path for path in (*paths, *run.processes.glob("*.json")) if path.exists()])
    if path == run.metrics_csv:
        scene.broken.append(Broken("metrics.csv", by_hand=False, is_named=False))
    return _damage(path, draw) if path else None


def _half_written(scene: Scene, draw: random.Random) -> str | None:
    """A temporary beside a record, of an hour ago."""
    folder = draw.choice([scene.run.path, scene.run.processes])
    path = folder / f".{draw.choice(['best', 'trainer', 'metrics'])}.json.{draw.getrandbits(32):08x}.tmp"
    path.write_bytes(b'{"schema": "1.0", "st')
    hour_ago = time.time() - DEAD_SECONDS
    os.utime(path, (hour_ago, hour_ago))
    scene.broken.append(Broken(path.name, by_hand=True))
    return f"a half-written {path.relative_to(scene.run.path)}"


OFFLINE: tuple[Fault, ...] = (
    _picture,
    _result,
    _newest_checkpoint,
    _half_line,
    _rows_after_checkpoint,
    _held_out_row,
    _table_or_record,
    _half_written,
)
FAULTS: dict[str, tuple[Fault, int]] = {
    **{f"kill {name}": (killed(name), weight) for name, weight in zip(PROGRAMS, (3, 3, 3, 1, 1, 1), strict=True)},
    **{f"hold {name}": (held(name), weight) for name, weight in zip(PROGRAMS, (1, 2, 2, 1, 1, 1), strict=True)},
    "kill run.py, trainer held": (orphaned_while_held, 1),
    "ask run.py to end": (asked_to_end, 2),
    "full disk": (full_disk, 3),
    "clock jump": (clock_jump, 3),
    "damage at work": (records_damaged, 2),
    "plant leftovers": (leftovers_planted, 1),
    "damage while down": (damaged_while_down, 5),
}
"""Name → what it does, and how often, beside the others."""


def _damage(path: Path, draw: random.Random) -> str:
    """Delete, empty or cut a file, or flip one bit of it. What became of it, in words."""
    how = draw.choice(["deleted", "emptied", "cut", "changed by a bit"])
    with contextlib.suppress(FileNotFoundError):  # what is at work may replace it at any moment
        size = path.stat().st_size
        if how == "deleted" or size < 2:
            path.unlink()
        elif how == "emptied":
            os.truncate(path, 0)
        elif how == "cut":
            os.truncate(path, draw.randrange(1, size))
        else:
            place = draw.randrange(size)
            with path.open("r+b") as file:
                file.seek(place)
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte ^ (1 << draw.randrange(8))]))
    return f"{path.parent.name}/{path.name} was {how}"


def _all_problems(scene: Scene) -> list[str]:
    broken, scene.broken = scene.broken, []
    found = list(map(str, scene.problems()))
    scene.broken = broken
    return found


@contextmanager
def _filled(disk: Path, keep: int) -> Generator[None]:
    """A file system with so many bytes left."""
    filler, free = disk / "filler", shutil.disk_usage(disk).free
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - keep))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def _limited(scene: Scene) -> Generator[None]:
    """Without a file system of its own: no file of any program may grow beyond its first bytes (RLIMIT_FSIZE)."""
    pids = [process.pid for process in scene.family.values() if alive(process)] + scene.pids("run.py")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        scene.look()
        for pid in {*pids, *scene.family}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def _shift(clock: Path, seconds: int) -> None:
    with clock.open("r+b") as file:  # the programs have mapped it
        file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


def _dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid
