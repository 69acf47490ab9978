"""Garments to score, and encoders with random weights in the real formats."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from pocket import tokenizer as pocket_tokenizer
from pocket.lessons.garments import Garment, render

TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="session")
def garments() -> list[Image.Image]:
    """Four that differ in kind, colour and pattern."""
    shown = [
        ("dress", "red", "striped"),
        ("coat", "blue", "plain"),
        ("vest", "brown", "dotted"),
        ("shorts", "green", "plain"),
    ]
    return [render(Garment(*what), seed)[0] for seed, what in enumerate(shown)]


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIPModel with its tokenizer and processor, 32 × 32 pictures, random weights."""
    folder = tmp_path_factory.mktemp("encoders") / "clip"
    tokenizer = pocket_tokenizer.train()
    text = {
        **TOWER,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**TOWER, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    edges = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessorPil(**edges).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dinov2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Dinov2Model with its processor, 28 × 28 pictures, random weights."""
    folder = tmp_path_factory.mktemp("encoders") / "dinov2"
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SiglipModel with its processor, 32 × 32 pictures, random weights; the pocket's tokenizer."""
    folder = tmp_path_factory.mktemp("encoders") / "siglip"
    tokenizer = pocket_tokenizer.train()
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": tokenizer.model_max_length}
    vision = {**TOWER, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
