"""Snapshots of small random weights, as large as the demo's: what benchmarks of evaluation need, and no training."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from shared.config.schema import Config
from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families import loading
from tasks.text_to_image.lora import lora


class Snapshots:
    """Publishes snapshots of a run, each step with other weights."""

    def __init__(self, run: RunDir, config: Config) -> None:
        model = loading.load_model(config.model, "fp32")
        parts = lora.adapted(model, config.lora)
        lora.attach(parts, config.lora, model.family)
        self._shapes = {key: value.shape for key, value in lora.state(parts).items()}
        self._metadata = lora.metadata(parts)
        self._run, self._run_id = run, run.read_record().run_id

    def publish(self, step: int) -> None:
        """The snapshot of this step."""
        generator = torch.Generator().manual_seed(step)
        weights = {key: 0.02 * torch.randn(shape, generator=generator) for key, shape in self._shapes.items()}
        manifest = Manifest(kind="snapshot", run_id=self._run_id, step=step)
        target = self._run.snapshot(step)
        publish(self._run.staging, target, manifest, lambda stage: lora.write(stage, weights, self._metadata))
