"""A real run under chaos: `python benchmarks/chaos.py --minutes 10 --seed 1`, or `make chaos MINUTES=10 SEED=1`.

`run.py train` trains the embedded miniature model, with its evaluator, dashboard, a tracker and `run.py copy --follow`
beside it. At random moments, every program is killed or stopped for a while, the disk is full, the clock jumps, files
are deleted or damaged. After each of these, the invariants of docs/reliability.md are checked; what has ended is
started again by the same command. In the end the run must equal one that nothing disturbed: rows, held-out losses,
snapshots, checkpoint, results and pictures, bit for bit. If it is finished before the time is over, another one begins.

The seed decides which faults come, in which order, how long they last and what they damage; what a program is doing at
that moment depends on the machine. It takes MINUTES and, on two cores, five to eight more for the undisturbed run at
the beginning and the end of the last run. Exit code 1 if anything did not hold. It writes
`benchmarks/reports/chaos_<cores>-core-cpu_<yyyymm>.md`.

Needs Linux. The full disk is a tmpfs of 128 MiB in a mount namespace of its own (`unshare -rm`); where that is not
allowed, a limit of the size of files (RLIMIT_FSIZE). The clock is that of the programs only, by a library that `cc`
compiles (clock_shift.c); without a compiler it does not jump.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.chaos_faults import FAULTS, Fault
from benchmarks.chaos_outcome import differences, expected
from benchmarks.chaos_scene import Scene
from shared.errors import DarkroomError
from shared.files.publication import sha256, verify
from shared.run_folder.run_dir import RunDir, step_name, steps_in

ROOT = Path(__file__).resolve().parents[1]
IN_NAMESPACE = "CHAOS_DISK"
DISK_MIB = 128
STEPS = 600
PAUSE_STEPS, LONGEST_PAUSE_SECONDS = (3, 60), 40.0
"""Of training, between two faults; programs that load, or evaluate what is left, take no steps."""
SHORT_PAUSE_SECONDS = (0.2, 6.0)
AT_ANY_TIME = 0.3
"""How often the pause is a short one, in seconds, so that programs are met while they load as well."""
FINISH_SECONDS = 1800.0
HASTE = 0.25
"""How often the next fault does not wait until all is whole again."""
CONFIG = """
[run]
output_dir = "{output}"
trackers = [{trackers}]
[model]
path = "pocket"
[data]
path = "{pictures}"
resolution = 64
num_validation = 6
[lora]
rank = 4
lora_alpha = 4
dropout = 0.25
[train]
max_train_steps = {steps}
train_batch_size = 2
snapshot_steps = {every}
checkpointing_steps = 10
validation_steps = 50
learning_rate = 1e-3
lr_warmup_steps = 20
[evaluation]
num_prompts = 3
num_seeds = 1
num_inference_steps = 3
fashion_clip = "pocket"
confirm_prompts = 0
strengths = []
averages = 0
rescan_seconds = 2.0
[dashboard]
port = 0
"""


@dataclass(frozen=True)
class Event:
    """One fault."""

    round: int
    at: float
    """Seconds since chaos began."""
    fault: str
    what: str
    step: int
    """That training had reached."""
    whole_after: float | None
    """Seconds until all invariants held again; None: the next fault came before."""


@dataclass
class Chaos:
    """Rounds of a run under faults. `begin(number)` makes a scene, `finish(scene)` says what differs in the end."""

    seed: int
    begin: Callable[[int], Scene]
    finish: Callable[[Scene], list[str]]
    faults: dict[str, tuple[Fault, int]] = field(default_factory=lambda: FAULTS)
    pause_steps: tuple[int, int] = PAUSE_STEPS
    say: Callable[[str], object] = print
    events: list[Event] = field(default_factory=list[Event])
    violations: list[str] = field(default_factory=list[str])
    passing: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])
    starts: int = 0
    rounds: int = 0

    def run(self, seconds: float, max_events: int | None = None) -> None:
        """Until the time is over, or so many faults have come, and the run of that moment is finished."""
        self._begun, self._deadline, self._max_events = time.monotonic(), time.monotonic() + seconds, max_events
        while self._goes_on() or not self.rounds:
            self.rounds += 1
            self._round(self.rounds)

    def _goes_on(self) -> bool:
        enough = self._max_events is not None and len(self.events) >= self._max_events
        return time.monotonic() < self._deadline and not enough

    def _round(self, number: int) -> None:
        scene = self.begin(number)
        try:
            self._disturb(scene, number)
            scene.check_at_once("at the end")
            scene.violations += [f"at the end: {problem}" for problem in scene.problems()]
            scene.violations += self.finish(scene)
        except Exception as error:  # noqa: BLE001 - a report is written whatever happens
            traceback.print_exc()
            scene.violations.append(f"given up: {type(error).__name__}: {error}")
        finally:
            scene.close()
            self.starts += scene.starts
            self.passing += scene.passing
            self.lost += [f"round {number}: {table}, step {step}" for table, step in sorted(scene.lost)]
            self.violations += [f"round {number}: {text}" for text in scene.violations]
            for text in scene.violations:
                self.say(f"VIOLATION {text}")

    def _disturb(self, scene: Scene, number: int) -> None:
        scene.start()
        done, count = False, 0
        while not done:
            count += 1
            draw = random.Random(f"{self.seed}/{number}/{count}")
            if not self._goes_on():
                done = self._finish_undisturbed(scene)
                continue
            done = self._pause(scene, draw) or self._strike(scene, number, draw)

    def _finish_undisturbed(self, scene: Scene) -> bool:
        """Raises RuntimeError: the run does not end."""
        if not scene.wait(FINISH_SECONDS):
            raise RuntimeError(f"the run is not finished {FINISH_SECONDS:.0f} s after the last fault")
        return True

    def _pause(self, scene: Scene, draw: random.Random) -> bool:
        steps, seconds = draw.randint(*self.pause_steps), draw.uniform(*SHORT_PAUSE_SECONDS)
        is_short = draw.random() < AT_ANY_TIME
        return scene.wait(seconds) if is_short else scene.wait(LONGEST_PAUSE_SECONDS, steps)

    def _strike(self, scene: Scene, number: int, draw: random.Random) -> bool:
        """One fault, and what is checked after it; True: the run is done."""
        name = draw.choices(list(self.faults), [weight for _, weight in self.faults.values()])[0]
        hasty, begun = draw.random() < HASTE, time.monotonic() - self._begun
        what = self.faults[name][0](scene, draw)
        if what is None:
            return False
        when = f"{begun:.0f} s, {what}"
        scene.check_at_once(when)
        seconds, done = (None, False) if hasty else scene.settle(when)
        step = scene.last_step()
        self.events.append(Event(number, begun, name, what, step, seconds))
        whole = "the next comes at once" if seconds is None else f"whole after {seconds:.1f} s"
        self.say(f"{number}: {begun:6.1f} s, step {step}: {what}; {whole}")
        return done


@dataclass
class Stage:
    """The files of it all: pictures, the small disk, the untouched run, the clock."""

    folder: Path
    disk: Path | None
    clock: Path | None
    environment: dict[str, str]
    tracker: str

    def config(self, name: str, output: Path, every: int, trackers: str = "") -> Path:
        """Of a run."""
        path = self.folder / f"{name}.toml"
        quoted = f'"{trackers}"' if trackers else ""
        pictures = self.folder / "pictures"
        path.write_text(
            CONFIG.format(output=output, pictures=pictures, steps=STEPS, every=every, trackers=quoted), encoding="utf-8"
        )
        return path

    def command(self, *arguments: object, log: str) -> subprocess.Popen[bytes]:
        """`run.py …` in a session of its own, as from a terminal of its own."""
        with (self.folder / f"{log}.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "run.py", *map(str, arguments)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: object, log: str, allowed: tuple[int, ...] = (0,)) -> str:
        """The same, to its end; what it printed last.

        Raises:
            RuntimeError: it failed.
        """
        code = self.command(*arguments, log=log).wait()
        text = (self.folder / f"{log}.log").read_text(encoding="utf-8", errors="replace")
        if code not in allowed:
            raise RuntimeError(f"run.py {arguments[0]} ended with {code}: {text[-2000:]}")
        return text

    def untouched(self) -> RunDir:
        """Trained once without a break, with a snapshot of every step."""
        config = self.config("untouched", self.folder / "apart", every=1)
        self.run("train", config, "--no-dashboard", "--no-evaluator", log="untouched")
        return RunDir(self.folder / "apart" / "untouched")

    def scene(self, number: int) -> Scene:
        """The run of a round."""
        output, name = (self.disk or self.folder) / "runs", f"run-{number}"
        config, run = self.config(name, output, every=15, trackers=self.tracker), RunDir(output / name)
        place = self.folder / f"copy-{number}"

        def repair() -> str:
            text = self.run(
                "check", run.path, "--repair", log=f"repair-{number}-{time.monotonic():.0f}", allowed=(0, 1)
            )
            return f"check --repair moved {sum(line.startswith('moved ') for line in text.splitlines())}"

        return Scene(
            run,
            launch=lambda: self.command("train", config, log=name),
            repair=repair,
            follow=lambda: self.command("copy", run.path, place, "--follow", log=f"copy-{number}"),
            place=place,
            disk=self.disk,
            clock=self.clock,
        )

    def finish(self, scene: Scene, untouched: RunDir) -> list[str]:
        """What differs from the run that nothing disturbed, and what the copy lacks."""
        run, place = scene.run, scene.place
        steps, found = steps_in(run.snapshots), list[str]()
        wanted = expected(untouched, self.folder / "expected", steps, self._evaluate)
        found += differences(run, wanted, scene.lost)
        regular = {*range(15, STEPS + 1, 15), STEPS}
        if missing := regular - steps:
            found.append(f"snapshots of steps {sorted(missing)} are missing")
        if place:
            text = self.run("copy", run.path, place, log=f"copied-{run.path.name}", allowed=(0, 1))
            found += [f"copy: {line}" for line in text.splitlines() if line.startswith("not copied")]
            found += _copy_differs(run, RunDir(place))
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(run.path)
        return found

    def _evaluate(self, run: RunDir) -> None:
        self.run("evaluate", run.path, log="expected", allowed=(0, 3))


def _copy_differs(run: RunDir, copy: RunDir) -> Iterator[str]:
    """What the copy lacks or has otherwise. A result that was damaged and made again is there as it was made first."""
    for name in ("train.csv", "validation.csv", "metrics.csv", "best.json"):
        if not (copy.path / name).is_file() or sha256(copy.path / name) != sha256(run.path / name):
            yield f"copy: {name} differs"
    for kind in ("snapshots", "checkpoints", "evaluations"):
        for step in sorted(steps_in(run.path / kind)):
            folder = copy.path / kind / step_name(step)
            try:
                verify(folder)
            except (DarkroomError, OSError) as error:
                yield f"copy: {error}"
            if kind != "evaluations" and _digest(folder) != _digest(run.path / kind / step_name(step)):
                yield f"copy: {kind}/{folder.name} differs"


def main() -> int:
    """In a namespace where one is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=None, help="where the report goes, instead of reports/")
    options = parser.parse_args()
    unshare = shutil.which("unshare")
    if IN_NAMESPACE not in os.environ and unshare and _allowed(unshare):
        with tempfile.TemporaryDirectory(prefix="chaos-disk-") as disk:
            environment = {**os.environ, IN_NAMESPACE: disk}
            inside = f'mount -t tmpfs -o size={DISK_MIB}m chaos "${IN_NAMESPACE}" && exec "$@"'
            command = [unshare, "-rm", "sh", "-c", inside, "sh", sys.executable, __file__, *sys.argv[1:]]
            return subprocess.run(command, env=environment, check=False).returncode
    return _chaos(options.minutes, options.seed, options.report)


def _allowed(unshare: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        trial = [unshare, "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "trial", folder]
        return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def _chaos(minutes: float, seed: int, report: Path | None) -> int:
    begun, load = time.monotonic(), os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, _bystander(Path(name)) as bystander:
        stage = _stage(Path(name))
        untouched = stage.untouched()
        pictures, other = _digest(stage.folder / "pictures"), _digest(untouched.path)
        chaos = Chaos(seed, stage.scene, lambda scene: stage.finish(scene, untouched), say=_say)
        chaos.run(60 * minutes)
        if _digest(stage.folder / "pictures") != pictures:
            chaos.violations.append("I7: the data set has changed")
        if other.items() - _digest(untouched.path).items():
            chaos.violations.append("I7: another run has changed")
        if bystander.poll() is not None:
            chaos.violations.append(f"I5: a bystander with a similar name was ended: {bystander.poll()}")
        cores = os.cpu_count()
        place = report or ROOT / "benchmarks" / "reports" / f"chaos_{cores}-core-cpu_{datetime.now(UTC):%Y%m}.md"
        place.write_text(_report(chaos, stage, minutes, time.monotonic() - begun, load), encoding="utf-8")
    print(f"{len(chaos.events)} faults, {chaos.rounds} runs, {len(chaos.violations)} violations; {place}")
    return int(bool(chaos.violations))


@contextmanager
def _bystander(folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """A process whose command looks like a trainer's."""
    sleeps = [sys.executable, "-c", "import time; time.sleep(86400)", "-m", "trainer", str(folder / "runs" / "run-1")]
    with subprocess.Popen(sleeps) as process:
        try:
            yield process
        finally:
            process.kill()


def _say(text: str) -> None:
    print(text, flush=True)


def _stage(folder: Path) -> Stage:
    from pocket.lessons.garments import write_catalogue  # noqa: PLC0415

    (folder / "pictures").mkdir()
    write_catalogue(folder / "pictures", 24, seed=5, size=64)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop(IN_NAMESPACE, None)
    clock, library = folder / "clock", folder / "clock_shift.so"
    compiler = shutil.which("cc")
    source = ROOT / "benchmarks" / "clock_shift.c"
    if (
        compiler
        and not subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=False
        ).returncode
    ):
        clock.write_bytes(bytes(8))
        environment |= {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(clock)}
    disk = Path(os.environ[IN_NAMESPACE]) if IN_NAMESPACE in os.environ else None
    tracker = "tensorboard" if shutil.which("tensorboard", path=str(Path(sys.executable).parent)) else ""
    return Stage(folder, disk, clock if clock.exists() else None, environment, tracker)


def _digest(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _report(chaos: Chaos, stage: Stage, minutes: float, seconds: float, load: tuple[float, ...]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    counts = Counter(event.fault for event in chaos.events)
    whole = sorted(event.whole_after for event in chaos.events if event.whole_after is not None)
    middle = whole[len(whole) // 2] if whole else 0.0
    disk = (
        f"a tmpfs of {DISK_MIB} MiB in a mount namespace"
        if stage.disk
        else "a limit of the size of files (RLIMIT_FSIZE)"
    )
    clock = "a library that shifts the programs' wall clock" if stage.clock else "not possible: there is no C compiler"
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    lines = [
        "# A run under chaos",
        "",
        f"`make chaos MINUTES={minutes:g} SEED={chaos.seed}` at {commit.stdout.strip()}, {datetime.now(UTC):%d %B %Y}: "
        f"{len(chaos.events)} faults in {chaos.rounds} runs of {STEPS} steps, {chaos.starts} starts of the same "
        f"command, {seconds / 60:.1f} minutes in all.",
        "",
        f"**{len(chaos.violations)} violations.** All invariants held again after {middle:.1f} s in the middle, "
        f"{max(whole, default=0):.1f} s at most.",
        "",
        *[f"* {text}" for text in chaos.violations],
        "",
        "| fault | times |",
        "| --- | ---: |",
        *[f"| {name} | {counts[name]} |" for name in chaos.faults],
        "",
        "Each run was compared with one that nothing disturbed: every row of train.csv, validation.csv, "
        "validation_examples.csv and metrics.csv, the tensors of every snapshot and of the last checkpoint, every "
        "picture, the verdict, and the copy that `run.py copy --follow` kept.",
        "",
        *([f"Rows that damaged files have cost: {'; '.join(chaos.lost)}.", ""] if chaos.lost else []),
        *(["Named by `check` for a moment only, while programs were at work:", ""] if chaos.passing else []),
        *[f"* {text}" for text in chaos.passing],
        "",
        f"Full disk: {disk}. Clock: {clock}. Load of the machine before and at the end: {load[0]:.1f}, "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, Python "
        f"{sys.version.split()[0]}, largest child {memory:.0f} MiB.",
        "",
        "## Every fault",
        "",
        "| run | s | step | what | whole after, s |",
        "| ---: | ---: | ---: | --- | ---: |",
        *[
            f"| {one.round} | {one.at:.0f} | {one.step} | {one.what} | "
            f"{'the next came before' if one.whole_after is None else f'{one.whole_after:.1f}'} |"
            for one in chaos.events
        ],
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
