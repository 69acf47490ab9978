"""The pre-check: warns with settings that truly save, refuses only what cannot be helped."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.errors import DeviceError
from shared.machine import hardware
from shared.machine.hardware import Gpu
from tasks.text_to_image.families.known import EMBEDDED, FAMILIES
from tasks.text_to_image.models import memory, precheck
from tasks.text_to_image.models.memory import GIB
from tasks.text_to_image.models.precheck import Place
from tests.true_shapes import true_shapes


def config(**sections: dict[str, Any]) -> Config:
    return parse_config({"data": {"path": "pictures"}, **sections})


def places(*gibibytes: float) -> list[Place]:
    gpus = [Place(f"GPU {n}", size * GIB, Gpu(n, "a card", 0, size * 1024, (8, 0))) for n, size in enumerate(gibibytes)]
    return [*gpus, Place("this machine", 32.0 * GIB)]


def test_what_fits_is_said_without_advice() -> None:
    (share,) = precheck.shares(true_shapes("sd1"), config(), places(24))
    assert share.excess < 0
    assert "24.0 GiB free" in share.sentence()
    assert "save" not in share.sentence()


def test_what_does_not_fit_is_said_with_the_two_settings_that_save_most() -> None:
    settings = config(train={"train_batch_size": 8})
    (share,) = precheck.shares(true_shapes("sd1"), settings, places(8))
    assert len(share.advice) == 2
    assert "too few; what would save most: " in share.sentence()
    needed = share.excess + share.place.free
    for advice in share.advice:
        overrides, saved = re.fullmatch(r"(.+) \((.+) GiB\)", advice).groups()  # type: ignore[union-attr]
        tree = settings.model_dump(exclude_none=True)
        for override in overrides.split():
            key, _, value = override.partition("=")
            section, _, setting = key.partition(".")
            tree[section][setting] = value
        after = precheck.shares(true_shapes("sd1"), parse_config(tree), places(8))[0]
        assert needed - after.excess - after.place.free == pytest.approx(float(saved) * GIB, abs=0.06 * GIB)
        assert float(saved) > 1


@pytest.mark.parametrize(("family", "card"), [("z-image", 12), ("flux1-dev", 24), ("qwen-image", 24)])
def test_a_large_transformer_is_not_sent_to_the_cpu_to_draw(family: str, card: int) -> None:
    model = true_shapes(family)
    settings = config(
        model={"blocks_to_swap": len(memory.blocks(model)) - 2},
        train={"gradient_checkpointing": True},
        evaluation={"scheduler": "own", "batch_size": 1},
    )
    (share,) = precheck.shares(model, settings, places(card))
    names = [advice.partition("=")[0] for advice in share.advice]
    assert names[0] == "evaluation.blocks_to_swap"
    assert set(names) <= {"evaluation.blocks_to_swap", "evaluation.turns"}


def test_what_blocks_start_from_is_not_on_the_card_if_it_is_offloaded() -> None:
    def activations(checkpointing: bool | str) -> float:
        settings = config(train={"train_batch_size": 4, "gradient_checkpointing": checkpointing})
        needed = memory.trainer_footprint(true_shapes("flux1-dev"), settings, "bf16", on_gpu=True)
        return needed.parts["activations"]

    hidden_states = 4 * (32 * 32 + 512) * 3072 * 2  # at 512 × 512
    assert activations(True) - activations("offload") == pytest.approx(55 * hidden_states), "two stay"


@pytest.mark.parametrize(("free", "count"), [(10, 17), (8, 25)])
def test_of_one_kind_the_mildest_advice_that_is_enough_is_given(free: int, count: int) -> None:
    settings = config(
        train={"train_batch_size": 1, "gradient_checkpointing": True}, evaluation={"scheduler": "own", "device": "cpu"}
    )
    (share, _) = precheck.shares(true_shapes("z-image"), settings, places(free))
    names = [advice.partition("=")[0] for advice in share.advice]
    assert len(set(names)) == len(names) == 2
    assert any(advice.startswith(f"model.blocks_to_swap={count} ") for advice in share.advice)


def test_a_card_with_hardly_enough_is_called_close() -> None:
    (share,) = precheck.shares(true_shapes("sd1"), config(), places(24))
    just = (share.excess + share.place.free) * 1.02 / GIB
    (tight,) = precheck.shares(true_shapes("sd1"), config(), places(just))
    assert "close" in tight.sentence()


def test_the_evaluator_counts_where_it_draws() -> None:
    alone, drawing = precheck.shares(true_shapes("sd1"), config(evaluation={"device": "cpu"}), places(24))
    assert (alone.place.name, [part.program for part in alone.footprints]) == ("GPU 0", ["trainer"])
    assert (drawing.place.name, [part.program for part in drawing.footprints]) == ("this machine", ["evaluator"])
    other = precheck.shares(true_shapes("sd1"), config(evaluation={"device": "cuda:1"}), places(24, 24))
    assert [share.place.name for share in other] == ["GPU 0", "GPU 1"]
    free = precheck.shares(true_shapes("sd1"), config(), places(24, 24))
    assert [share.place.name for share in free] == ["GPU 0", "GPU 1"], "auto: the one that training leaves alone"
    (shared,) = precheck.shares(true_shapes("sd1"), config(train={"num_processes": 2}), places(24, 24))
    assert (shared.place.name, len(shared.footprints)) == ("GPU 0", 2)
    (only,) = precheck.shares(true_shapes("sd1"), config(), places(24), with_evaluator=False)
    assert [part.program for part in only.footprints] == ["trainer"]


def test_without_a_card_both_share_the_memory() -> None:
    (share,) = precheck.shares(true_shapes("sd1"), config(), places())
    assert share.place.name == "this machine"
    assert len(share.footprints) == 2


def test_only_what_cannot_fit_at_all_is_refused() -> None:
    settings = config(train={"train_batch_size": 16}, data={"path": "pictures", "resolution": 1024})
    precheck.refuse_impossible(true_shapes("sdxl"), settings, places(8))
    with pytest.raises(DeviceError, match="even with one picture at a time") as caught:
        precheck.refuse_impossible(true_shapes("sdxl"), settings, places(5))
    assert "model.quantization=fp8" in caught.value.hint


def test_a_model_that_is_not_here_is_said_and_goes_on() -> None:
    found = precheck.examine(config(model={"path": "nobody/nothing"}))
    assert found is None
    assert precheck.sentences(found, "nobody/nothing") == [
        "memory is not estimated: nobody/nothing is not on this machine yet"
    ]
    assert precheck.record(found) is None


@pytest.mark.parametrize("path", EMBEDDED)
def test_an_embedded_model_is_estimated_on_this_machine_and_recorded(path: str) -> None:
    found = precheck.examine(config(model={"path": path}, data={"path": "pictures", "resolution": 128}))
    recorded = precheck.record(found)
    assert recorded
    (place,) = {key: value for key, value in recorded.items() if "trainer" in value}.values()
    assert place["free_mib"] > 0
    model = memory.read_shapes(path)
    assert model
    assert place["trainer"]["denoiser"] == round(4 * model.weights(model.family.denoiser) / hardware.MIB)
    assert precheck.own_resolution(path) == 128


@pytest.mark.parametrize(
    ("path", "unet", "resolution", "own"),
    [
        ("a/sdxl-base", None, 512, 1024),
        ("a/sdxl-base", None, 768, None),
        ("a/stable-diffusion-v1-5", None, 512, None),
        ("a/stable-diffusion-v1-5", None, 256, 512),
        ("here", ("sdxl", {"sample_size": 128}), 512, 1024),
        ("here", ("sd2", {"sample_size": 64}), 384, None),
        ("here", ("sd2", {"sample_size": 96}), 384, 768),
        ("here", ("sdxl", {"sample_size": [128, 128]}), 512, 1024),
        ("here", ("sdxl", {}), 512, 1024),
    ],
)
def test_pictures_far_smaller_than_the_model_was_trained_on_are_said(
    path: str,
    unet: tuple[str, dict[str, Any]] | None,
    resolution: int,
    own: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = unet and memory.ModelShapes(FAMILIES[unet[0]], {}, unet[1])
    monkeypatch.setattr(memory, "read_shapes", lambda _: shapes)
    said = precheck.resolution_notice(config(model={"path": path}, data={"path": "p", "resolution": resolution}))
    assert said == (
        own
        and f"data.resolution is {resolution}, but {path} was trained on pictures of {own} × {own}: "
        f"it learns and draws badly at half that size; set data.resolution={own}"
    )


def test_every_source_of_a_picture_is_counted_and_too_many_are_refused(pairs: Callable[[int], Path]) -> None:
    model = true_shapes("qwen-image-edit-plus")
    settings = config(model={"mixed_precision": "bf16"}, train={"gradient_checkpointing": True, "train_batch_size": 1})
    needed: list[float] = []
    for count in (1, 2, 3):
        data = settings.data.model_copy(update={"path": str(pairs(count)), "sources": "files"})
        found = memory.most_sources(settings.model_copy(update={"data": data}))
        assert found == count
        counted = replace(model, num_sources=found)
        needed.append(memory.trainer_footprint(counted, settings, "bf16", on_gpu=True).bytes)
    assert needed[0] < needed[1] < needed[2]
    assert needed[2] - needed[1] == pytest.approx(needed[1] - needed[0])
    card = places((needed[0] + needed[1]) / 2 / GIB)
    precheck.refuse_impossible(replace(model, num_sources=1), settings, card)
    with pytest.raises(DeviceError, match="even with one picture at a time and checkpointing"):
        precheck.refuse_impossible(replace(model, num_sources=3), settings, card)


def test_sources_of_prompts_are_counted_and_none_where_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("make it red --ci a.png --ci b.png", "utf-8")
    assert memory.most_sources(config(evaluation={"prompts": str(tmp_path / "mine.txt")})) == 2
    assert memory.most_sources(config(evaluation={"prompts": str(tmp_path / "gone.txt")})) == 0
    assert memory.most_sources(config(data={"path": str(tmp_path / "gone"), "sources": "files"})) == 0
