"""What a LoRA file adds to modules, whatever program wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shared.errors import ModelError
from tasks.text_to_image.lora import updates
from tasks.text_to_image.lora.updates import Update
from tasks.text_to_image.models import lora_file

MODULE = "lora_unet_mid_block_attentions_0_proj_in"


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_numbers_of_8_bits_are_read_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    down, up = (torch.randn(shape).to(dtype) for shape in ((2, 4), (4, 2)))
    tensors = {f"{MODULE}.lora_down.weight": down, f"{MODULE}.lora_up.weight": up, f"{MODULE}.alpha": torch.tensor(2.0)}
    save_file(tensors, tmp_path / "dress.safetensors")
    (update,) = updates.read(lora_file.look(tmp_path / "dress.safetensors"), dtype=None).values()
    assert update.A.dtype == torch.float16
    assert torch.equal(update.A.float(), down.float())
    assert torch.equal(update.B.float(), up.float())


def test_halves_of_different_ranks_are_damage_and_no_other_base_model() -> None:
    update = Update(torch.zeros(16, 4), torch.zeros(4, 8), None, 1.0)
    with pytest.raises(ModelError, match=r"^dress is damaged: mid has rank 16 in its lora_down and 8 in its lora_up"):
        updates.shaped("dress", "mid", update, (4, 4))
