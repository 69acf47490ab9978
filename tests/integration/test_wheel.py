"""The wheel: one top-level name, and a command that works from any folder, beside packages called like ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT

FINISHED = ROOT / "tests" / "golden" / "folders" / "finished"
BYSTANDERS = ("shared", "tasks", "trainer", "dashboard", "examples", "run")
RAISES = 'raise RuntimeError("imported from the current folder")\n'


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone, which also sees what Darkroom depends on; returns its packages' folder."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "venv", symlinks=True)
    packages = next(folder.glob("venv/**/site-packages"))
    python = str(_program(packages, "python"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(next(folder.glob("*.whl")))], check=True, capture_output=True)
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])  # its own .pth files are not read
    return packages


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A current folder with packages called like ours, none of which may be imported."""
    for name in BYSTANDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(RAISES)
    return tmp_path


def _program(packages: Path, name: str) -> Path:
    scripts = packages.parents[2] / "bin" if os.name == "posix" else packages.parents[1] / "Scripts"
    return scripts / name


def _run(packages: Path, folder: Path, *arguments: object, program: str = "darkroom") -> subprocess.CompletedProcess:
    hidden = ("PYTHONPATH", "PYTHONSAFEPATH", "DARKROOM_COMMAND")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [str(_program(packages, program)), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_installs_one_top_level_name(installed: Path) -> None:
    names = {path.name.partition("-")[0] for path in installed.iterdir()} - {"dependencies.pth", "__pycache__"}
    assert names == {"darkroom"}


def test_other_packages_of_our_folders_names_are_found_as_ever(installed: Path) -> None:
    code = f"import importlib.util as u; print([n for n in {BYSTANDERS} if u.find_spec(n)])"
    assert _run(installed, installed.parent, "-c", code, program="python").stdout.strip() == "[]"


def test_the_command_reports_a_run_from_another_folder(installed: Path, elsewhere: Path) -> None:
    shutil.copytree(FINISHED, elsewhere / "finished")
    done = _run(installed, elsewhere, "report", "finished", "--output", "page.html")
    assert done.returncode == 0, done.stderr
    assert "<html" in (elsewhere / "page.html").read_text(encoding="utf-8")


def test_the_embedded_models_and_every_demos_config_are_in_the_wheel(installed: Path, elsewhere: Path) -> None:
    code = (
        "import darkroom.__main__ as m, sys, json; sys.path.insert(0, str(m.ROOT)); import tasks;"
        "files = [f for demo in tasks.DEMOS.values() for f in demo.configs.values()];"
        "import importlib.util as u;"
        "writers = [demo.writer for demo in tasks.DEMOS.values()];"
        "print(json.dumps([[f for f in files if not (m.ROOT / f).is_file()],"
        "[w for w in writers if not str(u.find_spec(w).origin).startswith(str(m.ROOT))]]))"
    )
    done = _run(installed, elsewhere, "-P", "-c", code, program="python")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], []]


def test_hints_name_the_installed_command(installed: Path, elsewhere: Path) -> None:
    done = _run(installed, elsewhere, "train", ".")
    assert done.returncode == 2
    assert "`darkroom init .`" in done.stderr
    assert "run.py" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_trains_where_the_person_is(installed: Path, elsewhere: Path) -> None:
    settings = ("train.max_train_steps=2", "train.snapshot_steps=2", "evaluation.num_prompts=2", "dashboard.port=0")
    settings = (*settings, "evaluation.confirm_prompts=0", "evaluation.strengths=[]")
    done = _run(installed, elsewhere, "demo", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (elsewhere / "runs" / "demo" / "best.json").is_file()
    assert sorted(path.name for path in (elsewhere / "runs").iterdir() if path.name[0] != ".") == ["demo"]
    assert not list(installed.glob("darkroom/runs")) + list(installed.glob("darkroom/data"))
