"""The finished models as the folders that diffusers and transformers load: fp16 safetensors, JSON, a chat template.

A folder is written under a temporary name and then renamed over the old one, so it is always complete.
"""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel, ZImagePipeline
from transformers import CLIPModel, CLIPTokenizer

from pocket.training.clip import image_processor
from shared.run_folder.run_dir import RunDir


def of_run(run: RunDir) -> StableDiffusionPipeline:
    """The base model of a run that trains from scratch, with the denoiser of its best snapshot, or else its newest."""
    best = run.read_best()
    step = best.step if best else max(run.published_snapshots())
    unet: Any = UNet2DConditionModel.from_pretrained(run.snapshot(step), torch_dtype=torch.float32)
    pipeline = StableDiffusionPipeline.from_pretrained(
        run.read_config().model.path, unet=unet, safety_checker=None, feature_extractor=None, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def publish_stable_diffusion(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Writes the pipeline in fp16; the given one keeps its precision."""
    parts: dict[str, Any] = {
        name: deepcopy(part).half() if isinstance(part, torch.nn.Module) else part
        for name, part in pipeline.components.items()
    }
    staged = _staging(folder)
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(staged)
    _replace(staged, folder)


def publish_vae(vae: AutoencoderKL, folder: Path) -> None:
    """Writes a VAE by itself in fp16; the given one keeps its precision."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = _staging(folder)
    deepcopy(vae).half().save_pretrained(staged)
    _replace(staged, folder)


def publish_z_image(pipeline: ZImagePipeline, folder: Path) -> None:
    """Writes the pipeline in fp16; the given one keeps its precision."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Any] = {
        name: deepcopy(part).half() if isinstance(part, torch.nn.Module) else part
        for name, part in pipeline.components.items()
    }
    staged = _staging(folder)
    ZImagePipeline(**parts).save_pretrained(staged)
    _replace(staged, folder)


def publish_clip(clip: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes the CLIP in fp16 with its tokenizer and image processor."""
    staged = _staging(folder)
    for part in (deepcopy(clip).half(), tokenizer, image_processor()):
        part.save_pretrained(staged)
    _replace(staged, folder)


def _staging(folder: Path) -> Path:
    staged = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(staged, ignore_errors=True)
    return staged


def _replace(staged: Path, folder: Path) -> None:
    """Renames `staged` to `folder`, without paths of this machine, readable by all (safetensors leaves 0600)."""
    for path in staged.rglob("config.json"):
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings.pop("_name_or_path", None):
            path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    for path in staged.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    retired = _staging(folder.with_name(f"{folder.name}.retired"))
    if folder.exists():
        folder.rename(retired)
    staged.rename(folder)
    shutil.rmtree(retired, ignore_errors=True)
