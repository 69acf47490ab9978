"""How fast is training beside diffusers' own script? `python -m benchmarks.training_throughput [--quick] [--compiled]`

Darkroom, as `run.py train --no-evaluator --no-dashboard` starts it, beside
`text_to_image/train_text_to_image_lora.py` of diffusers' examples, unmodified: the same base model, pictures,
captions, size, batch, rank, trained layers, precision, learning rate and loss weights. DIFFUSERS_EXAMPLES names the
folder `examples` of a checkout of diffusers; DIFFUSERS_PYTHON an interpreter that has torchvision besides. Without it
the script runs with this one, and reads its pictures through the stand-in for torchvision in `benchmarks/peer`, which
the report says.

Both programs run at once, but only one at a time goes on: the other is suspended with SIGSTOP. So neighbouring
windows of some seconds are compared, and what the machine does beside them falls on both. A window begins and ends
with a step of its program; the first step after a pause does not count. Rates are steady steps per second of wall
time, with all that a step takes: reading the batch, tables, progress bars. Memory is the kernel's peak of resident
memory of the process that trains. The time to the first step is from the command to the end of that step, one start
each, with nothing cached.

At equal threads both get OMP_NUM_THREADS; as each starts neither does. `--compiled` adds Darkroom with
`train.torch_compile`, which diffusers' script has no setting for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil

from benchmarks import report
from benchmarks.row import Row, middle, ratio, tell
from pocket.lessons.garments import write_concept
from shared.errors import ConfigError, exit_code_of
from shared.files.publication import sha256
from shared.launch.supervisor import child_environment
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.models.base_model import POCKET_STABLE_DIFFUSION

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = Path("text_to_image") / "train_text_to_image_lora.py"
STAND_INS = ROOT / "benchmarks" / "peer"
DEMO = ROOT / "configs" / "pocket_kimono_cpu.toml"
THREADS = "OMP_NUM_THREADS"
LAYERS = ["to_k", "to_q", "to_v", "to_out.0"]
"""Those that diffusers' script trains."""
SIZE, BATCH, RANK, RATE, SNR_GAMMA = 128, 8, 16, 1e-4, 5.0
STEPS = 100_000
SETTLED = 5
"""Steps before anything is measured."""
START_SECONDS, POLL_SECONDS = 400.0, 0.004
TITLE = "How fast is training, beside diffusers' own script?"


@dataclass
class Program:
    """A training that goes on only while it is measured."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    """Grows with every step."""
    mark: re.Pattern[bytes]
    """What each step adds to it."""
    trainer: str
    """A word of the command line of the process that trains."""
    begun: float = field(default_factory=time.perf_counter)
    first_step_seconds: float = float("nan")
    _read: int = 0
    _steps: int = 0

    def steps(self) -> int:
        """Steps so far.

        Raises:
            RuntimeError: the program has ended.
        """
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with code {self.process.returncode}: {self.last_words()}")
        if self.log.exists():
            with self.log.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = max(new.rfind(b"\n"), new.rfind(b"\r")) + 1
            self._read, self._steps = self._read + whole, self._counted(new[:whole])
        return self._steps

    def _counted(self, text: bytes) -> int:
        found = self.mark.findall(text)
        if self.mark.groups:
            return max(map(int, found), default=self._steps)
        return self._steps + len(found)

    def next_step(self) -> tuple[float, int]:
        """Wait for one to end; returns when, and its number."""
        before, deadline = self.steps(), time.perf_counter() + START_SECONDS
        while (now := self.steps()) == before:
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{self.name} makes no step: {self.last_words()}")
            time.sleep(POLL_SECONDS)
        return time.perf_counter(), now

    def settle(self) -> None:
        """Let it load and make its first steps, then suspend it."""
        self.next_step()
        self.first_step_seconds = time.perf_counter() - self.begun
        while self.steps() < SETTLED:
            self.next_step()
        self.suspend()

    def rate(self, seconds: float) -> float:
        """Steps per second over a window of so many seconds at least."""
        self._each("resume")
        self.next_step()
        begun, first = self.next_step()
        now, last = begun, first
        while now < begun + seconds:
            now, last = self.next_step()
        self.suspend()
        return (last - first) / (now - begun)

    def suspend(self) -> None:
        """All of its processes."""
        self._each("suspend")

    def _each(self, action: str) -> None:
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(process, action)()

    def _processes(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def peak_mib(self) -> float:
        """Of the process that trains."""
        of_trainer = next(one for one in self._processes() if self.trainer in one.cmdline())
        lines = Path(f"/proc/{of_trainer.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    def last_words(self) -> str:
        """The end of what it wrote."""
        log = self.log.with_name("output.log")
        return log.read_text(encoding="utf-8", errors="replace")[-1500:] if log.exists() else ""

    def end(self) -> None:
        """Kill all of its processes."""
        for process in self._processes() if self.process.poll() is None else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Measured:
    """Of one way to start both: steps per second by window, peaks in MiB, seconds to the first step."""

    ours: list[float]
    theirs: list[float]
    peaks: tuple[float, float]
    first_steps: tuple[float, float]

    @property
    def ratios(self) -> list[float]:
        """Ours over theirs, pair by pair."""
        return [own / other for own, other in zip(self.ours, self.theirs, strict=True)]

    def __str__(self) -> str:
        """In absolute numbers."""
        pictures = [statistics.median(rates) * BATCH for rates in (self.ours, self.theirs)]
        return (
            f"{middle(self.ours)} steps per second, diffusers {middle(self.theirs)}; {pictures[0]:.1f} and "
            f"{pictures[1]:.1f} pictures per second; peaks {self.peaks[0]:.0f} and {self.peaks[1]:.0f} MiB; first step "
            f"after {self.first_steps[0]:.1f} and {self.first_steps[1]:.1f} s"
        )


@dataclass(frozen=True)
class Peer:
    """diffusers' script, the interpreter that runs it, and variables of its environment."""

    script: Path
    python: str
    variables: Mapping[str, str]


def peer() -> Peer:
    """What Darkroom is measured beside.

    Raises:
        ConfigError: one of them is missing.
    """
    examples, own = os.environ["DIFFUSERS_EXAMPLES"], os.environ.get("DIFFUSERS_PYTHON")
    python = own or sys.executable
    script = Path(examples).resolve() / SCRIPT
    if not examples or not script.is_file():
        raise ConfigError(
            f"DIFFUSERS_EXAMPLES is {examples!r}, must be a folder that holds {SCRIPT}",
            "check out diffusers at the tag of the installed version, and name its folder `examples`",
        )
    variables = {} if own or find_spec("torchvision") else {"PYTHONPATH": str(STAND_INS)}
    imports = "import datasets, torchvision.transforms, diffusers, peft, accelerate"
    tried = subprocess.run(
        [python, "-c", imports], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    if tried.returncode:
        raise ConfigError(
            f"{python} cannot run diffusers' script: {tried.stderr.strip().splitlines()[-1]}",
            "make an environment with the versions of constraints.txt and datasets, and name its interpreter in "
            "DIFFUSERS_PYTHON",
        )
    return Peer(script, python, variables)


def about_peer() -> str:
    """Which script it is, and with which versions it runs."""
    found = peer()
    needs = re.findall(r"check_min_version\(\"(.+?)\"\)", found.script.read_text(encoding="utf-8"))
    code = (
        "from importlib.metadata import version\n"
        "print(*(f'{name} {version(name)}' for name in ('torch', 'diffusers', 'peft', 'accelerate')), sep=', ')"
    )
    versions = subprocess.run([found.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return (
        f"diffusers' script needs diffusers {', '.join(needs)}, has SHA-256 {sha256(found.script)}, and runs with "
        + versions
        + ("; torchvision is replaced by the stand-in of benchmarks/peer" if found.variables else "")
    )


def prepare(folder: Path) -> None:
    """The demo's pictures, for us as they are and for diffusers as an image folder."""
    (folder / "imagefolder").mkdir()
    lines: list[str] = []
    for picture in write_concept(folder / "kimono"):
        shutil.copy(picture, folder / "imagefolder" / picture.name)
        caption = picture.with_suffix(".txt").read_text(encoding="utf-8").strip()
        lines.append(json.dumps({"file_name": picture.name, "text": caption}))
    (folder / "imagefolder" / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "prompts.txt").write_text("a kimono\na red kimono\n", encoding="utf-8")


def start_ours(folder: Path, environment: Mapping[str, str], *settings: str) -> Program:
    """`run.py train`, which no evaluator shares the machine with."""
    run = RunDir(folder / "ours")
    command = [sys.executable, str(ROOT / "run.py"), "train", str(DEMO), "--no-evaluator", "--no-dashboard"]
    values = {
        "run.output_dir": folder, "run.name": "ours", "data.path": folder / "kimono", "data.resolution": SIZE,
        "data.num_validation": 0, "data.cache_dir": folder / "cache", "evaluation.prompts": folder / "prompts.txt",
        "evaluation.num_prompts": 2, "evaluation.confirm_prompts": 0,
        "lora.rank": RANK, "lora.lora_alpha": RANK, "lora.target_modules": json.dumps(LAYERS),
        "model.mixed_precision": "no", "train.train_batch_size": BATCH, "train.learning_rate": RATE,
        "train.lr_scheduler": "constant", "train.lr_warmup_steps": 0, "train.snr_gamma": SNR_GAMMA,
        "train.max_train_steps": STEPS, "train.validation_steps": "false",
        "train.snapshot_steps": STEPS, "train.checkpointing_steps": STEPS,
    }  # fmt: skip
    command += [*(f"{key}={value}" for key, value in values.items()), *settings]
    return _started("Darkroom", command, folder, environment, run.train_csv, re.compile(rb"\n"), "trainer")


def start_theirs(folder: Path, environment: Mapping[str, str], beside: Peer) -> Program:
    """diffusers' script."""
    values = {
        "pretrained_model_name_or_path": POCKET_STABLE_DIFFUSION, "train_data_dir": folder / "imagefolder",
        "output_dir": folder / "theirs", "cache_dir": folder / "datasets", "resolution": SIZE,
        "train_batch_size": BATCH, "rank": RANK, "learning_rate": RATE, "lr_scheduler": "constant",
        "lr_warmup_steps": 0, "snr_gamma": SNR_GAMMA, "max_train_steps": STEPS, "checkpointing_steps": STEPS,
        "mixed_precision": "no", "seed": 0, "logging_dir": "logs",
    }  # fmt: skip
    command = [beside.python, str(beside.script), "--center_crop"]
    command += [word for key, value in values.items() for word in (f"--{key}", str(value))]
    (folder / "theirs").mkdir(parents=True)
    log = folder / "theirs" / "output.log"
    place = {**environment, **beside.variables, "HF_DATASETS_CACHE": str(folder / "datasets")}
    return _started("diffusers", command, folder, place, log, re.compile(rb" (\d+)/%d " % STEPS), str(beside.script))


def _started(
    name: str, command: list[str], folder: Path, environment: Mapping[str, str], log: Path, mark: re.Pattern[bytes],
    trainer: str,
) -> Program:  # fmt: skip
    output = log if log.name == "output.log" else folder / "output.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,  # as run.py starts the trainer: Linux shares processors out by session
        )  # fmt: skip
    return Program(name, process, log, mark, trainer)


@contextlib.contextmanager
def both(threads: int | None, *settings: str) -> Generator[tuple[Program, Program]]:
    """Ours and theirs, suspended after their first steps. threads: None: as each starts."""
    beside = peer()
    environment = {key: value for key, value in child_environment(None).items() if key != THREADS}
    environment["DARKROOM_PARENT_PIPE"] = "0"
    if threads is not None:
        environment[THREADS] = str(threads)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as started:
        folder = Path(name)
        prepare(folder)
        ours = start_ours(folder, environment, *settings)
        started.callback(ours.end)
        ours.settle()
        outside = {key: value for key, value in environment.items() if not key.startswith("PYTHON")}
        theirs = start_theirs(folder, outside, beside)
        started.callback(theirs.end)
        theirs.settle()
        yield ours, theirs


def measure(pairs: int, seconds: float, threads: int | None, *settings: str) -> Measured:
    """Alternate windows; the order within a pair alternates too."""
    with both(threads, *settings) as (ours, theirs):
        rates: dict[str, list[float]] = {ours.name: [], theirs.name: []}
        for pair in range(pairs):
            for program in (ours, theirs) if pair % 2 == 0 else (theirs, ours):
                rates[program.name].append(program.rate(seconds))
        peaks, firsts = (ours.peak_mib(), theirs.peak_mib()), (ours.first_step_seconds, theirs.first_step_seconds)
        return Measured(rates[ours.name], rates[theirs.name], peaks, firsts)


def rows_of(measured: Mapping[str, Measured], threads: int) -> list[Row]:
    """The table."""
    beside, rows = "diffusers' script", list[Row]()
    whole = measured["as each starts"]
    for way, found in measured.items():
        aim = "≥ 1.7 ×" if way == "compiled" else "≥ 1.4 ×"
        question = {"equal": f"training steps per second, {threads} thread(s) each"}.get(way, f"the same, {way}")
        rows.append(Row(question, beside, ratio(found.ratios), aim))
    rows.append(Row("peak memory of the trainer", beside, f"{whole.peaks[0] / whole.peaks[1]:.2f}", "≤ 0.8 ×"))
    first = whole.first_steps[0] / whole.first_steps[1]
    return [*rows, Row("time to the first step, nothing cached", beside, f"{first:.2f}", "–")]


def main() -> int:
    """Measure, print, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows; no report")
    parser.add_argument("--compiled", action="store_true", help="also with train.torch_compile, some minutes more")
    options = parser.parse_args()
    if "DIFFUSERS_EXAMPLES" not in os.environ:
        absent = "not measured: DIFFUSERS_EXAMPLES is not set"
        tell([Row("training steps per second", "diffusers' script", absent, "≥ 1.4 ×")])
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends what is suspended, too
    begun, load = time.monotonic(), os.getloadavg()[0]
    pairs, seconds = (3, 3.0) if options.quick else (9, 8.0)
    equal = max(1, (os.cpu_count() or 1) // 2)
    ways: dict[str, tuple[int | None, tuple[str, ...]]] = {"equal": (equal, ()), "as each starts": (None, ())}
    if options.compiled:
        ways["compiled"] = (equal, ("train.torch_compile=true",))
    measured: dict[str, Measured] = {}
    facts = [about_peer()]
    print(facts[0], flush=True)
    for way, (threads, settings) in ways.items():
        measured[way] = measure(pairs, seconds, threads, *settings)
        facts.append(f"{way}: {measured[way]}")
        print(facts[-1], flush=True)
    rows = rows_of(measured, equal)
    facts.append(f"{time.monotonic() - begun:.0f} s in all, load at the end {os.getloadavg()[0]:.1f}")
    print(facts[-1])
    tell(rows)
    if not options.quick:
        method = (__doc__ or "").partition("\n\n")[2].strip()
        print(report.write("training_throughput", TITLE, method, rows, facts, load))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
