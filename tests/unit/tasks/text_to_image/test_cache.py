"""The cache: encoded once by anyone, never wrong, whole after any interruption."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from shared.data.buckets import Framing
from shared.errors import DataError
from shared.files.publication import sha256
from tasks.text_to_image.data import cache as caching
from tasks.text_to_image.data.cache import Cache, Picture

CAPTIONS = ["a dress", "a coat", ""]


@dataclass
class CountingModel:
    """Encodes by arithmetic, and remembers what it was shown."""

    vae: str = "vae"
    encoders: str = "encoders"
    pixels_per_latent: int = 8
    pixels: list[torch.Tensor] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)

    def vae_digest(self) -> str:
        return self.vae

    def text_digest(self) -> str:
        return self.encoders

    def encode_pixels(self, pixels_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.pixels.append(pixels_BCHW)
        return pixels_BCHW[:, :, ::8, ::8], pixels_BCHW[:, :, ::8, ::8].abs()

    def encode_captions(self, captions: list[str]) -> dict[str, torch.Tensor]:
        self.captions += captions
        lengths = torch.tensor([float(len(caption)) for caption in captions])
        states = lengths[:, None, None].expand(-1, 4, 6).to(torch.float16)
        return {"encoder_hidden_states": states, "text_embeds": lengths[:, None].expand(-1, 5)}

    def collate(self, texts: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {name: torch.stack([text[name] for text in texts]) for name in texts[0]}


@pytest.fixture
def photos(tmp_path: Path) -> list[Picture]:
    found: list[Picture] = []
    for number, size in enumerate([(60, 90), (64, 64), (128, 40)]):
        path = tmp_path / f"{number}.png"
        Image.effect_noise(size, 90).convert("RGB").save(path)
        found.append(Picture(path, Framing(size, (32, 48))))
    return found


def fill(folder: Path, model: Any, photos: list[Picture], captions: list[str] | None = None) -> Cache:
    made = Cache(folder, model, sha256)
    made.encode_pictures(made.prepare_pictures(photos), lambda *_: None)
    made.encode_captions(made.prepare_captions(captions or CAPTIONS), lambda *_: None)
    return made


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_what_is_read_is_what_was_encoded(tmp_path: Path, photos: list[Picture]) -> None:
    model = CountingModel()
    cache = fill(tmp_path / "cache", model, photos)
    assert len(model.pixels) == 3
    assert model.captions == CAPTIONS
    for picture, shown in zip(photos, model.pixels, strict=True):
        mean, std = cache.posterior(picture)
        assert shown.shape == (1, 3, 48, 32)
        assert -1 <= shown.min() < -0.3 < 0.3 < shown.max() <= 1
        assert torch.equal(mean, shown[0, :, ::8, ::8])
        assert torch.equal(std, mean.abs())
    text = cache.text("a coat")
    assert text["encoder_hidden_states"].dtype == torch.float16
    assert text["encoder_hidden_states"].shape == (4, 6)
    assert torch.equal(text["text_embeds"], torch.full((5,), 6.0))


def test_a_second_start_encodes_nothing(tmp_path: Path, photos: list[Picture]) -> None:
    fill(tmp_path / "cache", CountingModel(), photos)
    model = CountingModel()
    fill(tmp_path / "cache", model, photos)
    assert (model.pixels, model.captions) == ([], [])


def test_a_mirrored_picture_is_encoded_mirrored(tmp_path: Path, photos: list[Picture]) -> None:
    model = CountingModel()
    mirrored = Picture(photos[0].image, photos[0].framing, mirrored=True)
    cache = fill(tmp_path / "cache", model, [photos[0], mirrored])
    plain, turned = model.pixels
    assert torch.equal(plain.flip(3), turned)
    assert torch.equal(cache.posterior(photos[0])[0], plain[0, :, ::8, ::8])
    assert torch.equal(cache.posterior(mirrored)[0], turned[0, :, ::8, ::8])
    assert not torch.equal(plain, turned)


def test_a_picture_in_other_colours_has_an_entry_of_its_own_and_the_others_keep_theirs(
    tmp_path: Path, photos: list[Picture]
) -> None:
    fill(tmp_path / "cache", CountingModel(), photos)
    before = entries(tmp_path / "cache" / "latents")
    model = CountingModel()
    fill(tmp_path / "cache", model, [replace(photos[0], is_converted=True), *photos[1:]])
    assert len(model.pixels) == 1
    assert set(before) < set(entries(tmp_path / "cache" / "latents"))


@pytest.mark.parametrize("change", ["bytes", "size", "vae", "text encoders", "caption"])
def test_whatever_goes_into_an_entry_makes_another(tmp_path: Path, photos: list[Picture], change: str) -> None:
    fill(tmp_path / "cache", CountingModel(), photos[:1], ["a dress"])
    model = CountingModel(
        vae="other" if change == "vae" else "vae", encoders="other" if change == "text encoders" else "encoders"
    )
    photo = photos[0]
    if change == "bytes":
        Image.new("RGB", (60, 90), "red").save(photo.image)
    if change == "size":
        photo = Picture(photo.image, Framing((60, 90), (48, 48)))
    fill(tmp_path / "cache", model, [photo], ["another dress" if change == "caption" else "a dress"])
    encoded = (len(model.pixels), len(model.captions))
    assert encoded == ((0, 1) if change in ("caption", "text encoders") else (1, 0))


def test_a_moved_or_renamed_picture_is_not_encoded_again(tmp_path: Path, photos: list[Picture]) -> None:
    fill(tmp_path / "cache", CountingModel(), photos)
    photos[0].image.rename(tmp_path / "renamed.png")
    model = CountingModel()
    fill(tmp_path / "cache", model, [Picture(tmp_path / "renamed.png", photos[0].framing)])
    assert model.pixels == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "one bit": flip_a_bit,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "gone": lambda path: path.unlink(),
    "another program's": lambda path: path.write_bytes(b"\x02\0\0\0\0\0\0\0{}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_found_and_built_again(tmp_path: Path, photos: list[Picture], damage: str) -> None:
    fill(tmp_path / "cache", CountingModel(), photos)
    before = {path: path.read_bytes() for path in entries(tmp_path / "cache")}
    for path in before:
        DAMAGES[damage](path)
        model = CountingModel()
        fill(tmp_path / "cache", model, photos)
        assert len(model.pixels) + len(model.captions) == 1
    assert {path: path.read_bytes() for path in entries(tmp_path / "cache")} == before


def test_interrupted_building_goes_on_where_it_was(tmp_path: Path, photos: list[Picture]) -> None:
    interrupted = Cache(tmp_path / "cache", CountingModel(), sha256)  # type: ignore[arg-type]

    def stop(done: int, of: int) -> None:
        assert of == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.encode_pictures(interrupted.prepare_pictures(photos), stop)
    assert len(entries(tmp_path / "cache")) == 2
    model = CountingModel()
    fill(tmp_path / "cache", model, photos)
    assert len(model.pixels) == 1
    assert not list((tmp_path / "cache").rglob("*.tmp"))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_work(tmp_path: Path, photos: list[Picture], processes: int) -> None:
    models = [CountingModel() for _ in range(processes)]
    caches = [Cache(tmp_path / "cache", model, sha256) for model in models]  # type: ignore[arg-type]
    for rank, cache in enumerate(caches):
        cache.encode_pictures(cache.prepare_pictures(photos, (rank, processes)), lambda *_: None)
    assert [len(model.pixels) for model in models] == [len(range(rank, 3, processes)) for rank in range(processes)]
    for cache in caches:
        assert cache.prepare_pictures(photos) == []
        assert cache.posterior(photos[-1])[0].shape == (3, 6, 4)


def test_an_entry_that_vanishes_meanwhile_is_a_curable_error(tmp_path: Path, photos: list[Picture]) -> None:
    cache = fill(tmp_path / "cache", CountingModel(), photos)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(DataError, match="cannot be read") as caught:
        cache.posterior(photos[0])
    assert "run the same command again" in caught.value.hint


def test_pictures_come_decoded_in_order_however_many(tmp_path: Path, photos: list[Picture]) -> None:
    many = [photos[number % 3] for number in range(20)]
    assert [picture for picture, _ in caching._decoded(many)] == many
    assert list(caching._decoded([])) == []
