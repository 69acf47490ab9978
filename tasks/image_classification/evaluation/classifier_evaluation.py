"""One evaluation of a classifier: what it names the held-out pictures, and how sure it is.

Shapes: P pictures, B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.errors import ModelError
from shared.files.publication import verify
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.run_dir import ResultKind, RunDir
from shared.run_folder.tables import Value, write_rows
from tasks import devices
from tasks.image_classification import network
from tasks.image_classification.data import references
from tasks.image_classification.data.references import Reference
from tasks.image_classification.evaluation.averaging import average
from tasks.image_classification.evaluation.exhibits import exhibits
from tasks.image_classification.figures import figures
from tasks.image_classification.network import Classifier, Normalization, State
from tasks.image_classification.settings import Settings
from tasks.protocol import EvaluationOutput

IMAGES = "images"
"""Folder of a result's pictures."""
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ClassifierEvaluation:
    """The resident network and the held-out pictures: `tasks.protocol.Evaluation` of this task."""

    run: RunDir
    config: Config
    classes: tuple[str, ...]
    module: Classifier
    before: State
    """The network before training, on the CPU."""
    how: Normalization
    references: list[Reference]
    device: torch.device

    def rest(self) -> None:
        """The network leaves the device."""
        self.module.to("cpu")

    def wake(self) -> None:
        """The network comes back."""
        self.module.to(self.device)

    def swap(self, snapshot: Path | None) -> str:
        """Load this snapshot's network; None: the one before training."""
        if snapshot is None:
            self.module.network.load_state_dict(self.before)
            return ""
        digest = verify(snapshot).digest()
        network.load(snapshot, self.module.network)
        return digest

    def evaluate(self, step: int, kind: ResultKind, output: EvaluationOutput) -> None:
        """Name every held-out picture."""
        with output.timed("predict"):
            probabilities_PC = self._probabilities()
        output.memory = devices.memory(self.device)
        index = {name: number for number, name in enumerate(self.classes)}
        labels_P = np.array([index[one.label] for one in self.references])
        guesses_P, confidences_P = probabilities_PC.argmax(axis=1), probabilities_PC.max(axis=1)
        places = np.arange(len(labels_P))
        truth_PC = np.eye(len(self.classes))[labels_P]
        columns = {
            "accuracy": (guesses_P == labels_P).astype(float),
            "brier_score": ((probabilities_PC - truth_PC) ** 2).sum(axis=1),
            "cross_entropy": -np.log(probabilities_PC[places, labels_P].clip(min=np.finfo(np.float64).tiny)),
            "confidence": confidences_P,
        }
        output.samples = [
            Sample(prompt_id=one.id, metrics={name: float(values_P[place]) for name, values_P in columns.items()})
            for place, one in enumerate(self.references)
        ]
        output.figures = figures(labels_P, probabilities_PC, self.config.evaluation.seed)
        ids = [one.id for one in self.references]
        output.exhibits, shown = exhibits(self.classes, ids, labels_P, probabilities_PC)

        def write(folder: Path, result: EvaluationResult) -> None:
            self._write_predictions(folder / "predictions.csv", guesses_P.tolist(), probabilities_PC)
            (folder / IMAGES).mkdir()
            for name, place in shown.items():
                self.references[place].picture.save(folder / IMAGES / name)

        output.write = write

    def describe(self) -> dict[str, Any]:
        """The settings with which pictures are named."""
        settings = own_settings(self.config, Settings)
        return {"device": str(self.device), "dtype": self._dtype_name, "img_size": settings.img_size}

    def further(self) -> ClassifierEvaluation:
        """To confirm the best snapshots: the same pictures and the others that are held out."""
        if not self.run.further_references.exists():
            return self
        return replace(self, references=[*self.references, *references.read(self.run.further_references)])

    def with_prompts(self, prompts: Sequence[str]) -> None:
        """Nothing is drawn."""
        return

    def at_strength(self, strength: float) -> None:
        """A network has no strength."""
        return

    def average(self, steps: Sequence[int], folder: Path) -> dict[str, Any]:
        """Write the network whose weights are the mean of these snapshots'."""
        return average([self.run.snapshot(step) for step in steps], folder)

    @property
    def _dtype_name(self) -> str:
        wanted = self.config.evaluation.dtype
        return "fp32" if wanted == "auto" else wanted

    def _probabilities(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(P, C); each picture stands in the batch that it always stands in."""
        size, found = self.config.evaluation.batch_size, list[Tensor]()
        dtype = DTYPES.get(self._dtype_name)
        with torch.no_grad(), torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            for start in range(0, len(self.references), size):
                batch = self.references[start : start + size]
                pictures_BHWC = torch.from_numpy(np.stack([np.asarray(one.picture) for one in batch]))
                logits_BC = self.module(self.how.pixels(pictures_BHWC).to(self.device))
                found.append(nn.functional.softmax(logits_BC.double().cpu(), dim=1))
        probabilities_PC = torch.cat(found).numpy()
        if not np.isfinite(probabilities_PC).all():
            raise ModelError(
                "the network gives numbers that are not finite", "evaluate it with evaluation.dtype = 'fp32'"
            )
        return probabilities_PC

    def _write_predictions(
        self, path: Path, guesses: list[int], probabilities_PC: np.ndarray[Any, np.dtype[np.float64]]
    ) -> None:
        """One line for each picture: enough to recompute every number without Darkroom."""
        rows: list[dict[str, Value]] = [
            {
                "id": one.id,
                "class": one.label,
                "predicted": self.classes[guess],
                **{f"p({name})": float(value) for name, value in zip(self.classes, probabilities_C, strict=True)},
            }
            for one, guess, probabilities_C in zip(self.references, guesses, probabilities_PC, strict=True)
        ]
        write_rows(path, tuple(rows[0]), rows)
