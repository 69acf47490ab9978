"""All weights of the denoiser from a snapshot, in the pipeline that draws."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from shared.errors import ModelError
from shared.files.publication import verify
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.weights import whole_denoiser
from tasks.text_to_image.weights.whole_denoiser import State


class LearntDenoiser:
    """Swaps the denoiser's weights; those from before training wait in the host's memory."""

    has_strength: ClassVar[bool] = False

    def __init__(self, run: RunDir, model: Model) -> None:
        """model: as it was before training."""
        self._run, self._model = run, model
        self._initial: State | None = None
        """In the precision that draws; kept once they are replaced."""

    def swap(self, snapshot: Path | None, strength: float) -> str:
        """Load this snapshot's weights; None: those from before training."""
        denoiser = self._model.denoiser
        if snapshot is None:
            if self._initial is not None:
                whole_denoiser.put(self._initial, denoiser)
            return ""
        digest = verify(snapshot).digest()
        weights = whole_denoiser.read(snapshot)
        whole_denoiser.require_same(weights, denoiser, whole_denoiser.WEIGHTS_FILE)
        if self._initial is None:
            self._initial = {name: value.detach().to("cpu", copy=True) for name, value in denoiser.state_dict().items()}
        whole_denoiser.put(weights, denoiser)
        self._require_finite(snapshot)
        return digest

    def average(self, steps: Sequence[int], folder: Path) -> dict[str, Any]:
        """Write the mean of these snapshots' weights: nothing is cut off."""
        folders = [self._run.snapshot(step) for step in steps]
        digests = {one.name: verify(one).digest() for one in folders}
        states = [whole_denoiser.read(one) for one in folders]
        for one, weights in zip(folders, states, strict=True):
            whole_denoiser.require_same(weights, self._model.denoiser, one.name)
        mean = whole_denoiser.average(states)
        described = json.loads((folders[-1] / whole_denoiser.CONFIG_FILE).read_text(encoding="utf-8"))
        whole_denoiser.write(folder, mean, described, next(iter(mean.values())).dtype)
        return {"truncation": 0.0, "sources": digests}

    def _require_finite(self, snapshot: Path) -> None:
        """Raises ModelError where the precision that draws cannot hold a weight."""
        for name, value in self._model.denoiser.state_dict().items():
            if not torch.isfinite(value).all():
                raise ModelError(
                    f"{name} of {snapshot.name} is too large for the precision that draws",
                    'set evaluation.dtype = "fp32" or "bf16"',
                )
