"""Everything that can be wrong with a snapshot's file is found before it comes near the pipeline, and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shared.config.schema import LoraConfig
from shared.errors import DarkroomError, ModelError, RunFolderError
from shared.files.publication import read_manifest
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.unit.tasks.text_to_image.evaluation.conftest import (
    LORA,
    Blueprint,
    SnapshotMaker,
    Tensors,
    Texts,
    random_weights,
    rewrite,
)

KEY = "lora_adapter_metadata"


def read(folder: Path, model: Model, settings: LoraConfig = LORA) -> snapshot_file.AdapterFile:
    return snapshot_file.read(folder, lora.expected_shapes(model, settings), settings)


def test_a_good_file_is_read_whole(make_snapshot: SnapshotMaker, loaded: Model, blueprint: Blueprint) -> None:
    folder = make_snapshot(seed=3)
    file = read(folder, loaded)
    expected = random_weights(blueprint.weights, 3)
    assert file.weights.keys() == expected.keys()
    assert all(torch.equal(file.weights[key], expected[key]) for key in expected)
    assert file.scales.keys() == {key.partition(".lora_")[0] for key in expected}
    assert set(file.scales.values()) == {2.0}
    manifest = read_manifest(folder)
    assert manifest
    assert file.digest == manifest.digest()


def test_a_file_still_fits_when_the_pipeline_holds_an_adapter(
    make_snapshot: SnapshotMaker, image_generator: object
) -> None:
    from tasks.text_to_image.evaluation.image_generator import ImageGenerator  # noqa: PLC0415

    assert isinstance(image_generator, ImageGenerator)
    first, second = make_snapshot(2, seed=1), make_snapshot(4, seed=2)
    image_generator.swap(read(first, image_generator.model))
    assert read(second, image_generator.model).weights.keys() == read(first, image_generator.model).weights.keys()


def drop_last_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def add_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"trailing")


AFTER_PUBLICATION: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (drop_last_bytes, "the manifest says"),
    "trailing bytes": (add_bytes, "the manifest says"),
    "gone": (Path.unlink, "is missing"),
    "other content": (lambda path: path.write_bytes(bytes(path.stat().st_size)), "sha256"),
}


@pytest.mark.parametrize("fault", AFTER_PUBLICATION)
def test_a_file_changed_after_publication_is_refused(make_snapshot: SnapshotMaker, loaded: Model, fault: str) -> None:
    damage, complaint = AFTER_PUBLICATION[fault]
    folder = make_snapshot()
    damage(folder / LORA_FILE)
    with pytest.raises(RunFolderError, match=complaint) as caught:
        read(folder, loaded)
    assert LORA_FILE in str(caught.value)


def editing(change: Callable[[Tensors, Texts], object]) -> Callable[[Path], object]:
    return lambda path: rewrite(path, change)


def first_key(tensors: Tensors, half: str) -> str:
    return next(key for key in sorted(tensors) if half in key)


def poison(value: float) -> Callable[[Tensors, Texts], object]:
    def change(tensors: Tensors, metadata: Texts) -> None:
        tensors[first_key(tensors, "lora")].view(-1)[3] = value

    return change


def other_rank(tensors: Tensors, metadata: Texts) -> None:
    for key, value in tensors.items():
        tensors[key] = (
            torch.cat([value, value], dim=0) if "lora_A" in key or "down" in key else torch.cat([value] * 2, 1)
        )


def transposed(tensors: Tensors, metadata: Texts) -> None:
    key = first_key(tensors, "attn2.to_k.lora")
    tensors[key] = tensors[key].t().contiguous()


def settings_changed(**changes: object) -> Callable[[Tensors, Texts], object]:
    def change(tensors: Tensors, metadata: Texts) -> None:
        metadata[KEY] = json.dumps({**json.loads(metadata[KEY]), **changes})

    return change


BEFORE_PUBLICATION: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (drop_last_bytes, "cannot be read"),
    "trailing bytes": (add_bytes, "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "no safetensors": (lambda path: path.write_bytes(b"\x80\x04pickle" * 9), "cannot be read"),
    "absent": (Path.unlink, "cannot be read"),
    "NaN": (editing(poison(float("nan"))), "not finite"),
    "infinity": (editing(poison(float("inf"))), "not finite"),
    "other rank": (editing(other_rank), "must be"),
    "transposed": (editing(transposed), "must be"),
    "a key less": (editing(lambda tensors, _: tensors.pop(first_key(tensors, "lora"))), "1 keys missing"),
    "another target": (
        editing(
            lambda tensors, _: tensors.update({"unet.mid_block.resnets.0.conv1.lora_A.weight": torch.zeros(2, 64)})
        ),
        "1 unknown, such as unet.mid_block.resnets.0.conv1",
    ),
    "a text encoder": (
        editing(lambda tensors, _: tensors.update({"text_encoder.layer.lora_A.weight": torch.zeros(2, 4)})),
        "1 unknown, such as text_encoder.layer",
    ),
    "no metadata": (editing(lambda _, metadata: metadata.pop(KEY)), "does not state its rank and alpha"),
    "metadata that is no JSON": (editing(lambda _, metadata: metadata.update({KEY: "{"})), "does not state"),
    "metadata that is a list": (editing(lambda _, metadata: metadata.update({KEY: "[]"})), "does not state"),
    "no alpha": (editing(settings_changed(**{"unet.lora_alpha": None})), "does not state"),
    "another alpha": (editing(settings_changed(**{"unet.lora_alpha": 8})), "has rank 2 and alpha 8, the run 2 and 4"),
    "another rank stated": (editing(settings_changed(**{"unet.r": 4})), "has rank 4 and alpha 4, the run 2 and 4"),
}


@pytest.mark.parametrize("fault", BEFORE_PUBLICATION)
def test_a_file_that_was_published_wrong_is_refused_with_the_reason(
    make_snapshot: SnapshotMaker, loaded: Model, fault: str
) -> None:
    edit, complaint = BEFORE_PUBLICATION[fault]
    with pytest.raises(ModelError, match=complaint) as caught:
        read(make_snapshot(edit=edit), loaded)
    assert "\n" not in str(caught.value)


def test_alpha_may_be_a_fraction(make_snapshot: SnapshotMaker, loaded: Model) -> None:
    folder = make_snapshot(edit=editing(settings_changed(**{"unet.lora_alpha": 0.5})))
    assert set(read(folder, loaded, LoraConfig(rank=2, lora_alpha=0.5)).scales.values()) == {0.25}


def test_a_file_of_other_target_modules_is_refused(make_snapshot: SnapshotMaker, loaded: Model) -> None:
    folder = make_snapshot()
    with pytest.raises(ModelError, match=r"does not match lora.target_modules: 0 keys missing"):
        read(folder, loaded, LORA.model_copy(update={"target_modules": ("to_k",)}))
    with pytest.raises(ModelError, match=r"does not match lora.target_modules: \d+ keys missing, 0 unknown"):
        read(folder, loaded, LORA.model_copy(update={"target_modules": (*LORA.target_modules, "conv1")}))


def test_a_file_whose_convolutions_have_another_alpha_is_refused(make_snapshot: SnapshotMaker, loaded: Model) -> None:
    pattern = settings_changed(**{"unet.alpha_pattern": {"to_k": 8}})
    with pytest.raises(ModelError, match=r"has rank 2 and alpha 8, the run 2 and 4, for unet\..*\.to_k"):
        read(make_snapshot(edit=editing(pattern)), loaded)


def test_a_folder_without_manifest_is_refused(tmp_path: Path, loaded: Model) -> None:
    with pytest.raises(DarkroomError, match=r"has no manifest\.json"):
        read(tmp_path, loaded)
