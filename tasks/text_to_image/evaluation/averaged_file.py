"""The file of an averaged candidate: like a snapshot's, its header says what it is the average of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY

from shared.config.schema import LoraConfig
from shared.errors import ModelError
from shared.run_folder.phrase import Unit
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.lora import lora, weights_file
from tasks.text_to_image.lora.average import average
from tasks.text_to_image.lora.description import Description
from tasks.text_to_image.lora.lora import LORA_FILE
from tasks.text_to_image.models.adaptable import Base


def write(
    run: RunDir, steps: Sequence[int], expected: dict[str, torch.Size] | Base, settings: LoraConfig, folder: Path
) -> dict[str, Any]:
    """Average the snapshots of these steps into `folder`; returns facts for its manifest.

    Raises:
        ModelError, RunFolderError: a snapshot is damaged, its kind of adapter has no average, or another trainer has
            given them different modules.
    """
    files = [snapshot_file.read(run.snapshot(step), expected, settings) for step in steps]
    if any(file.scales.keys() != files[0].scales.keys() for file in files):
        raise ModelError("they adapt different modules: only LoRAs of the same modules have an average")
    found = average([file.weights for file in files], [file.scales for file in files])
    _, header = weights_file.read(files[-1].folder / LORA_FILE)
    adapter_metadata = json.loads(header.pop(LORA_ADAPTER_METADATA_KEY))
    described = _described(header, steps, found.loss, run.read_record().unit)
    lora.write(folder, found.weights, adapter_metadata, {**header, **described})
    return {"truncation": round(found.loss, 6), "sources": {str(file.folder.name): file.digest for file in files}}


def _described(header: Description, steps: Sequence[int], loss: float, unit: Unit) -> Description:
    title, about = header.get("modelspec.title", ""), header.get("modelspec.description", "")
    named = ", ".join(map(str, steps))
    return {
        "modelspec.title": f"{title.rpartition(' step ')[0] or title} {unit}s {named} averaged",
        "modelspec.description": f"{about}; average of the snapshots of {unit}s {named}, changed by {loss:.1%} when it "
        "was brought back to their rank",
    }
