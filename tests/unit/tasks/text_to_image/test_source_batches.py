"""Sources in micro-batches and in what is drawn: in their own buckets, mirrored with their picture, told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.data import buckets, dataset
from shared.files.publication import sha256
from tasks.text_to_image.data import batches
from tasks.text_to_image.data.batches import Batches, Example
from tasks.text_to_image.data.cache import Cache
from tasks.text_to_image.evaluation.image_generator import jobs
from tasks.text_to_image.families import source_latents

SIZES = [(64, 64)] * 4 + [(96, 64)] * 2


@dataclass
class EditingModel:
    """Encodes by arithmetic, and its text encoder sees sources."""

    family: Any = field(default_factory=lambda: SimpleNamespace(reads_sources=True))
    pixels_per_latent: int = 8
    seen: list[tuple[str, tuple[int, int, int]]] = field(default_factory=list[tuple[str, tuple[int, int, int]]])

    def vae_digest(self) -> str:
        return "vae"

    def text_digest(self) -> str:
        return "encoders"

    def encode_pixels(self, pixels_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return pixels_BCHW[:, :, ::8, ::8], torch.zeros_like(pixels_BCHW[:, :, ::8, ::8])

    def encode_captions(
        self, captions: list[str], sources: Sequence[Sequence[Image.Image]] = ()
    ) -> dict[str, torch.Tensor]:
        corner: Any = sources[0][0].getpixel((0, 0))
        self.seen.append((captions[0], corner))
        return {"hidden_states": torch.tensor([[float(sum(corner))]])}

    def collate(self, texts: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {name: torch.stack([text[name] for text in texts]) for name in texts[0]}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Six pairs: two sources of the first four, of their shape and of another; one of each other."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number, size in enumerate(SIZES):
        Image.effect_noise(size, 90).convert("RGB").save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("turn it red")
        left = Image.new("RGB", size, (number, 0, 0))
        left.paste((number, 200, 0), (size[0] // 2, 0, *size))
        left.save(folder / f"{number}.source-1.png")
        if number < 4:
            left.resize((64, 128)).save(folder / f"{number}.source-2.png")
    data = {"path": str(folder), "resolution": 64, "sources": "files", "random_flip": True}
    tree = {"run": {"output_dir": str(tmp_path)}, "data": data, "train": {"train_batch_size": 2}}
    return parse_config(tree)


def framed(config: Config) -> list[Example]:
    sizes = buckets.sizes(64, 16)
    return batches.frame(dataset.scan(config), config, multiple=16, at_least=2, source_sizes=sizes)


def test_pictures_with_unlike_sources_are_never_in_one_batch_and_sources_are_mirrored_with_them(config: Config) -> None:
    examples, model = framed(config), EditingModel()
    assert {example.bucket for example in examples} == {
        ((64, 64), (64, 64), (48, 80)),
        ((80, 48), (80, 48)),
    }
    cache = Cache(config.run.output_dir / "cache", model, sha256)  # pyright: ignore[reportArgumentType]
    cache.encode_pictures(cache.prepare_pictures(batches.pictures_of(examples, config)), lambda *_: None)
    captions = batches.captions_of(examples, config, cache.beside)
    cache.encode_captions(cache.prepare_captions(captions), lambda *_: None)
    assert len(model.seen) == 2 * len(SIZES), "one instruction for each source, and for each mirrored one"
    assert cache.prepare_captions(captions) == []
    built = Batches(examples, cache, config, group_size=2)
    mirrored = set[bool]()
    for position in range(0, 48, 2):
        batch = built.at([position, position + 1])
        assert len({tuple(source.shape[1:]) for source in batch.sources[:1]}) == 1
        assert not isinstance(batch.text, list)
        for index in range(2):
            edited_CHW = batch.sources[0][index]
            corner = (edited_CHW[:, 0, 0] + 1) * 127.5
            mirrored.add(bool(corner[1] > 100))
            assert batch.text["hidden_states"][index] == pytest.approx(float(corner.sum()), abs=0.5)
    assert mirrored == {True, False}


def test_latents_of_sources_are_read_back_in_order() -> None:
    latents = [torch.full((1, 1), float(number)) for number in range(12)]
    assert source_latents.of({"other": torch.zeros(1), **source_latents.named(latents)}) == latents
    assert source_latents.of({"other": torch.zeros(1)}) == []


def test_a_batch_that_is_drawn_has_the_sources_of_one_prompt() -> None:
    settings = parse_config({"data": {"path": "p"}, "evaluation": {"num_seeds": 2, "batch_size": 4}}).evaluation
    prompts, sizes = {"a": "turn it red", "b": "turn it red"}, {"a": (64, 64), "b": (64, 64)}
    sources = {name: (Image.new("RGB", (64, 64), colour),) for name, colour in (("a", "blue"), ("b", "lime"))}
    drawn = jobs(prompts, sizes, settings, sources=sources)
    assert [(job.prompt_id, job.batch) for job in drawn] == [("a", 0), ("a", 0), ("b", 1), ("b", 1)]
    assert all(job.sources == sources[job.prompt_id] for job in drawn)
    alone = jobs(prompts, sizes, settings)
    assert {job.batch for job in alone} == {0}
    assert [job.seed for job in alone] == [job.seed for job in drawn]
