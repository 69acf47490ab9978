"""`python benchmarks/step_memory.py MODEL [PIXELS]`: the memory of real training steps against its estimate, on a CPU.

MODEL is `pocket` or `sd1`, the true SD 1.5 UNet with random weights. fp32, one picture, a rank-16 adapter, AdamW. The
peak of this process's resident memory (the kernel's high-water mark, reset before the steps) is compared with what
`tasks.text_to_image.models.memory` says of weights, adapter, optimizer and activations, with and without checkpointing.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from diffusers import UNet2DConditionModel
from peft import LoraConfig

from benchmarks.activations import unet_inputs
from tasks.text_to_image.models import memory
from tasks.text_to_image.models.base_model import POCKET_STABLE_DIFFUSION
from tasks.text_to_image.models.weights_header import TensorShape
from tests.true_shapes import UNETS

MIB = 2**20
STEPS = 3


def resident(field: str) -> float:
    """`VmRSS` or its peak `VmHWM`, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def reset_peak() -> None:
    """Give freed memory back to the system, and let the high-water mark begin here."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def steps(unet: UNet2DConditionModel, pixels: int) -> None:
    """A few optimizer updates."""
    optimizer = torch.optim.AdamW([parameter for parameter in unet.parameters() if parameter.requires_grad])
    inputs = unet_inputs(unet, 1, pixels, torch.float32)
    inputs["sample"].normal_(), inputs["encoder_hidden_states"].normal_()
    for _ in range(STEPS):
        unet(**inputs).sample.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def main() -> None:
    """Measure both ways and print a table."""
    name, pixels = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 256
    before = resident("VmRSS")
    if name == "pocket":
        unet = UNet2DConditionModel.from_pretrained(POCKET_STABLE_DIFFUSION / "unet")
    else:
        unet = UNet2DConditionModel(**UNETS[name])
    unet.requires_grad_(False)
    shapes = {key: TensorShape(tuple(value.shape), "F32") for key, value in unet.named_parameters()}
    targets = ["to_k", "to_q", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=16, lora_alpha=16, target_modules=targets))
    unet.train()
    model = memory.ModelShapes(name, {"unet": shapes}, dict(unet.config))
    static = 4 * model.weights("unet") + 16 * memory.lora_parameters(shapes, targets, 16)
    print(
        f"{name}, {pixels} px, {torch.get_num_threads()} threads; imports {before:.0f} MiB, torch {torch.__version__}\n"
    )
    print("| checkpointing | grew by MiB | estimated | error | weights, adapter, AdamW | activations |")
    print("| --- | --- | --- | --- | --- | --- |")
    for checkpointing in (True, False):
        if not checkpointing:
            unet.disable_gradient_checkpointing()
        else:
            unet.enable_gradient_checkpointing()
        reset_peak()
        steps(unet, pixels)
        grown = resident("VmHWM") - before
        activations = memory.activation_bytes(model, 1, pixels, half=False, checkpointing=checkpointing)
        estimate = (static + activations) / MIB
        parts = f"{static / MIB:.0f} | {activations / MIB:.0f}"
        print(f"| {checkpointing} | {grown:.0f} | {estimate:.0f} | {estimate / grown - 1:+.0%} | {parts} |")


if __name__ == "__main__":
    main()
