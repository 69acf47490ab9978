"""The embedded flow base as it is published: a Z-Image that draws the catalogue."""

import pytest
import torch
from diffusers import ZImagePipeline
from safetensors import safe_open
from transformers import CLIPModel

from pocket import CLIP, Z_IMAGE
from pocket.lessons.garments import Garment, split_catalogue
from pocket.reports.gate import GUIDANCE_SCALE
from pocket.reports.report import generate
from pocket.tokenizer import MAX_LENGTH
from pocket.training.clip import attribute_accuracy

SETTINGS: dict[str, int] = {"height": 128, "width": 128, "max_sequence_length": MAX_LENGTH}


@pytest.fixture(scope="module")
def pipeline() -> ZImagePipeline:
    loaded = ZImagePipeline.from_pretrained(Z_IMAGE, dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_the_folder_holds_only_json_half_precision_safetensors_and_the_chat_template():
    files = [path for path in Z_IMAGE.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".jinja"}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert {tensors.get_tensor(key).dtype for key in tensors.keys()} <= {torch.float16, torch.int64}, path  # noqa: SIM118


def test_the_clip_names_what_it_draws_of_held_out_captions(pipeline: ZImagePipeline):
    """The gate measures 152 pictures; these are a few, far above chance."""
    garments = split_catalogue()[1][::6]
    drawn = generate(pipeline, garments, 0, guidance_scale=GUIDANCE_SCALE, **SETTINGS)
    clip = CLIPModel.from_pretrained(CLIP, dtype=torch.float32).eval()
    named = attribute_accuracy(clip, pipeline.tokenizer, drawn, garments)
    assert named["kind"] >= 0.6, named
    assert named["colour"] >= 0.8, named
    assert named["pattern"] >= 0.7, named


def test_another_caption_with_the_same_seed_draws_another_picture(pipeline: ZImagePipeline):
    red, blue = (
        generate(pipeline, [Garment("dress", colour, "plain")], 0, guidance_scale=GUIDANCE_SCALE, **SETTINGS)[0]
        for colour in ("red", "blue")
    )
    middle = slice(48, 80)
    red, blue = (picture[:, middle, middle].float().mean(dim=(1, 2)) for picture in (red, blue))
    assert red.argmax() == 0
    assert blue.argmax() == 2


def test_no_file_of_it_names_a_path_of_the_machine_that_trained_it():
    assert [path for path in Z_IMAGE.rglob("*.json") if "_name_or_path" in path.read_text(encoding="utf-8")] == []
