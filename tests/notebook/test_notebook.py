"""notebooks/darkroom.ipynb, executed: every cell in a real kernel, every command a real program, on the tiny model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from shared.run_folder.run_dir import RunDir, steps_in
from tests.conftest import ROOT, check, environment

NOTEBOOK = ROOT / "notebooks" / "darkroom.ipynb"
FAKE_COLAB = {
    "google/colab/__init__.py": "",
    "google/colab/drive.py": "def mount(place):\n    print('mounted', place)\n",
    "google/colab/output.py": "def serve_kernel_port_as_window(port):\n    print('window of port', port)\n",
}
SETTINGS = [
    "data.resolution=32", "data.num_validation=3", "lora.rank=2", "lora.lora_alpha=2",
    "train.max_train_steps=4", "train.train_batch_size=2", "train.gradient_accumulation_steps=1",
    "train.snapshot_steps=2", "train.checkpointing_steps=2", "train.validation_steps=4",
    "evaluation.num_prompts=2", "evaluation.num_seeds=1", "evaluation.num_inference_steps=2",
    "evaluation.fashion_clip=pocket", "evaluation.confirm_prompts=0", "evaluation.strengths=[]",
    "evaluation.averages=0", "evaluation.rescan_seconds=0.5",
]  # fmt: skip


def execute(folder: Path, model: Path, pictures: Path) -> NotebookNode:
    """Run all cells in `folder`, on a machine that looks like Colab's."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source = "\n".join(
        [
            f"PICTURES, MODEL, NAME, TRIGGER_WORD = {str(pictures)!r}, {str(model)!r}, 'dress', ''",
            f"SETTINGS, LOCAL, KEPT = {SETTINGS!r}, {str(folder / 'local')!r}, {str(folder / 'drive')!r}",
        ]
    )
    for name, text in FAKE_COLAB.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    variables = environment(COLAB_RELEASE_TAG="test", PYTHONPATH=str(folder / "site"))
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        client = NotebookClient(notebook, timeout=800, resources={"metadata": {"path": str(ROOT / "notebooks")}})
        client.execute()
    finally:
        end_dashboard(folder / "local" / "dashboard.json")
        os.environ.clear()
        os.environ.update(before)
    return notebook


def end_dashboard(record: Path) -> None:
    """It would serve until its session ends."""
    if record.exists():
        psutil.Process(json.loads(record.read_text(encoding="utf-8"))["pid"]).terminate()


def shown(notebook: NotebookNode, words: str) -> str:
    """What the cell with these words has printed."""
    (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code" and words in cell.source)
    return "".join(output.get("text", "") for output in cell.outputs)


def html_of(notebook: NotebookNode, words: str) -> str:
    """What the cell with these words shows as a page."""
    (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code" and words in cell.source)
    return "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)


@pytest.mark.timeout(900)
def test_every_cell_runs_and_the_run_is_copied_shown_and_taken_along(
    tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    notebook = execute(tmp_path, tiny_model, pictures)
    run, drive = RunDir(tmp_path / "local" / "runs" / "dress"), tmp_path / "drive"
    copy = RunDir(drive / "dress")
    assert "are installed and new enough" in shown(notebook, "packages.install()")
    assert f"training writes to {tmp_path / 'local'}, copies go to {drive}" in shown(notebook, "Session(")
    assert 'path = "' in shown(notebook, "prepare()"), "the config is shown"
    assert re.fullmatch(r"window of port \d+\n", shown(notebook, "dashboard()"))
    assert "the run is complete" in shown(notebook, "train()")
    assert "\x1b" not in shown(notebook, "train()"), "lines, and none that redraw others"
    assert steps_in(copy.snapshots) == steps_in(run.snapshots) == {2, 4}
    assert check(copy) == check(run) == []
    assert copy.read_best() == run.read_best()
    page = html_of(notebook, "report()")
    assert "<iframe srcdoc=" in page
    assert "data:image/" in page
    (zipped,) = drive.glob("*.zip")
    assert "dress/snapshots/step-00000004/manifest.json" in zipfile.ZipFile(zipped).namelist()
    (shipped,) = drive.glob("*.safetensors")
    assert str(shipped) in shown(notebook, "take()")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_session_that_was_lost_is_gone_on_with_by_running_the_cells_again(
    tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    """The machine is lost when step 2 is copied: the run ends as it would have, bit for bit."""
    execute(tmp_path, tiny_model, pictures)
    copy = RunDir(tmp_path / "drive" / "dress")
    whole = (copy.snapshot(4) / "pytorch_lora_weights.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "local")
    for folder in (copy.snapshot(4), copy.checkpoint(4), copy.evaluation(4)):
        shutil.rmtree(folder)
    notebook = execute(tmp_path, tiny_model, pictures)
    assert "is there and stays" in shown(notebook, "prepare()")
    assert f"going on with {copy.path}" in shown(notebook, "train()")
    assert (copy.snapshot(4) / "pytorch_lora_weights.safetensors").read_bytes() == whole
    assert check(copy) == []
    again = execute(tmp_path, tiny_model, pictures)
    assert "the run is complete" in shown(again, "train()")
    assert check(copy) == []


def test_the_notebook_finds_the_clone_it_lies_in_and_says_what_to_do_without_one(tmp_path: Path) -> None:
    """On a machine without Colab's modules."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (source,) = (cell.source for cell in cells if "REPOSITORY =" in cell.source)
    found, lost = (
        subprocess.run([sys.executable, "-c", source], cwd=folder, capture_output=True, text=True, check=False)
        for folder in (NOTEBOOK.parent, tmp_path)
    )
    assert found.stdout == f"Darkroom: {ROOT}\n"
    assert lost.returncode == 1
    assert "put a wheel of Darkroom" in lost.stderr
    assert "Traceback" not in lost.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_notebook_names_the_address_that_the_project_has() -> None:
    """Empty while the project has none; it is filled in, not asked for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (said,) = re.findall(
        r'REPOSITORY = "(.*?)"', "".join(c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells)
    )
    assert said == project.get("urls", {}).get("Repository", "")
