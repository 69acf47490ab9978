"""`python benchmarks/activations.py`: how many bytes a training step and a drawn picture hold besides weights.

The true UNets and VAEs run forward and backward on fake tensors: shapes and lifetimes are real, memory is not used.
Half precision is CUDA's: autocast to fp16, normalisation in fp32 (emulated, since fake tensors here live on the CPU),
attention by the kernel that keeps no score matrix. Prints one row per measurement and the constants of
`tasks/text_to_image/models/memory.py`, fitted by least squares on relative errors.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tasks.text_to_image.families.unet import unet_work
from tasks.text_to_image.models.base_model import POCKET_STABLE_DIFFUSION
from tests.true_shapes import UNETS
from tests.true_vae import VAE

GIB = 2**30
Case = tuple[str, int, int]
"""Model, batch, pixels along a side."""

POCKET = UNet2DConditionModel.load_config(POCKET_STABLE_DIFFUSION / "unet")
ARCHITECTURES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "sd1": (UNETS["sd1"], (256, 512, 768)),
    "sd2": (UNETS["sd2"], (512, 768)),
    "sdxl": (UNETS["sdxl"], (512, 1024)),
    "pocket": (POCKET, (64, 128)),
}


@dataclass
class Peak(TorchDispatchMode):
    """Counts the bytes of living storages made under it, not those of `model`, and their highest sum."""

    model: torch.nn.Module
    current: int = 0
    highest: int = 0
    _known: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._known |= {buffer.untyped_storage()._cdata for buffer in self.model.buffers()}
        for parameter in self.model.parameters():
            grad = [] if parameter.grad is None else [parameter.grad]
            self._known |= {tensor.untyped_storage()._cdata for tensor in (parameter, *grad)}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.current += size
        self.highest = max(self.highest, self.current)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.current -= size


def in_fp32(normalise: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """CUDA's autocast computes normalisation in fp32; the CPU's does not."""

    def normalise_in_fp32(*args: Any, **kwargs: Any) -> torch.Tensor:
        args, kwargs = tree_map_only(torch.Tensor, torch.Tensor.float, (args, kwargs))
        return normalise(*args, **kwargs)

    return normalise_in_fp32


@contextlib.contextmanager
def cuda_autocast(dtype: torch.dtype = torch.float16) -> Iterator[None]:
    """CUDA's mixed precision, on a CPU."""
    torch.set_autocast_enabled("cpu", True)
    torch.set_autocast_dtype("cpu", dtype)
    norms = {name: in_fp32(getattr(functional, name)) for name in ("group_norm", "layer_norm")}
    try:
        with mock.patch.multiple(functional, **norms):
            yield
    finally:
        torch.set_autocast_enabled("cpu", False)
        torch.clear_autocast_cache()


def materialise(model: torch.nn.Module) -> None:
    """Give meta parameters fake CPU storage, in the current fake mode."""
    for module in model.modules():
        for kind in (module._parameters, module._buffers):
            for name, value in kind.items():
                if value is not None:
                    fake = torch.empty(value.shape, dtype=value.dtype)
                    parameter = torch.nn.Parameter(fake, requires_grad=value.requires_grad)
                    kind[name] = parameter if isinstance(value, torch.nn.Parameter) else fake


def peak_of(model: torch.nn.Module, body: Callable[[], Any], *, half: bool) -> int:
    """Highest sum of bytes alive while `body` runs, its inputs and the model not counted."""
    with Peak(model) as peak, cuda_autocast() if half else contextlib.nullcontext():
        body()
    return peak.highest


def build_unet(config: dict[str, Any], *, half: bool, rank: int | None) -> UNet2DConditionModel:
    """On torch's meta device; with a rank, an fp32 adapter on its attention."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
        unet.requires_grad_(False)
        unet.to(torch.float16 if half else torch.float32)
        if rank:
            targets = ["to_k", "to_q", "to_v", "to_out.0"]
            unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
            cast_training_params(unet, dtype=torch.float32)
    return unet


def unet_inputs(unet: UNet2DConditionModel, batch: int, pixels: int, dtype: torch.dtype) -> dict[str, Any]:
    """Noisy latents, timesteps and text, of the right shapes."""
    edge = pixels // 8
    inputs: dict[str, Any] = {
        "sample": torch.empty(batch, unet.config["in_channels"], edge, edge, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=torch.long),
        "encoder_hidden_states": torch.empty(batch, 77, unet.config["cross_attention_dim"], dtype=dtype),
    }
    if unet.config["addition_embed_type"]:
        time_ids = torch.empty(batch, 6, dtype=dtype)
        inputs["added_cond_kwargs"] = {"text_embeds": torch.empty(batch, 1280, dtype=dtype), "time_ids": time_ids}
    return inputs


def training_bytes(config: dict[str, Any], batch: int, pixels: int, *, half: bool, checkpointing: bool) -> int:
    """Forward and backward through a UNet with a rank-16 adapter; the adapter's gradients are not counted."""
    unet = build_unet(config, half=half, rank=16)
    with FakeTensorMode():
        materialise(unet)
        unet.train()
        if checkpointing:
            unet.enable_gradient_checkpointing()
        inputs = unet_inputs(unet, batch, pixels, torch.float32)
        for parameter in unet.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
        return peak_of(unet, lambda: unet(**inputs).sample.float().square().mean().backward(), half=half)


def drawing_bytes(config: dict[str, Any], batch: int, pixels: int) -> int:
    """One fp16 forward pass of a UNet without gradients; `batch` counts the negative prompts too."""
    unet = build_unet(config, half=True, rank=None)
    with FakeTensorMode(), torch.no_grad():
        materialise(unet)
        inputs = unet_inputs(unet, batch, pixels, torch.float16)
        return peak_of(unet, lambda: unet(**inputs), half=False)


def vae_bytes(batch: int, pixels: int, *, decode: bool, dtype: torch.dtype) -> int:
    """The VAE of SD 1.x, 2.x and SDXL, without gradients."""
    with torch.device("meta"):
        vae = AutoencoderKL(**VAE).to(dtype)
    with FakeTensorMode(), torch.no_grad():
        materialise(vae)
        if decode:
            latents = torch.empty(batch, 4, pixels // 8, pixels // 8, dtype=dtype)
            return peak_of(vae, lambda: vae.decode(latents), half=False)
        pictures = torch.empty(batch, 3, pixels, pixels, dtype=dtype)
        return peak_of(vae, lambda: vae.encode(pictures), half=False)


def fit(features: list[list[float]], measured: list[float]) -> np.ndarray:
    """Least squares on relative errors."""
    targets = np.array(measured)[:, None]
    return np.linalg.lstsq(np.array(features) / targets, np.ones(len(measured)), rcond=None)[0]


def report(title: str, cases: list[Case], features: list[list[float]], measured: list[float]) -> None:
    """Fit, and print the constants and every measurement beside its estimate."""
    constants = fit(features, measured)
    print(f"\n### {title}\n\nconstants: {', '.join(f'{value:.2f}' for value in constants)}\n")
    print("| model | batch | pixels | measured GiB | estimated GiB | error |\n| --- | --- | --- | --- | --- | --- |")
    for (name, batch, pixels), row, truth in zip(cases, features, measured, strict=True):
        estimate = float(np.dot(row, constants))
        print(
            f"| {name} | {batch} | {pixels} | {truth / GIB:.3f} | {estimate / GIB:.3f} | {estimate / truth - 1:+.0%} |"
        )


def main() -> None:
    """Measure, fit, print."""
    cases = [
        (name, batch, pixels) for name, (_, sizes) in ARCHITECTURES.items() for batch in (1, 4) for pixels in sizes
    ]
    work = [
        [batch * value for value in unet_work(complete(ARCHITECTURES[name][0]), (pixels // 8) ** 2)]
        for name, batch, pixels in cases
    ]
    for half, checkpointing in itertools.product((True, False), (False, True)):
        measured = [
            training_bytes(ARCHITECTURES[name][0], batch, pixels, half=half, checkpointing=checkpointing)
            for name, batch, pixels in cases
        ]
        title = f"{'mixed precision' if half else 'fp32'}, {'with' if checkpointing else 'without'} checkpointing"
        report(f"A training step, {title}", cases, work if checkpointing else [row[:2] for row in work], measured)
    measured = [drawing_bytes(ARCHITECTURES[name][0], batch, pixels) for name, batch, pixels in cases]
    report("A forward pass without gradients, fp16", cases, [[row[2]] for row in work], measured)
    vae_cases = [("vae", batch, pixels) for batch in (1, 4) for pixels in (512, 1024)]
    for decode in (False, True):
        measured = [vae_bytes(batch, pixels, decode=decode, dtype=torch.float16) for _, batch, pixels in vae_cases]
        numbers = [[float(batch * pixels**2 * VAE["block_out_channels"][0])] for _, batch, pixels in vae_cases]
        report(f"The VAE {'decodes' if decode else 'encodes'}, fp16", vae_cases, numbers, measured)


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with diffusers' defaults filled in, as a model's config.json has it."""
    with torch.device("meta"):
        return dict(UNet2DConditionModel.from_config(config).config)


if __name__ == "__main__":
    main()
