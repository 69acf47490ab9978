"""The resident pipeline: what it draws depends on the snapshot swapped in, and on nothing that was in it before."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import _dynamo as dynamo

from shared.config.schema import LoraConfig
from shared.data.prompt_file import OwnPrompt
from shared.errors import ModelError
from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, Job, jobs
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tests.unit.tasks.text_to_image.evaluation.conftest import (
    LORA,
    SETTINGS,
    SnapshotMaker,
    Tensors,
    Texts,
    random_weights,
    rewrite,
)

PROMPTS = {"dress": "a red dress", "coat": "a blue coat"}
SIZES = {"dress": (32, 32), "coat": (32, 32)}
Pictures = list[bytes]


def draw(image_generator: ImageGenerator) -> Pictures:
    batches = image_generator.draw(jobs(PROMPTS, SIZES, SETTINGS))
    return [picture.tobytes() for batch in batches for picture in batch]


def swap(image_generator: ImageGenerator, folder: Path) -> None:
    image_generator.swap(snapshot_file.read(folder, image_generator.expected, LORA))


def weights_checksum(image_generator: ImageGenerator) -> str:
    """Over every weight of the base model, wherever an adapter has wrapped its layer."""
    digest = hashlib.sha256()
    for part in (image_generator.pipeline.unet, image_generator.pipeline.vae, image_generator.pipeline.text_encoder):
        state = {
            key.replace(".base_layer", ""): value for key, value in part.state_dict().items() if "lora_" not in key
        }
        for key in sorted(state):
            digest.update(key.encode())
            digest.update(state[key].numpy().tobytes())
    return digest.hexdigest()


def test_a_file_of_an_earlier_version_with_dropout_draws_without_it(
    image_generator: ImageGenerator, make_snapshot: SnapshotMaker
) -> None:
    def with_dropout(tensors: Tensors, metadata: Texts) -> None:
        settings = json.loads(metadata["lora_adapter_metadata"])
        metadata["lora_adapter_metadata"] = json.dumps(settings | {"unet.lora_dropout": 0.5})

    swap(image_generator, make_snapshot(edit=lambda path: rewrite(path, with_dropout)))
    pictures = draw(image_generator)
    assert draw(image_generator) == pictures
    swap(image_generator, make_snapshot(step=4))
    assert draw(image_generator) == pictures


def test_jobs_are_prompts_times_seeds_in_fixed_batches() -> None:
    assert jobs(PROMPTS, SIZES, SETTINGS) == [
        Job("dress", "a red dress", 1234, (32, 32), 0),
        Job("dress", "a red dress", 1235, (32, 32), 0),
        Job("coat", "a blue coat", 1236, (32, 32), 0),
        Job("coat", "a blue coat", 1237, (32, 32), 1),
    ]


def test_jobs_of_one_size_share_a_batch_and_batches_follow_one_another() -> None:
    prompts = {name: name for name in ("tall", "wide", "also tall", "again wide")}
    sizes = {"tall": (24, 40), "wide": (40, 24), "also tall": (24, 40), "again wide": (40, 24)}
    found = jobs(prompts, sizes, SETTINGS)
    assert [(job.prompt_id, job.seed, job.batch) for job in found] == [
        ("tall", 1234, 0),
        ("tall", 1235, 0),
        ("also tall", 1238, 0),
        ("wide", 1236, 1),
        ("wide", 1237, 1),
        ("again wide", 1240, 1),
        ("also tall", 1239, 2),
        ("again wide", 1241, 3),
    ]
    assert all(job.size == sizes[job.prompt_id] for job in found)


def test_prompts_with_options_of_their_own_are_drawn_apart_and_from_their_own_seed() -> None:
    own = {"coat": OwnPrompt(1, "a blue coat", "dark", num_inference_steps=3, seed=7)}
    found = jobs(PROMPTS, SIZES, SETTINGS, own)
    assert [(job.prompt_id, job.seed, job.batch) for job in found] == [
        ("dress", 1234, 0),
        ("dress", 1235, 0),
        ("coat", 7, 1),
        ("coat", 8, 1),
    ]
    assert [job.seed for job in jobs(PROMPTS, SIZES, SETTINGS, own, num_before=2)][2:] == [9, 10]
    assert found[2].own.given() == {"negative_prompt": "dark", "num_inference_steps": 3}


def test_the_options_of_a_prompt_change_its_picture(image_generator: ImageGenerator) -> None:
    image_generator.swap(None)

    def drawn(**options: Any) -> bytes:
        own = {"dress": OwnPrompt(1, "a red dress", seed=5, **options)}
        batches = image_generator.draw(jobs({"dress": "a red dress"}, SIZES, SETTINGS, own))
        return next(batches)[0].tobytes()

    pictures = [
        drawn(),
        drawn(negative_prompt="a blue coat"),
        drawn(num_inference_steps=3),
        drawn(guidance_scale=2.5),
    ]
    assert len(set(pictures)) == 4
    assert drawn() == pictures[0]


def test_pictures_are_drawn_in_the_size_of_their_job(image_generator: ImageGenerator) -> None:
    image_generator.swap(None)
    wanted = jobs(PROMPTS, {"dress": (24, 40), "coat": (32, 32)}, SETTINGS)
    drawn = [picture for batch in image_generator.draw(wanted) for picture in batch]
    assert [picture.size for picture in drawn] == [job.size for job in wanted]


def test_no_snapshot_leaks_into_the_next(image_generator: ImageGenerator, make_snapshot: SnapshotMaker) -> None:
    a, b = make_snapshot(2, seed=1), make_snapshot(4, seed=2)
    swap(image_generator, a)
    first = draw(image_generator)
    swap(image_generator, b)
    other = draw(image_generator)
    swap(image_generator, a)
    again = draw(image_generator)
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_the_base_model_comes_back_bit_for_bit(image_generator: ImageGenerator, make_snapshot: SnapshotMaker) -> None:
    checksum = weights_checksum(image_generator)
    image_generator.swap(None)
    before = draw(image_generator)
    for step in (2, 4):
        swap(image_generator, make_snapshot(step, seed=step))
        assert draw(image_generator) != before
        assert weights_checksum(image_generator) == checksum
    image_generator.swap(None)
    assert draw(image_generator) == before
    assert weights_checksum(image_generator) == checksum


def test_a_fresh_lora_draws_what_the_base_model_draws(
    image_generator: ImageGenerator, make_snapshot: SnapshotMaker
) -> None:
    image_generator.swap(None)
    before = draw(image_generator)
    swap(image_generator, make_snapshot(seed=None))
    assert draw(image_generator) == before


def test_hot_swapped_and_freshly_loaded_draw_the_same(
    image_generator: ImageGenerator, loaded: Model, make_snapshot: SnapshotMaker
) -> None:
    a, b = make_snapshot(2, seed=1), make_snapshot(4, seed=2)
    swap(image_generator, a)
    swap(image_generator, b)
    fresh = ImageGenerator(copy.deepcopy(loaded), LORA, SETTINGS, resolution=32)
    swap(fresh, b)
    assert draw(image_generator) == draw(fresh)


def test_convolutions_of_their_own_rank_and_alpha_are_hot_swapped(loaded: Model, tmp_path: Path) -> None:
    settings = LoraConfig.model_validate(
        {"target_modules": ["to_q", "conv1"], "rank": 2, "conv_rank": 1, "conv_alpha": 3}
    )
    attached = copy.deepcopy(loaded)
    parts = lora.adapted(attached, settings)
    lora.attach(parts, settings, attached.family)
    image_generator = ImageGenerator(copy.deepcopy(loaded), settings, SETTINGS, resolution=32)
    files: list[snapshot_file.AdapterFile] = []
    for step in (2, 4):
        weights = random_weights(lora.state(parts), step)
        manifest = Manifest(kind="snapshot", run_id="r", step=step)
        folder = tmp_path / f"step-{step}"
        write = functools.partial(lora.write, weights=weights, adapter_metadata=lora.metadata(parts))
        publish(tmp_path / ".staging", folder, manifest, write)
        files.append(snapshot_file.read(folder, image_generator.expected, settings))
    assert set(files[0].scales.values()) == {8.0, 3.0}
    image_generator.swap(files[0])
    image_generator._unload = None  # type: ignore[assignment, method-assign]  # a swap that is not in place fails
    image_generator.swap(files[1])
    lora.restore(parts, files[1].weights)
    held, expected = (part.state_dict() for part in (image_generator.pipeline.unet, attached.denoiser))
    assert all(torch.equal(held[key], expected[key]) for key in expected)
    assert scalings(image_generator.pipeline.unet) == scalings(attached.denoiser)


def scalings(part: torch.nn.Module) -> dict[str, float]:
    return {name: module.scaling["default"] for name, module in part.named_modules() if hasattr(module, "scaling")}


def test_the_snapshots_scale_counts(image_generator: ImageGenerator, make_snapshot: SnapshotMaker) -> None:
    swap(image_generator, make_snapshot(seed=1))
    drawn = draw(image_generator)
    for module in image_generator.pipeline.unet.modules():
        if isinstance(getattr(module, "scaling", None), dict):
            module.scaling["default"] = 1.0
    assert draw(image_generator) != drawn


def test_a_failing_hot_swap_falls_back_to_a_fresh_load(
    image_generator: ImageGenerator,
    make_snapshot: SnapshotMaker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    a, b = make_snapshot(2, seed=1), make_snapshot(4, seed=2)
    swap(image_generator, b)
    expected = draw(image_generator)
    swap(image_generator, a)
    real = image_generator.pipeline.load_lora_weights

    def load(*arguments: object, hotswap: bool, **options: object) -> None:
        if hotswap:
            raise RuntimeError("hot-swapping the adapter did not succeed")
        real(*arguments, hotswap=hotswap, **options)

    monkeypatch.setattr(image_generator.pipeline, "load_lora_weights", load)
    with caplog.at_level(logging.WARNING):
        swap(image_generator, b)
    assert "hot-swap of step-00000004 failed" in caplog.text
    assert draw(image_generator) == expected


def test_a_swap_that_did_not_take_is_found_out(
    image_generator: ImageGenerator, make_snapshot: SnapshotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap(image_generator, make_snapshot(2, seed=1))
    monkeypatch.setattr(image_generator.pipeline, "load_lora_weights", lambda *_, **__: None)
    with pytest.raises(ModelError, match=r"does not hold .* of step-00000004"):
        swap(image_generator, make_snapshot(4, seed=2))


def test_a_wrong_scale_after_the_swap_is_found_out(
    image_generator: ImageGenerator, make_snapshot: SnapshotMaker
) -> None:
    file = snapshot_file.read(make_snapshot(), image_generator.expected, LORA)
    wrong = snapshot_file.AdapterFile(file.folder, file.digest, file.weights, dict.fromkeys(file.scales, 1.0))
    with pytest.raises(ModelError, match=r"applies scale 2\.0 to unet\..*, the file says 1\.0"):
        image_generator.swap(wrong)


def test_after_a_failed_swap_the_next_good_one_draws_true(
    image_generator: ImageGenerator, make_snapshot: SnapshotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = make_snapshot(2, seed=1), make_snapshot(4, seed=2)
    swap(image_generator, a)
    expected = draw(image_generator)
    with monkeypatch.context() as patch:
        patch.setattr(image_generator.pipeline, "load_lora_weights", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            swap(image_generator, b)
    swap(image_generator, a)
    assert draw(image_generator) == expected


def test_a_first_load_that_failed_halfway_does_not_poison_the_next(
    image_generator: ImageGenerator, make_snapshot: SnapshotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = make_snapshot(2, seed=1), make_snapshot(4, seed=2)
    real = image_generator.pipeline.load_lora_weights

    def load(*arguments: object, **options: object) -> None:
        real(*arguments, **options)
        raise RuntimeError("out of memory after half of it")

    with monkeypatch.context() as patch:
        patch.setattr(image_generator.pipeline, "load_lora_weights", load)
        with pytest.raises(RuntimeError, match="out of memory"):
            swap(image_generator, a)
    swap(image_generator, b)
    drawn = draw(image_generator)
    swap(image_generator, a)
    swap(image_generator, b)
    assert draw(image_generator) == drawn


class FullMemory:
    """Stands before a pipeline's call: more pictures at once than `most` are too many. `most` may be raised later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.most, self.sizes = most, list[int]()
        real = StableDiffusionPipeline.__call__

        def call(pipeline: StableDiffusionPipeline, **arguments: object) -> object:
            size = len(arguments["generator"])  # type: ignore[arg-type]
            if size > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            self.sizes.append(size)
            return real(pipeline, **arguments)

        monkeypatch.setattr(StableDiffusionPipeline, "__call__", call)


@pytest.mark.parametrize("most", [2, 1])
def test_out_of_memory_halves_the_batch_and_draws_what_that_batch_size_draws(
    image_generator: ImageGenerator, loaded: Model, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    settings = SETTINGS.model_copy(update={"batch_size": 4})
    wanted = jobs(PROMPTS, SIZES, settings)
    large = ImageGenerator(copy.deepcopy(loaded), LORA, settings, resolution=32)
    memory = FullMemory(monkeypatch, most)
    pieces = [[picture.tobytes() for picture in piece] for piece in large.draw(wanted)]
    assert memory.sizes == [most] * (4 // most)
    assert large.describe()["batch_size"] == most
    small = ImageGenerator(loaded, LORA, settings.model_copy(update={"batch_size": most}), resolution=32)
    expected = [
        [picture.tobytes() for picture in batch]
        for batch in small.draw(jobs(PROMPTS, SIZES, settings.model_copy(update={"batch_size": most})))
    ]
    assert pieces == expected
    memory.most = 4
    list(large.draw(wanted))
    assert memory.sizes[-1] == most, "what did not fit once is not tried again"


def test_one_picture_too_many_offloads_a_gpu_and_is_an_error_after_that(
    image_generator: ImageGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = FullMemory(monkeypatch, most=0)
    with pytest.raises(torch.OutOfMemoryError, match="one picture at a time"):
        draw(image_generator)
    moved = list[torch.device]()

    def offload(pipeline: StableDiffusionPipeline, device: torch.device) -> None:
        moved.append(device)
        memory.most = 1

    monkeypatch.setattr(StableDiffusionPipeline, "enable_model_cpu_offload", offload)
    monkeypatch.setattr(StableDiffusionPipeline, "to", lambda *_: None)
    image_generator.move_to(torch.device("meta"))
    assert len(draw(image_generator)) == 4
    assert moved == [torch.device("meta")]
    assert image_generator.describe()["offload"] is True
    memory.most = 0
    with pytest.raises(torch.OutOfMemoryError, match="one picture at a time"):
        draw(image_generator)
    assert len(moved) == 1


def test_snapshots_are_swapped_and_drawn_true_while_parts_take_turns(
    image_generator: ImageGenerator, loaded: Model, make_snapshot: SnapshotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With accelerate's hooks in place, on the one device there is."""
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.get_device", lambda: "cpu:0")
    a, b = make_snapshot(2, seed=1), make_snapshot(4, seed=2)
    expected = []
    for folder in (a, b, a):
        fresh = ImageGenerator(copy.deepcopy(loaded), LORA, SETTINGS, resolution=32)
        swap(fresh, folder)
        expected.append(draw(fresh))
    image_generator.pipeline.enable_model_cpu_offload(device="cpu:0")
    found = []
    for folder in (a, b, a):
        swap(image_generator, folder)
        found.append(draw(image_generator))
    assert found == expected
    assert found[0] != found[1]
    image_generator.swap(None)
    assert draw(image_generator) not in found


def test_a_model_that_does_not_fit_as_a_whole_is_offloaded_from_the_start(
    image_generator: ImageGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    moved = list[torch.device]()
    monkeypatch.setattr(StableDiffusionPipeline, "to", full)
    monkeypatch.setattr(
        StableDiffusionPipeline, "enable_model_cpu_offload", lambda pipeline, device: moved.append(device)
    )
    image_generator.move_to(torch.device("meta"))
    assert moved == [torch.device("meta")]
    assert image_generator.describe()["offload"] is True


def test_a_picture_does_not_depend_on_torchs_global_generator(image_generator: ImageGenerator) -> None:
    torch.manual_seed(1)
    first = draw(image_generator)
    torch.manual_seed(2)
    assert draw(image_generator) == first


@pytest.mark.parametrize(("value", "complaint"), [(float("nan"), "is not finite"), (0.0, "is all black")])
def test_a_picture_that_is_none_is_refused_by_prompt_and_seed(
    image_generator: ImageGenerator, monkeypatch: pytest.MonkeyPatch, value: float, complaint: str
) -> None:
    pictures_BCHW = torch.full((3, 3, 32, 32), value)
    monkeypatch.setattr(StableDiffusionPipeline, "__call__", lambda self, **_: (pictures_BCHW,))
    with pytest.raises(ModelError, match=f"picture of 'dress', seed 1234, {complaint}"):
        draw(image_generator)


def test_a_result_can_say_how_its_pictures_were_made(image_generator: ImageGenerator) -> None:
    described = image_generator.describe()
    assert described["dtype"] == "float32"
    assert described["device"] == "cpu"
    assert described["scheduler"] == "DDIMScheduler"
    assert described["num_inference_steps"] == 2
    assert described["batch_size"] == 3
    assert described["resolution"] == 32


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_once_for_all_snapshots(
    image_generator: ImageGenerator,
    loaded: Model,
    make_snapshot: SnapshotMaker,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
) -> None:
    """Graphs are traced and guarded in the same way by either backend; `eager` generates no code from them."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    dynamo.reset()
    settings = SETTINGS.model_copy(update={"torch_compile": True, "batch_size": 4})
    compiled = ImageGenerator(copy.deepcopy(loaded), LORA, settings, resolution=32)
    a, b = make_snapshot(2, seed=1), make_snapshot(4, seed=2)
    compiled.swap(None)
    base_model = draw(compiled)
    swap(compiled, a)
    first = draw(compiled)
    with dynamo.config.patch(error_on_recompile=True):
        swap(compiled, b)
        other = draw(compiled)
        swap(compiled, a)
        assert draw(compiled) == first
    assert not {*base_model, *first} & set(other)
    compiled.swap(None)
    assert draw(compiled) == base_model
    swap(image_generator, b)
    for one, same in zip(draw(image_generator), other, strict=True):
        assert np.abs(np.subtract(np.frombuffer(one, np.uint8), np.frombuffer(same, np.uint8), dtype=int)).max() <= 2
