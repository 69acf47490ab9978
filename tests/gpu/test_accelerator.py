"""A few steps of training and evaluation where they belong: on a GPU, in half precision."""

from __future__ import annotations

import pytest
import torch

from shared.files.publication import verify
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import RunMaker, run_module

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.fixture(scope="module", params=["bf16", "fp16"])
def precision(request: pytest.FixtureRequest) -> str:
    if request.param == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bf16")
    return str(request.param)


def trained(make_run: RunMaker, **model: object) -> RunDir:
    run = make_run(model=model)
    outcome = run_module("trainer", run.path)
    assert outcome.returncode == 0, outcome.stderr
    return run


def test_training_in_half_precision_learns_finite_weights_and_says_what_memory_it_takes(
    make_run: RunMaker, precision: str
) -> None:
    run = trained(make_run, mixed_precision=precision)
    rows = read_rows(run.train_csv)
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert all(0 < float(row["loss"]) < 10 for row in rows)
    for row in rows:
        assert 0 < float(row["gpu_allocated_mib"]) <= float(row["gpu_reserved_mib"])
        assert float(row["gpu_device_used_mib"]) >= float(row["gpu_reserved_mib"])
        assert float(row["process_rss_mib"]) > 0
    for step in (2, 4, 6):
        verify(run.snapshot(step))


def test_training_resumes_on_the_gpu(make_run: RunMaker, precision: str) -> None:
    run = trained(make_run, mixed_precision=precision)
    losses = [row["loss"] for row in read_rows(run.train_csv)]
    newest = run.checkpoint(6)
    newest.rename(run.checkpoints / "set-aside")
    outcome = run_module("trainer", run.path)
    assert outcome.returncode == 0, outcome.stderr
    assert "resuming after step 4" in outcome.stderr
    again = [float(row["loss"]) for row in read_rows(run.train_csv)]
    assert again == pytest.approx([float(loss) for loss in losses], rel=1e-2)


def test_snapshots_are_evaluated_in_fp16_on_the_gpu_and_twice_the_same(make_run: RunMaker) -> None:
    run = trained(make_run)
    outcome = run_module("evaluator", run.path)
    assert outcome.returncode == 0, outcome.stderr
    assert steps_in(run.evaluations) == {0, 2, 4, 6}
    first = {step: run.read_result(step) for step in (0, 2, 4, 6)}
    for result in first.values():
        assert result
        assert result.status == "ok", result.reason
        assert result.generation["dtype"] == "float16"
        assert str(result.generation["device"]).startswith("cuda")
    run.evaluation(4).rename(run.path / "set-aside")
    assert run_module("evaluator", run.path).returncode == 0
    again = run.read_result(4)
    assert again
    assert first[4]
    assert again.samples == first[4].samples
