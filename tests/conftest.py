"""What many tests share: a tiny Stable Diffusion with random weights, a small data set, run folders made of them."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from filelock import FileLock
from PIL import Image, ImageOps

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: two threads on two busy cores wait for each other
os.environ["HF_HUB_OFFLINE"] = "1"
if hangup := signal.Signals.__members__.get("SIGHUP"):
    signal.signal(hangup, signal.SIG_DFL)  # also where the tests are run by nohup

import tasks
from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.launch import create, integrity, resume
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.models.base_model import POCKET_STABLE_DIFFUSION

ROOT = Path(__file__).resolve().parents[1]
RESOLUTION = 32
DEADLINE_SECONDS = 120.0

RunMaker = Callable[..., RunDir]


def pytest_collectstart() -> None:
    """What is imported while tests are collected stays: nothing of it is garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor is it looked at later, by the collector of this process."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sd1`, `sd2`, `sdxl`: whole models of the true architectures, random weights, 32 × 32 pictures."""

    def make(folder: Path) -> None:
        subprocess.run([sys.executable, ROOT / "tests" / "tiny_model.py", folder], check=True, env=environment())

    return made_once(tmp_path_factory, "models", make)


@pytest.fixture(scope="session")
def tiny_model(tiny_models: Path) -> Path:
    """The SD 1.x among them."""
    return tiny_models / "sd1"


@pytest.fixture(scope="session")
def tiny_flow(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a flow family's miniature, by the family's name."""

    def folder_of(family: str) -> Path:
        def make(folder: Path) -> None:
            from tests.tiny_flow import MINIATURES, SIBLINGS  # noqa: PLC0415

            {**MINIATURES, **SIBLINGS}[family].save(folder)

        return made_once(tmp_path_factory, family, make)

    return folder_of


@pytest.fixture(scope="session")
def tiny_single_files(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Path:
    """The same models as `sd1.safetensors`, `sd2.safetensors`, `sdxl.safetensors`, in the layout of their authors."""
    from tests import single_file  # noqa: PLC0415

    def make(folder: Path) -> None:
        for family in ("sd1", "sd2", "sdxl"):
            single_file.write(tiny_models / family, folder / f"{family}.safetensors")

    return made_once(tmp_path_factory, "single-files", make)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve captioned garments."""
    from pocket.lessons.garments import write_catalogue  # noqa: PLC0415

    return made_once(tmp_path_factory, "pictures", lambda folder: write_catalogue(folder, 12, seed=5, size=48))


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Callable[[int], Path]:
    """The same garments with so many sources each, for edit models: mirrored in their colours, then in other ways."""

    def folder_of(num_sources: int) -> Path:
        def make(folder: Path) -> None:
            shutil.copytree(pictures, folder, dirs_exist_ok=True)
            edits = (ImageOps.invert, ImageOps.flip, ImageOps.grayscale)
            for path in sorted(pictures.rglob("*.png")):
                with Image.open(path) as picture:
                    for number, edit in enumerate(edits[:num_sources], 1):
                        place = folder / path.relative_to(pictures)
                        edit(picture.convert("RGB")).save(place.with_name(f"{path.stem}.source-{number}.png"))

        return made_once(tmp_path_factory, f"pairs-{num_sources}", make)

    return folder_of


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first of all test processes to need it makes, at its place, for the others as well."""
    session = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    folder, done = session / f"shared-{name}", session / f"shared-{name}.done"
    with FileLock(session / f"shared-{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture
def make_run(tmp_path: Path, tiny_model: Path, pictures: Path) -> RunMaker:
    """Creates a run folder on the tiny model: `make_run("name", train={"max_train_steps": 3})`."""

    def make(name: str = "run", **sections: dict[str, object]) -> RunDir:
        return create_run(tiny_config(tmp_path / "runs", name, tiny_model, pictures, sections))

    return make


@pytest.fixture
def make_paper_run(tmp_path: Path, pictures: Path) -> RunMaker:
    """Like `make_run`, for tests that load no model: the base model is a folder that only looks like one."""

    def make(name: str = "run", **sections: dict[str, object]) -> RunDir:
        model = paper_model(tmp_path / "paper-model")
        return create_run(tiny_config(tmp_path / "runs", name, model, pictures, sections))

    return make


def paper_model(folder: Path, pipeline: str = "StableDiffusionPipeline") -> Path:
    """A diffusers folder without weights."""
    for part in ("unet", "vae", "text_encoder", "scheduler"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    shutil.copytree(POCKET_STABLE_DIFFUSION / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    (folder / "unet" / "config.json").write_text('{"block_out_channels": [32], "cross_attention_dim": 768}')
    (folder / "vae" / "config.json").write_text('{"block_out_channels": [16]}')
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}), encoding="utf-8")
    return folder


def tiny_config(
    output_dir: Path, name: str, model: Path, pictures: Path, sections: dict[str, dict[str, object]]
) -> Config:
    """Settings small enough for seconds on one core; `sections` override them."""
    tree: dict[str, dict[str, object]] = {
        "run": {"name": name, "output_dir": str(output_dir)},
        "model": {"path": str(model)},
        "data": {"path": str(pictures), "resolution": RESOLUTION, "num_validation": 3},
        "lora": {"rank": 2, "lora_alpha": 2},
        "train": {"max_train_steps": 6, "train_batch_size": 2, "snapshot_steps": 2, "checkpointing_steps": 2},
        "evaluation": {
            "num_prompts": 2,
            "num_seeds": 1,
            "num_inference_steps": 2,
            "fashion_clip": "pocket",
            "confirm_prompts": 0,
            "strengths": [],
            "averages": 0,
        },
    }
    for section, values in sections.items():
        tree.setdefault(section, {}).update(values)
    return parse_config(tree)


def create_run(config: Config, *others: Any, **more: Any) -> RunDir:
    """`shared.launch.create.create_run`, the task being the config's."""
    return create.create_run(config, tasks.find(config.run.task), *others, **more)


def open_or_create(config: Config, *others: Any) -> RunDir:
    """`shared.launch.resume.open_or_create`, likewise."""
    return resume.open_or_create(config, tasks.find(config.run.task), *others)


def adopt_places(run: RunDir, config: Config, say: Callable[[str], object]) -> None:
    """`shared.launch.resume.adopt_places`, likewise."""
    resume.adopt_places(run, config, tasks.find(config.run.task), say)


def check(run: RunDir) -> list[str]:
    """`shared.launch.integrity.check` in words, the task being the run's."""
    return [str(problem) for problem in integrity.check(run, tasks.find(run.read_config().run.task))]


def notes(run: RunDir) -> list[str]:
    """`shared.launch.integrity.notes`, likewise."""
    return integrity.notes(run, tasks.find(run.read_config().run.task))


def environment(**extra: str) -> dict[str, str]:
    """The environment of a child process: this repository first, one thread, no hub."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        **extra,
    }


def finish(*command: object, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a program from this repository to its end; output captured."""
    return subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        env=environment(**extra),
        cwd=ROOT,
        timeout=240,
        check=False,
    )


def run_python(*arguments: object, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `python …` to its end; output captured."""
    return finish(sys.executable, *arguments, **extra)


def run_module(module: str, *arguments: object, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m module …` to its end; output captured."""
    return run_python("-m", module, *arguments, **extra)


def run_ranks(number: int, *program: object) -> subprocess.CompletedProcess[str]:
    """Run a program as torchrun does, in so many processes; output captured."""
    launch = ("--standalone", "--nproc-per-node", number)
    return run_module("torch.distributed.run", *launch, *program, ACCELERATE_USE_CPU="true")


def until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Poll until `condition` holds; fails the test, naming what it waited for, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.01)


@dataclass
class Program:
    """A program started by `Warm`."""

    warm: Warm
    pid: int
    out: Path
    err: Path
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            answer = self.warm.ask({"wait": self.pid})
            assert answer is None or isinstance(answer, int)
            self.returncode = answer
        return self.returncode

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Its exit code, once it has ended; it has so long."""
        until(lambda: self.poll() is not None, f"the end of process {self.pid}; its log: {self.err}", seconds)
        assert self.returncode is not None
        return self.returncode

    def kill(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def stdout(self) -> str:
        """What it has printed."""
        return self.out.read_text(encoding="utf-8") if self.out.exists() else ""

    def stderr(self) -> str:
        """What it has logged."""
        return self.err.read_text(encoding="utf-8") if self.err.exists() else ""


class Warm:
    """Starts `python -m trainer …` and the like without their seconds of import; see tests/warm.py."""

    def __init__(self, logs: Path) -> None:
        self._logs, self._count = logs, 0
        command = [sys.executable, str(ROOT / "tests" / "warm.py")]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT
        )

    def ask(self, request: dict[str, object]) -> object:
        """One line to the server, one back."""
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(
        self,
        module: str,
        *arguments: object,
        prelude: str = "",
        environment: dict[str, str] | None = None,
        log: Path | None = None,
        terminal: str = "",
    ) -> Program:
        """Start a program; `prelude` is code it executes first: a fault point. `log` takes all it prints.

        terminal: its own, such as `/dev/pts/3`.
        """
        self._count += 1
        out, err = (log or self._logs / f"{module}-{self._count}.{kind}" for kind in ("out", "err"))
        for path in (out, err):
            if not path.exists():
                path.touch()  # the program opens it a moment later
        argv = [str(argument) for argument in arguments]
        pid = self.ask(
            {
                "module": module,
                "argv": argv,
                "stdout": str(out),
                "stderr": str(err),
                "prelude": prelude,
                "environment": environment or {},
                "terminal": terminal,
            }
        )
        assert isinstance(pid, int)
        return Program(self, pid, out, err)

    def run(self, module: str, *arguments: object, prelude: str = "", seconds: float = DEADLINE_SECONDS) -> Program:
        """Run a program to its end, which must be exit code 0."""
        program = self.start(module, *arguments, prelude=prelude)
        code = program.wait(seconds)
        assert code == 0, program.stderr()
        return program

    def popen(self, command: Sequence[object], *, stderr: IO[bytes], prelude: str = "", **_: object) -> Program:
        """Stands in for `subprocess.Popen` where a test's own process starts `python -m …`."""
        module, *arguments = command[2:]
        log = Path(f"/proc/{os.getpid()}/fd/{stderr.fileno()}")
        return self.start(str(module), *arguments, prelude=prelude, log=log)

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(timeout=30)


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Generator[Warm]:
    """Starts programs quickly."""
    server = Warm(tmp_path_factory.mktemp("logs"))
    yield server
    server.close()
