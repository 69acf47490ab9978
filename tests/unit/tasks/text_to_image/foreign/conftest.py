"""LoRA files as other programs write them: of one module, a few bytes each."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import foreign
from tasks.text_to_image.foreign.command import folder_run
from tasks.text_to_image.foreign.command.settings import Options
from tasks.text_to_image.foreign.files.found import Search
from tasks.text_to_image.foreign.files.numbering import Numbered, number
from tasks.text_to_image.foreign.snapshots import taking
from tests.conftest import paper_model

MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


def write(path: Path, value: float = 1.0, rank: int = 2, module: str = MODULE, **metadata: str) -> Path:
    """A file of kohya's form, last changed an hour ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{module}.lora_down.weight": np.full((rank, 32), value, np.float32),
        f"{module}.lora_up.weight": np.full((32, rank), value, np.float32),
        f"{module}.alpha": np.array(rank, np.float32),
    }
    save_file(tensors, path, metadata)
    return age(path)


def age(path: Path, seconds: float = 3600) -> Path:
    """Let it look as if it were written so long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return path


def numbered(folder: Path, pattern: str = "*") -> Numbered:
    return number(Search(folder, pattern).look().loras, taking.same)


def steps(folder: Path) -> dict[int, str]:
    return {step: one.label for step, one in numbered(folder).loras.items()}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder of kohya's."""
    for epoch in (1, 2):
        write(tmp_path / "out" / "dress" / f"dress-{epoch:06d}.safetensors", ss_steps=str(50 * epoch), value=epoch)
    write(tmp_path / "out" / "dress" / "dress.safetensors", ss_steps="150", ss_epoch="3")
    return tmp_path / "out" / "dress"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    model = paper_model(tmp_path / "base")
    weights = {"mid_block.attentions.0.proj_in.weight": np.ones((32, 32), np.float32)}
    weights["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"] = np.ones((32, 32), np.float32)
    save_file(weights, model / "unet" / "diffusion_pytorch_model.safetensors")
    return model


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return of_pictures(tmp_path / "real", 4, 1)


def of_pictures(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir()
    noise = np.random.default_rng(seed)
    for index in range(count):
        Image.fromarray(noise.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"dress {index}", encoding="utf-8")
    return folder


def opened(folder: Path, tmp_path: Path, *, follows: bool = False, **options: object) -> tuple[RunDir, list[str]]:
    said: list[str] = []
    given = {"base": "", "output": tmp_path / "runs", "overrides": ("data.resolution=32",), **options}
    run, _ = folder_run.open_folder(folder, Options(**given), said.append, follows=follows)  # type: ignore[arg-type]
    return run, said


def followed(folder: Path, tmp_path: Path, **options: object) -> tuple[RunDir, list[str]]:
    return opened(folder, tmp_path, follows=True, **options)


def shown(folder: Path, tmp_path: Path, **options: object) -> list[str]:
    """What `--list` says."""
    said: list[str] = []
    given = {"base": "", "output": tmp_path / "runs", "overrides": ("data.resolution=32",), **options}
    foreign.show_folder(folder, said.append, **given)
    return said
