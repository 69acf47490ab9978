"""The background writer: in order, never NaN, and no failed save goes unnoticed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from shared.errors import RunFolderError
from shared.files.publication import verify
from shared.run_folder.run_dir import RunDir, steps_in
from tasks.text_to_image.lora import lora
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.conftest import RunMaker, until
from trainer import publisher as publishing
from trainer.checkpoint import Checkpoint
from trainer.publisher import Publisher

MODULE = "unet.down_blocks.0.attentions.0.to_k"
METADATA: dict[str, object] = {"unet.r": 2, "unet.lora_alpha": 4, "unet.target_modules": ["to_k"]}


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


@pytest.fixture
def publisher(run: RunDir) -> Publisher:
    return Publisher(run, run.read_record().run_id, checkpoints_total_limit=2)


def weights(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {f"{MODULE}.lora_A.weight": torch.full((2, 8), value), f"{MODULE}.lora_B.weight": torch.zeros(8, 2)}


def writer(value: float = 1.0) -> Callable[[Path], None]:
    return lambda folder: lora.write(folder, weights(value), METADATA)


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, weights(), {"state": {}, "param_groups": []}, {})


def test_a_snapshot_is_a_file_diffusers_reads_with_alpha_inside(run: RunDir, publisher: Publisher) -> None:
    publisher.snapshot(3, weights(), writer(), {"loss": 0.5})
    publisher.close()
    manifest = verify(run.snapshot(3))
    assert (manifest.kind, manifest.step, manifest.details) == ("snapshot", 3, {"loss": 0.5})
    assert [entry.name for entry in manifest.files] == [LORA_FILE]
    with safe_open(run.snapshot(3) / LORA_FILE, "pt") as file:
        assert all(key.startswith("unet.") for key in file.keys())  # noqa: SIM118
        assert json.loads(file.metadata()["lora_adapter_metadata"])["unet.lora_alpha"] == 4


def test_equal_adapters_give_equal_files(run: RunDir, publisher: Publisher) -> None:
    for step in range(1, 9):
        publisher.snapshot(step, weights(), writer(), {})
    publisher.close()
    assert len({(run.snapshot(step) / LORA_FILE).read_bytes() for step in range(1, 9)}) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_loudly(
    run: RunDir, publisher: Publisher, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        publisher.snapshot(3, weights(value), writer(value), {})
    publisher.close()
    assert steps_in(run.snapshots) == set()
    assert "step 3 is not published" in caplog.text


@pytest.mark.parametrize("where", ["adapter", "moments"])
def test_a_checkpoint_that_is_not_finite_is_refused_and_the_last_good_one_stays(run: RunDir, where: str) -> None:
    notices: list[str] = []
    publisher = Publisher(run, run.read_record().run_id, checkpoints_total_limit=2, notice=notices.append)
    assert publisher.checkpoint(checkpoint(2))
    bad = float("nan")
    state = {0: {"exp_avg_sq": torch.full((2,), bad)}} if where == "moments" else {}
    adapter = weights(bad if where == "adapter" else 1.0)
    assert not publisher.checkpoint(Checkpoint(4, adapter, {"state": state, "param_groups": []}, {}))
    publisher.close()
    assert steps_in(run.checkpoints) == {2}
    assert notices == ["the checkpoint of step 4 is not written: its state is not finite"]


def test_a_name_that_another_run_has_taken_is_an_error(run: RunDir, publisher: Publisher) -> None:
    Publisher(run, "another", checkpoints_total_limit=2).snapshot(3, weights(), writer(), {})
    until(lambda: run.snapshot(3).exists(), "the other run's snapshot", seconds=10)
    publisher.snapshot(3, weights(), writer(), {})
    with pytest.raises(RunFolderError, match="was not published by this run"):
        publisher.close()


def test_the_longest_saves_are_remembered(run: RunDir, publisher: Publisher) -> None:
    assert publisher.longest_save_seconds == 0
    publisher.snapshot(3, weights(), writer(), {})
    publisher.checkpoint(checkpoint(3))
    publisher.close()
    assert publisher.longest_save_seconds == sum(publisher._longest.values()) > 0
    assert publisher._longest.keys() == {"snapshot", "checkpoint"}


def test_saves_become_visible_in_the_order_they_were_asked_for(run: RunDir, publisher: Publisher) -> None:
    seen: list[set[int]] = []
    real = publisher._publish

    def publish(target: Path, manifest: object, write: Callable[[Path], None]) -> None:
        seen.append(steps_in(run.snapshots))
        real(target, manifest, write)  # type: ignore[arg-type]

    publisher._publish = publish  # type: ignore[method-assign]
    for step in (1, 2, 3):
        publisher.snapshot(step, weights(), writer(), {})
    publisher.close()
    assert seen == [set(), {1}, {1, 2}]


def test_a_step_published_before_is_left_as_it_is(run: RunDir, publisher: Publisher) -> None:
    publisher.snapshot(3, weights(1.0), writer(1.0), {"life": "first"})
    publisher.snapshot(3, weights(2.0), writer(2.0), {"life": "second"})
    publisher.close()
    assert verify(run.snapshot(3)).details == {"life": "first"}


def test_an_error_of_a_save_surfaces_and_leaves_nothing_behind(
    run: RunDir, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lora, "write", full)
    publisher.raise_failures()
    publisher.snapshot(3, weights(), writer(), {})

    until(lambda: publisher._saves[0].done(), "the save to end", seconds=10)
    with pytest.raises(OSError, match="No space left"):
        publisher.raise_failures()
    publisher.close()
    assert not run.snapshot(3).exists()
    assert list(run.staging.iterdir()) == []


def test_closing_surfaces_the_error_of_the_last_save(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "write", lambda *_, **__: 1 / 0)
    publisher.snapshot(3, weights(), writer(), {})
    with pytest.raises(ZeroDivisionError):
        publisher.close()


def test_rows_are_durable_before_the_checkpoint_that_lies_behind_them(
    run: RunDir, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_fsync, real_rename = publishing.fsync, Path.rename
    monkeypatch.setattr(publishing, "fsync", lambda path: order.append(path.name) or real_fsync(path))
    monkeypatch.setattr(Path, "rename", lambda path, to: order.append(to.name) or real_rename(path, to))
    run.train_csv.write_text("step\n4\n")
    publisher.checkpoint(checkpoint(4))
    publisher.close()
    assert order == ["train.csv", "step-00000004"]


def test_only_so_many_checkpoints_stay(run: RunDir, publisher: Publisher) -> None:
    for step in (2, 4, 6, 8):
        publisher.checkpoint(checkpoint(step))
    publisher.close()
    assert steps_in(run.checkpoints) == {6, 8}
    for step in (6, 8):
        verify(run.checkpoint(step))
