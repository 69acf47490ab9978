"""F51: nothing is ever unpickled. Programs work while unpickling raises, and bombs that lie around never go off."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - the bomb
import shutil
from pathlib import Path

import pytest
import torch

from dashboard import report
from dashboard.data.reader import RunReader
from evaluator import replay
from shared.files.publication import publish
from shared.followers.copies import copy
from shared.launch import archive
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, open_run
from tests.conftest import Warm, check
from tests.integration.conftest import NO_PICKLES

PLACES = [
    "snapshots/pytorch_lora_weights.bin",
    "snapshots/step-00000002/adapter_model.bin",
    "checkpoints/step-00000006/optimizer.pt",
    "checkpoints/state.pkl",
    "checkpoints/random_states_0.pkl",
    "evaluations/step-00000002/features.npy",
    "evaluations/cache.pkl",
    "references/embeddings.pth",
    "exports/lora.ckpt",
    "metrics.pkl",
    "best.pickle",
]


class Bomb:
    """Makes the canary's file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def mined(finished: RunDir, tmp_path: Path) -> tuple[RunDir, Path]:
    """A finished run with bombs in it, one of them under the name of a snapshot's weights; and the canary."""
    run, canary = RunDir(Path(shutil.copytree(finished.path, tmp_path / "runs" / "dress"))), tmp_path / "canary"
    bomb = pickle.dumps(Bomb(canary))
    for place in PLACES:
        (run.path / place).parent.mkdir(parents=True, exist_ok=True)
        (run.path / place).write_bytes(bomb)
    manifest = Manifest(kind="snapshot", run_id=run.read_record().run_id, step=5)

    def fill(stage: Path) -> None:
        (stage / "pytorch_lora_weights.safetensors").write_bytes(bomb)

    publish(run.staging, run.snapshot(5), manifest, fill)
    return run, canary


def test_the_bomb_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "canary")))
    assert (tmp_path / "canary").is_dir()


def test_every_program_works_where_unpickling_raises_and_no_bomb_goes_off(
    mined: tuple[RunDir, Path], warm: Warm, tmp_path: Path
) -> None:
    run, canary = mined
    for module, arguments in (
        ("evaluator", (run.path, "--once")),  # the bomb among the snapshots is a failed result
        ("trainer", (run.path,)),  # complete: it looks at its checkpoints
        ("tasks.export", (run.path, "--format", "kohya", "--output", tmp_path / "kohya.safetensors")),
        ("tasks.publish", (run.path, "--to", tmp_path / "published")),
    ):
        program = warm.start(module, *arguments, prelude=NO_PICKLES)
        assert program.wait() == 0, program.stderr()
        assert "CANARY" not in program.stdout() + program.stderr()
    result = run.read_result(5)
    assert result
    assert result.status == "failed"
    assert not canary.exists()


def test_pages_reports_copies_and_checks_work_where_unpickling_raises(
    mined: tuple[RunDir, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, canary = mined

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    there = open_run(run.path)
    assert "dress" in report.render(RunReader(there, there.read_record().run_id))
    assert replay.replay(there).best
    assert copy(run.path, tmp_path / "copy", lambda text: None)
    archive.write(run, tmp_path / "all.zip")
    check(run)
    assert not canary.exists()
