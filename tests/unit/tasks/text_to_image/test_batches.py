"""Micro-batches: of one bucket each, varied by position alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.data import dataset
from shared.data.buckets import Framing
from shared.errors import ConfigError
from shared.files.publication import sha256
from tasks import data_order
from tasks.text_to_image.data import batches
from tasks.text_to_image.data.batches import Batches, Example
from tasks.text_to_image.data.cache import Cache
from tests import icc
from tests.unit.tasks.text_to_image.test_cache import CountingModel

SIZES = [(64, 96)] * 5 + [(80, 64)] * 4 + [(64, 64)] * 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for number, size in enumerate(SIZES):
        Image.effect_noise(size, 90).convert("RGB").save(tmp_path / "data" / f"{number:02d}.png")
        (tmp_path / "data" / f"{number:02d}.txt").write_text(f"garment {number}, red, silk, long")
    return tmp_path / "data"


def config_of(folder: Path, **sections: dict[str, Any]) -> Config:
    return parse_config(
        {
            "run": {"output_dir": str(folder.parent / "runs")},
            "data": {"path": str(folder), "resolution": 64, **sections.get("data", {})},
            "train": {"train_batch_size": 2, "seed": 3, **sections.get("train", {})},
            "lora": sections.get("lora", {}),
        }
    )


def build(config: Config, model: Any = None, world_size: int = 1) -> Batches:
    group_size = config.train.train_batch_size * world_size
    examples = batches.frame(dataset.scan(config), config, multiple=16, at_least=group_size)
    cache = Cache(dataset.cache_dir(config), model or CountingModel(), sha256)
    cache.encode_pictures(cache.prepare_pictures(batches.pictures_of(examples, config)), lambda *_: None)
    cache.encode_captions(cache.prepare_captions(batches.captions_of(examples, config)), lambda *_: None)
    cache.reduce_masks(cache.prepare_masks(example.mask for example in examples if example.mask), lambda *_: None)
    return Batches(examples, cache, config, group_size=group_size)


def test_every_picture_keeps_its_shape(folder: Path) -> None:
    config = config_of(folder)
    examples = batches.frame(dataset.scan(config), config, multiple=16, at_least=2)
    assert Counter(example.framing.target for example in examples) == {(48, 80): 5, (64, 64): 6}
    assert [example.framing.original for example in examples] == SIZES
    words = batches.describe(examples)
    assert words.startswith("11 training pictures, in 2 bucket(s): 48×80 (5), 64×64 (6)")
    assert "enlarged" not in words


def test_without_buckets_every_picture_is_square(folder: Path) -> None:
    config = config_of(folder, data={"buckets": False})
    assert {
        example.framing.target for example in batches.frame(dataset.scan(config), config, multiple=16, at_least=2)
    } == {(64, 64)}
    with pytest.raises(ConfigError, match="multiples of 48"):
        batches.frame(dataset.scan(config), config, multiple=48, at_least=2)


def test_the_cache_is_told_of_pictures_whose_colours_are_converted(folder: Path) -> None:
    Image.open(folder / "00.png").save(folder / "00.png", icc_profile=icc.rgb())
    config = config_of(folder)
    pictures = batches.pictures_of(batches.frame(dataset.scan(config), config, multiple=16, at_least=2), config)
    assert [picture.image.name for picture in pictures if picture.is_converted] == ["00.png"]


def test_enlarged_pictures_and_repeats_are_told(folder: Path) -> None:
    example = Example(dataset.Pair("a", folder / "00.png", "x", repeats=3), Framing((32, 64), (64, 64)))
    words = batches.describe([example])
    assert "1 training pictures, 3 with repeats" in words
    assert "1 are smaller than that and enlarged, up to 2.0×" in words


def test_a_batch_is_of_one_shape_and_the_same_however_it_is_split(folder: Path) -> None:
    whole, other = build(config_of(folder)), build(config_of(folder))
    assert whole.epoch_length == 11
    shapes = set()
    for start in range(0, 40, 2):
        batch = whole.at(range(start, start + 2))
        shapes.add(tuple(batch.latents.shape[1:]))
        assert batch.latents.shape[0] == batch.time_ids.shape[0] == len(batch.generators) == 2
        halves = [other.at([position]) for position in range(start, start + 2)]
        assert torch.equal(torch.cat([half.latents for half in halves]), batch.latents)
        assert isinstance(batch.text, dict)
        states = torch.cat([half.text["encoder_hidden_states"] for half in halves])  # type: ignore[call-overload]
        assert torch.equal(states, batch.text["encoder_hidden_states"])
    assert shapes == {(3, 10, 6), (3, 8, 8)}


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_together_see_what_one_sees(folder: Path, world_size: int) -> None:
    alone = build(config_of(folder, train={"train_batch_size": 6}))
    share = build(config_of(folder, train={"train_batch_size": 6 // world_size}), world_size=world_size)
    for step in range(1, 5):
        parts = [
            share.at(
                data_order.positions(step, 0, rank, batch_size=6 // world_size, micro_batches=1, world_size=world_size)
            ).latents
            for rank in range(world_size)
        ]
        assert torch.equal(torch.cat(parts), alone.at(range((step - 1) * 6, step * 6)).latents)


def test_noise_goes_on_from_the_generator_of_the_position(folder: Path) -> None:
    batch = build(config_of(folder)).at([4, 5])
    expected = data_order.generator(3, "example", 5)
    torch.randn(batch.latents.shape[1:], generator=expected)
    assert torch.equal(torch.randn(3, generator=batch.generators[1]), torch.randn(3, generator=expected))


def test_time_ids_are_original_crop_and_target_height_first() -> None:
    assert batches.time_ids(Framing((400, 100), (64, 32))) == [100, 400, 0, 32, 32, 64]


def test_mirroring_is_every_other_picture_by_position(folder: Path) -> None:
    model = CountingModel()
    built = build(config_of(folder, data={"random_flip": True}), model)
    assert len(model.pixels) == 2 * len(SIZES)
    mirrored = [built._is_mirrored(position) for position in range(400)]
    assert 160 < sum(mirrored) < 240
    again = build(config_of(folder, data={"random_flip": True}))
    assert [again._is_mirrored(position) for position in reversed(range(400))] == mirrored[::-1]
    plain = build(config_of(folder))
    for position in range(10):
        turned, straight = built.at([position]).latents, plain.at([position]).latents
        assert torch.equal(turned, straight) != mirrored[position]


def test_dropped_captions_are_empty_ones(folder: Path) -> None:
    model = CountingModel()
    built = build(config_of(folder, data={"caption_dropout": 0.3}), model)
    assert "" in model.captions
    lengths = [float(built.at([position]).text["text_embeds"][0, 0]) for position in range(300)]  # type: ignore[index]
    assert 60 < lengths.count(0.0) < 120
    assert min(length for length in lengths if length) > 10


def test_shuffled_captions_are_encoded_live_and_keep_their_front(folder: Path) -> None:
    model = CountingModel()
    config = config_of(folder, data={"shuffle_tags": True, "caption_dropout": 0.2})
    built = build(config, model)
    assert config.encodes_captions_live
    assert model.captions == []
    captions = [built.at([position]).text[0] for position in range(200)]  # type: ignore[index]
    assert 20 < captions.count("") < 60
    orders = {caption.partition(", ")[2] for caption in captions if caption}
    assert orders == {", ".join(order) for order in permutations}
    assert all(caption.startswith("garment ") for caption in captions if caption)


permutations = [
    ("red", "silk", "long"),
    ("red", "long", "silk"),
    ("silk", "red", "long"),
    ("silk", "long", "red"),
    ("long", "red", "silk"),
    ("long", "silk", "red"),
]


def test_dropped_tags_are_others_each_time_and_the_same_in_a_resumed_run(folder: Path) -> None:
    model = CountingModel()
    config = config_of(folder, data={"tag_dropout": 0.5, "shuffle_tags": True, "trigger_word": "silk"})
    built = build(config, model)
    assert model.captions == [], "encoded live"
    seen = [built.at([position]).text[0] for position in range(200)]  # type: ignore[index]
    assert all(caption.startswith("garment ") and "silk" in caption for caption in seen)
    assert {caption.count(", ") for caption in seen} == {1, 2, 3}
    assert 60 < sum("red" in caption for caption in seen) < 140
    again = build(config)
    assert [again.at([position]).text[0] for position in range(150, 200)] == seen[150:]  # type: ignore[index]


def test_captions_are_encoded_live_when_their_encoders_learn(folder: Path) -> None:
    config = config_of(folder, lora={"text_encoder": True})
    text = build(config).at([0, 1]).text
    assert isinstance(text, list)
    assert all(caption.startswith("garment") for caption in text)


def test_pictures_of_the_class_have_the_weight_of_the_prior(folder: Path) -> None:
    (folder / "reg" / "1_garment").mkdir(parents=True)
    for number in range(3):
        Image.effect_noise((64, 64), 30 + number).convert("RGB").save(folder / "reg" / "1_garment" / f"{number}.png")
        (folder / "reg" / "1_garment" / f"{number}.txt").write_text("any garment")
    built = build(config_of(folder, train={"prior_loss_weight": 0.25}))
    assert (built.num_pictures, built.epoch_length) == (11, 22)
    for position in range(44):
        batch = built.at([position, position])
        of_class = built._examples[built._stream.example_at(position)].pair.is_regularization
        assert batch.loss_weights is None if not of_class else batch.loss_weights.tolist() == [0.25, 0.25]
    assert build(config_of(folder)).at([0, 1]).loss_weights is None
    words = batches.describe(built._examples)
    assert words.startswith("11 training pictures, and 3 for regularisation, of which each pass takes 11 as well, in ")


def test_masks_follow_framing_and_mirroring(folder: Path) -> None:
    for number in (5, 6):
        mask = torch.zeros(64, 80)
        mask[:, :40] = 255
        Image.fromarray(mask.to(torch.uint8).numpy()).save(folder / f"{number:02d}.mask.png")
    built = build(config_of(folder, data={"random_flip": True, "buckets": False}))
    seen: Counter[str] = Counter()
    for position in range(80):
        found = built.at([position]).masks
        name = built._examples[built._stream.example_at(position)].pair.id
        if name not in ("05", "06"):
            assert found is None
            continue
        assert found is not None
        assert found.shape == (1, 8, 8)
        left, right = found[0, :, :3], found[0, :, -3:]
        mirrored = built._is_mirrored(position)
        assert torch.equal(right if mirrored else left, torch.ones(8, 3))
        assert torch.equal(left if mirrored else right, torch.zeros(8, 3))
        seen[str(mirrored)] += 1
    assert min(seen["True"], seen["False"]) > 2
    assert "; 2 have masks" in batches.describe(built._examples)
    assert build(config_of(folder, data={"masks": "off"})).at([0, 1]).masks is None


def test_a_picture_without_a_mask_counts_everywhere_beside_one_that_has(folder: Path) -> None:
    Image.new("L", (80, 64), 51).save(folder / "05.mask.png")
    built = build(config_of(folder, data={"buckets": False}))
    positions = {built._examples[built._stream.example_at(position)].pair.id: position for position in range(11)}
    found = built.at([positions["05"], positions["07"]]).masks
    assert found is not None
    assert torch.allclose(found[0], torch.tensor(0.2))
    assert torch.equal(found[1], torch.ones(8, 8))


def test_settings_that_change_nothing_because_no_picture_is_meant_are_told(folder: Path) -> None:
    assert build(config_of(folder)).notices == ()
    asked = config_of(folder, data={"masks": "alpha"}, train={"prior_loss_weight": 0.5})
    told = build(asked).notices
    assert ["train.prior_loss_weight" in told[0], "no picture has a mask" in told[1]] == [True, True]
    Image.new("RGBA", (64, 64), (9, 9, 9, 128)).save(folder / "09.png")
    (folder / "reg").mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "reg" / "a.png")
    (folder / "reg" / "a.txt").write_text("any garment")
    assert build(asked).notices == ()
