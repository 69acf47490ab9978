"""`python benchmarks/vae_activations.py`: what the VAEs of models hold besides weights while they encode and decode.

The true VAEs on fake tensors, as in `activations.py`. In bf16, per pixel and channel of the first level, as
`Family.vae_channels` says it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.activations import materialise, peak_of
from tasks.text_to_image.families.known import FAMILIES
from tests.tiny_flow import MINIATURES

PIXELS = 1024
DTYPE = torch.bfloat16


def measure(name: str) -> str:
    """The row of a family."""
    family = FAMILIES[name]
    with torch.device("meta"):
        vae: Any = MINIATURES[name].true_parts()["vae"].to(DTYPE)
    channels, factor = family.vae_channels(vae.config)[0], 2 ** (len(family.vae_channels(vae.config)) - 1)
    depth = int(vae.config.get("z_dim") or vae.config["latent_channels"])
    frame = (1,) if "z_dim" in vae.config else ()  # a picture is a video of one frame
    with FakeTensorMode(), torch.no_grad():
        materialise(vae)
        pixels = torch.empty(1, vae.config.get("in_channels", 3), *frame, PIXELS, PIXELS, dtype=DTYPE)
        latents = torch.empty(1, depth, *frame, PIXELS // factor, PIXELS // factor, dtype=DTYPE)
        peaks = [peak_of(vae, use, half=False) for use in (lambda: vae.encode(pixels), lambda: vae.decode(latents))]
    cells = [f"{peak / PIXELS**2 / channels:.1f}" for peak in peaks]
    return f"| {family.title} | {channels} | {' | '.join(cells)} | {peaks[1] / 2**30:.1f} |"


if __name__ == "__main__":
    print("| VAE of | channels | encoding | decoding | decoding 1024 × 1024, GiB |\n| --- | --- | --- | --- | --- |")
    for chosen in ("z-image", "flux2-klein-4b", "qwen-image", "qwen-image-2.1"):
        print(measure(chosen), flush=True)
