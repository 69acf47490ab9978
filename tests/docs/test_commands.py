"""Every command in the documents is run, or listed with the reason why it is not, and then checked as far as it can be.

A document that gains a command nobody knows fails here. Most are run in test_commands_run.py, the tutorial's here.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch.distributed.run
import typer.main
from accelerate.commands import launch
from torch.distributed.elastic.rendezvous import dynamic_rendezvous

import run
import tasks
from shared.config.loading import load_config
from shared.config.schema import known_keys
from shared.run_folder.run_dir import RunDir, steps_in
from tasks.image_classification import classify
from tests.conftest import ROOT, Warm, check
from tests.docs.test_commands_run import RUN

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.md"
OURS = ("pocket", "trainer", "evaluator", "dashboard", "shared", "examples")
PROGRAMS = re.compile(
    r"^(?:\S*/)?(?:accelerate|apt-get|apt|brew|cd|conda|curl|darkroom|docker|export|git|hf|make|mkdocs|mlflow|nvidia-smi|"
    r"pip|pipx|podman|python3?|ssh|tensorboard|torchrun|uv|uvx|wandb|wget|run\.py|[A-Z_]+=\S+)(?:\s|$)"
)
SHELL = ("", "bash", "sh", "shell", "console")

WHEEL = "tests/integration/test_wheel.py"
EXECUTED = {
    "make setup": ".ci/run",
    "make check": ".ci/run",
    "make test": ".ci/run",
    "make docs": "tests/docs/test_site.py::test_every_page_of_the_documentation_is_on_the_site",
    "python -m build --wheel": f"{WHEEL}::installed",
    "pip install dist/darkroom-*.whl": f"{WHEEL}::installed",
    "darkroom demo": f"{WHEEL}::test_the_demo_trains_where_the_person_is",
    "python run.py sweep my-sweep.toml": "tests/integration/test_sweep.py::test_a_killed_sweep_goes_on",
    "python run.py sweep my-sweep.toml --retry": "tests/unit/shared/sweeps/test_command.py"
    "::test_three_failures_in_a_row_have_the_exit_code_and_a_cure_that_works",
    "python run.py sweep my-sweep.toml --status": "tests/unit/shared/sweeps/test_command.py::test_the_status_is_shown",
    "make demo": "tests/docs/test_commands_run.py::test_the_demos",
}
"""Command → where it, or what it starts, is run, besides those of the tutorial and of test_commands_run.py."""

NETWORK, GPUS, DAEMON = "needs a network", "needs GPUs, or several machines", "needs a container engine"
LEFT = {
    "accelerate launch --multi_gpu": GPUS,
    "apt-get install": "needs a network and an administrator",
    "docker build": DAEMON,
    "docker compose": DAEMON,
    "docker run": DAEMON,
    "export": "sets a variable of the shell",
    "hf download": NETWORK,
    "make bench": "takes twenty minutes; its list is checked in tests/docs/test_bench.py",
    "make chaos": "takes ten minutes; a short one is run in tests/integration/test_chaos.py",
    "make fix": "changes the files of the clone",
    "make audit": NETWORK,
    "make trackers": NETWORK,
    "python -m examples.kanji.reading": "needs packages of Debian's, and a run of the kanji demo",
    "python -m pip install": NETWORK,
    "python -m pocket.pretrain": "takes hours",
    "python -m pocket.training.unet": "takes hours",
    "python -m venv": "makes what `make setup` makes, in another place",
    "python run.py demo --task kanji": "needs packages of Debian's with fonts and a dictionary",
    "python run.py init DATASET_DIR": "stands for the commands of other pages",
    "python run.py train CONFIG": "stands for the commands of other pages",
    "python run.py train my-pictures.toml train.num_processes=7": GPUS,
    "python run.py train pocket/unet.toml": "takes hours",
    "python run.py copy runs/my s3://": "needs an account; test_objects.py copies to other places",
    "python run.py copy s3://": "needs an account; test_objects.py brings from others",
    "python run.py evaluate runs/my --on": "tests/integration/fleet starts a cluster",
    "python run.py train my.toml train.num_processes=4 --on": "tests/integration/fleet starts a cluster",
    "torchrun": GPUS,
    "uv tool install": NETWORK,
}
"""Beginnings of commands that nothing here runs, with the reason."""
NO_COMMANDS = (
    "001.", "data/", "file_name,", "project/", "run.py          the commands", "runs/<name>/",
    "my-work/", "runs/my-sweep/", "# portraits", "{",
)  # fmt: skip
"""How other blocks without a language begin: trees, tables, JSON, prompts."""


@dataclass(frozen=True)
class Command:
    """One command of a document."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^[ >]*```(\w*)[^\n]*\n(.*?)^[ >]*```", text, re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[Command]:
    """The commands of a page's blocks, without comments and prompts; continued lines are one."""
    found: list[Command] = []
    for language, body in blocks(page):
        if language not in SHELL or body.lstrip().startswith(NO_COMMANDS):
            continue
        for line in re.sub(r"\\\n\s*", "", body).splitlines():
            command = re.sub(r"\s{2,}.*| # .*", "", line.strip().removeprefix("$ "))
            if command and not command.startswith("#"):
                found.append(Command(page.relative_to(ROOT).as_posix(), command.removeprefix(".venv/bin/")))
    return found


ALL = [command for page in PAGES for command in commands(page)]


def words_of_run_py(text: str) -> list[str] | None:
    """What is given to `run.py`; None for another program."""
    words = shlex.split(re.sub(r"^(?:[A-Z_]+=\S+ )+", "", text))
    names = [index for index, word in enumerate(words[:2]) if Path(word).name == "run.py"]
    return words[names[0] + 1 :] if names else None


def test_there_are_commands_and_every_block_without_a_language_is_one_or_is_known() -> None:
    assert len(ALL) > 50
    assert [str(command) for command in ALL if not PROGRAMS.match(command.text)] == []


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_command_is_run_or_listed(command: Command) -> None:
    is_tutorials = command.page == TUTORIAL.relative_to(ROOT).as_posix()
    is_run = is_tutorials or command.text in EXECUTED or command.text in RUN
    assert is_run != any(map(command.text.startswith, LEFT)), (
        "run this command in a test and name the test in EXECUTED, or say in LEFT why it is not run"
    )


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_command_is_one_of_its_program(command: Command) -> None:
    """Also where it is run: with other settings there than it has."""
    words = words_of_run_py(command.text)
    if words is not None:
        require_ours(words)
        return
    program, *arguments = shlex.split(command.text.partition(" && ")[0])
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif program == "darkroom" or (program, arguments[0]) == ("docker", "run"):
        require_ours(arguments[arguments.index("darkroom:cuda") + 1 :] if program == "docker" else arguments)
    elif arguments[:1] == ["-m"] and arguments[1].partition(".")[0] in OURS:
        assert importlib.util.find_spec(arguments[1])
    elif program == "torchrun":
        given = torch.distributed.run.get_args_parser().parse_args(arguments)
        assert (given.module, importlib.util.find_spec(given.training_script) is not None) == (True, True)
    elif program == "accelerate":
        given = launch.launch_command_parser().parse_args(arguments[1:])
        assert (given.module, importlib.util.find_spec(given.training_script) is not None) == (True, True)
    elif program == "export":
        names = [word.partition("=")[0] for word in arguments]
        files = [*ROOT.glob("shared/**/*.py"), *ROOT.glob("compose*.yaml"), Path(dynamic_rendezvous.__file__)]
        read = [path.read_text(encoding="utf-8") for path in files]
        assert [name for name in names if not any(name in text for text in read)] == []


def require_ours(words: list[str]) -> None:
    """The words after `run.py` are taken by its command, and its settings are settings."""
    name, *arguments = words
    found = typer.main.get_command(run.app).commands[name].command  # pyright: ignore[reportAttributeAccessIssue]
    if name == "classify":  # it reads its options itself
        classify.parser().parse_args(arguments)
        return
    with found.make_context(name, arguments) as context:
        for override in context.params.get("overrides") or []:
            assert override.partition("=")[0] in known_keys()


def test_the_config_that_nobody_has_hours_for_is_read() -> None:
    assert load_config(ROOT / "pocket" / "unet.toml", None, tasks.settings).run.name


def test_every_command_that_is_run_stands_in_a_document() -> None:
    texts = {command.text for command in ALL}
    assert (EXECUTED.keys() | RUN) - texts == set()
    assert [begin for begin in LEFT if not any(text.startswith(begin) for text in texts)] == []


def test_every_place_that_runs_a_command_exists() -> None:
    for place in EXECUTED.values():
        path, _, test = place.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {test}\(", text, re.MULTILINE) if test else "make check\nmake test" in text


@pytest.mark.timeout(900)
def test_the_tutorial_is_run_command_by_command(warm: Warm, tmp_path: Path) -> None:
    """In an empty folder, with these settings besides: what takes ten minutes is done in seconds."""
    quick = [
        "data.resolution=64", "data.num_validation=4", "train.max_train_steps=2", "train.snapshot_steps=1",
        "train.checkpointing_steps=1", "train.validation_steps=2", "train.train_batch_size=1",
        "train.gradient_accumulation_steps=1", "lora.rank=2", "lora.lora_alpha=2", "evaluation.num_prompts=2",
        "evaluation.num_seeds=1", "evaluation.num_inference_steps=2", "evaluation.confirm_prompts=0",
        "evaluation.averages=0", "evaluation.strengths=[]", "evaluation.rescan_seconds=0.5", "--no-dashboard",
    ]  # fmt: skip
    for command in commands(TUTORIAL):
        words = shlex.split(command.text)
        module, arguments = (words[2], words[3:]) if words[1] == "-m" else ("run", words[2:])
        more = quick if arguments[0] == "train" else []
        log = tmp_path / "log.txt"
        log.write_text("")
        program = warm.start(module, *arguments, *more, prelude=f"import os; os.chdir({str(tmp_path)!r})", log=log)
        codes = (0, 3, 4) if arguments[0] == "verdict" else (0,)  # after two steps there may be none to recommend
        assert program.wait() in codes, f"{command}: {log.read_text(encoding='utf-8')}"
    run_dir = RunDir(tmp_path / "runs" / "kimono")
    assert load_config(tmp_path / "kimono.toml").model.path == "pocket"
    assert steps_in(run_dir.snapshots) == steps_in(RunDir(tmp_path / "backup" / "kimono").snapshots) == {1, 2}
    assert check(run_dir) == []
    for name in ("kimono.html", "kimono.safetensors", "kimono.zip"):
        assert (tmp_path / name).stat().st_size > 1000
    assert list(run_dir.exports.iterdir())
