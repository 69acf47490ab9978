"""Checkpoints: bit-exact there and back; the damaged fall back loudly; none goes before its successor is proven."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from shared.errors import RunFolderError
from shared.files.publication import publish, verify
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from tests.conftest import RunMaker
from trainer.checkpoint import Checkpoint, copy_to_host, newest, retain


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def trained(steps: int) -> tuple[list[torch.nn.Parameter], torch.optim.AdamW]:
    """Two parameters after some updates of AdamW."""
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3, 5)), torch.nn.Parameter(torch.randn(7))]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
    advance(parameters, optimizer, range(steps))
    return parameters, optimizer


def advance(parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


def checkpoint_of(step: int) -> Checkpoint:
    parameters, optimizer = trained(step)
    adapter = {f"p{index}": parameter.detach().clone() for index, parameter in enumerate(parameters)}
    return Checkpoint(step, adapter, copy_to_host(optimizer.state_dict()), {"scale": 65536.0, "_growth_tracker": 3})


def save(run: RunDir, step: int, run_id: str | None = None) -> Path:
    manifest = Manifest(kind="checkpoint", run_id=run_id or run.read_record().run_id, step=step)
    assert publish(run.staging, run.checkpoint(step), manifest, checkpoint_of(step).write)
    return run.checkpoint(step)


def test_adamw_goes_on_bit_for_bit_after_a_round_trip(run: RunDir) -> None:
    parameters, optimizer = trained(5)
    read = Checkpoint.read(save(run, 5))

    restored = [torch.nn.Parameter(value) for value in read.weights.values()]
    resumed = torch.optim.AdamW(restored, lr=99.0)
    resumed.load_state_dict(read.optimizer)
    advance(parameters, optimizer, range(5, 9))
    advance(restored, resumed, range(5, 9))

    for one, other in zip(parameters, restored, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(optimizer.state.values(), resumed.state.values(), strict=True):
        assert one.keys() == other.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert resumed.param_groups[0]["lr"] == 1e-2
    assert resumed.param_groups[0]["betas"] == [0.9, 0.999]


def test_the_gradient_scaler_and_step_come_back(run: RunDir) -> None:
    read = Checkpoint.read(save(run, 5))
    assert (read.step, read.scaler) == (5, {"scale": 65536.0, "_growth_tracker": 3})


def test_what_fitted_and_into_which_memory_comes_back(run: RunDir) -> None:
    def save_one(step: int, *fitted: object) -> Path:
        made = Checkpoint(step, {}, {"state": {}, "param_groups": []}, {}, *fitted)  # type: ignore[arg-type]
        manifest = Manifest(kind="checkpoint", run_id=run.read_record().run_id, step=step)
        assert publish(run.staging, run.checkpoint(step), manifest, made.write)
        return run.checkpoint(step)

    read = Checkpoint.read(save_one(5, 2, "T4, 15 bytes"))
    assert (read.micro_batch_size, read.memory) == (2, "T4, 15 bytes")


def test_a_checkpoint_that_does_not_say_whose_memory_it_was_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_of(5).write(tmp_path)
    facts = json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))
    del facts["memory"]
    (tmp_path / "state.json").write_text(json.dumps(facts), encoding="utf-8")
    monkeypatch.setattr("trainer.checkpoint.verify", lambda folder: None)
    assert Checkpoint.read(tmp_path).memory is None


def test_a_checkpoint_holds_safetensors_and_json_only(run: RunDir) -> None:
    names = {path.name for path in save(run, 5).iterdir()}
    assert names == {"adapter.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}


def test_a_host_copy_is_not_changed_by_further_training() -> None:
    parameters, optimizer = trained(3)
    copied = copy_to_host(optimizer.state_dict())
    before = copied["state"][0]["exp_avg"].clone()
    advance(parameters, optimizer, range(3, 5))
    assert torch.equal(copied["state"][0]["exp_avg"], before)
    assert not torch.equal(optimizer.state_dict()["state"][0]["exp_avg"], before)


def test_the_newest_checkpoint_is_taken(run: RunDir) -> None:
    assert newest(run, logging.getLogger("trainer").warning) is None
    for step in (20, 100, 3):
        save(run, step)
    found = newest(run, logging.getLogger("trainer").warning)
    assert found
    assert found.step == 100


@pytest.mark.parametrize("name", ["adapter.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_loudly(
    run: RunDir, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(run, 2)
    path = save(run, 4) / name
    data = bytearray(path.read_bytes())
    if damage == "flipped" and name != "manifest.json":
        data[len(data) // 2] ^= 1
    else:
        data = data[: len(data) // 2 if damage == "truncated" else 0]
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        found = newest(run, logging.getLogger("trainer").warning)
    assert found
    assert found.step == 2
    assert "checkpoint of step 4 is damaged" in caplog.text
    assert name in caplog.text
    assert list(run.checkpoints.glob("damaged-step-00000004-*")), "moved aside for a person to look at"
    assert steps_in(run.checkpoints) == {2}
    save(run, 4)  # its name is free again


def test_a_missing_file_falls_back_too(run: RunDir) -> None:
    save(run, 2)
    (save(run, 4) / "optimizer.safetensors").unlink()
    found = newest(run, logging.getLogger("trainer").warning)
    assert found
    assert found.step == 2


def test_where_none_is_whole_it_is_an_error_and_stays_one(run: RunDir) -> None:
    """F08: never a cold start in silence."""
    for step in (2, 4):
        (save(run, step) / "state.json").write_text("{}")
    for _ in range(2):
        with pytest.raises(RunFolderError, match=r"every checkpoint of .* is damaged") as caught:
            newest(run, lambda text: None)
        assert str(caught.value).count("damaged-step-") == 2
        assert "--new" in caught.value.hint
    save(run, 4)
    found = newest(run, lambda text: None)
    assert found
    assert found.step == 4


def test_a_checkpoint_of_another_run_is_neither_taken_nor_touched(run: RunDir) -> None:
    save(run, 2)
    foreign = save(run, 99, run_id="another")
    found = newest(run, logging.getLogger("trainer").warning)
    assert found
    assert found.step == 2
    retain(run, limit=1)
    verify(foreign)


def test_retention_keeps_the_newest(run: RunDir) -> None:
    for step in (2, 4, 6, 8):
        save(run, step)
    retain(run, limit=2)
    assert steps_in(run.checkpoints) == {6, 8}
    retain(run, limit=2)
    assert steps_in(run.checkpoints) == {6, 8}
    assert list(run.staging.iterdir()) == []


def test_nothing_is_deleted_while_the_newest_is_not_proven(run: RunDir) -> None:
    for step in (2, 4, 6):
        save(run, step)
    (run.checkpoint(6) / "adapter.safetensors").write_bytes(b"torn")
    with pytest.raises(RunFolderError, match=r"adapter\.safetensors"):
        retain(run, limit=2)
    assert steps_in(run.checkpoints) == {2, 4, 6}


def test_a_checkpoint_that_windows_does_not_let_go_of_is_deleted_at_the_next_save(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (2, 4, 6):
        save(run, step)
    true = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == run.checkpoint(2):
            raise PermissionError(13, "Access is denied")
        return true(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        retain(run, limit=1)
    assert steps_in(run.checkpoints) == {2, 6}
    retain(run, limit=1)
    assert steps_in(run.checkpoints) == {6}
