"""Rendered pictures as tensors, drawn once on all cores and kept in the work folder.

Layout: B pictures, C colour channels, H × W pixels; uint8 on disk, float32 in -1..1 for training.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from pocket.lessons.garments import Garment, render

Picture = tuple[Garment | Callable[[int], Image.Image], int]
"""What to draw, a garment or a module's function such as `textures.render_texture`, and the seed."""


def draw(picture: Picture) -> np.ndarray:
    """One picture, (H, W, 3) uint8."""
    subject, seed = picture
    return np.asarray(render(subject, seed)[0] if isinstance(subject, Garment) else subject(seed))


def draw_all(pictures: Sequence[Picture], cache: Path) -> Tensor:
    """All pictures, (B, 3, H, W) uint8; read from `cache` if it holds as many."""
    if cache.exists() and len(drawn := load_file(cache)["pictures"]) == len(pictures):
        return drawn
    with ProcessPoolExecutor() as pool:
        arrays = list(track(pool.map(draw, pictures, chunksize=32), f"drawing {cache.stem}", len(pictures)))
    drawn = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    cache.parent.mkdir(parents=True, exist_ok=True)
    save_file({"pictures": drawn}, cache)
    return drawn


def draw_now(pictures: Sequence[Picture]) -> Tensor:
    """A few pictures, (B, 3, H, W) uint8, in this process and without cache."""
    return torch.from_numpy(np.stack([draw(picture) for picture in pictures])).permute(0, 3, 1, 2).contiguous()


def draw_garments(garments: Sequence[Garment], num_pictures: int, seed: int) -> list[tuple[Garment, int]]:
    """`num_pictures` pictures that go through `garments` in shuffled rounds; equal seeds give equal lists."""
    rng = np.random.default_rng(seed)
    rounds = [index for _ in range(-(-num_pictures // len(garments))) for index in rng.permutation(len(garments))]
    return [(garments[index], seed + number) for number, index in enumerate(rounds[:num_pictures])]


def to_float(pictures_BCHW: Tensor) -> Tensor:
    """uint8 0..255 -> float32 -1..1."""
    return pictures_BCHW.float() / 127.5 - 1


def to_uint8(pictures_BCHW: Tensor) -> Tensor:
    """float -1..1 -> uint8 0..255."""
    return ((pictures_BCHW.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def save_grid(rows: Sequence[Tensor], path: Path) -> None:
    """Writes rows of uint8 pictures (B, 3, H, W) as one image; rows may differ in length."""
    size, num_columns = rows[0].shape[-1], max(len(row) for row in rows)
    grid = Image.new("RGB", (num_columns * size, len(rows) * size), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            grid.paste(Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()), (x * size, y * size))
    grid.save(path)
