"""What the evaluator asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from shared.config.schema import Config
from shared.data.references import first, further
from shared.files.publication import verify
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions, Words
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.run_dir import ResultKind, RunDir
from tasks.protocol import EvaluationOutput
from tests.toy_task import line, numbers
from tests.toy_task.numbers import Row

ERROR = Column(
    name="error", meaning="How far the line passes by the point.", direction="lower", role="loss", weight=1.0
)


def descriptions(config: Config) -> MetricDescriptions:
    words = Words(prompt="row", sample="point", base="step 0")
    return MetricDescriptions(metrics=(MetricDescription(name="error", columns=(ERROR,)),), words=words)


@dataclass(frozen=True)
class LineEvaluation:
    run: RunDir
    config: Config
    module: nn.Linear
    rows: list[Row]
    others: list[Row]
    device: torch.device

    def rest(self) -> None:
        self.module.to("cpu")

    def wake(self) -> None:
        self.module.to(self.device)

    def swap(self, snapshot: Path | None) -> str:
        if snapshot is None:
            self.module.load_state_dict(line.fresh(self.config).state_dict())
            return ""
        digest = verify(snapshot).digest()
        self.module.load_state_dict(load_file(snapshot / line.WEIGHTS_FILE))
        return digest

    @torch.no_grad()
    def evaluate(self, step: int, kind: ResultKind, output: EvaluationOutput) -> None:
        with output.timed("score"):
            for row in self.rows:
                drawn = float(self.module(torch.tensor([row.x], device=self.device)))
                output.samples.append(
                    Sample(prompt_id=row.id, prompt=f"x = {row.x:g}", metrics={"error": abs(drawn - row.y)})
                )

    def describe(self) -> dict[str, Any]:
        return {"device": str(self.device)}

    def further(self) -> LineEvaluation:
        return replace(self, rows=self.others)

    def with_prompts(self, prompts: Sequence[str]) -> None:
        return None

    def at_strength(self, strength: float) -> None:
        return None

    def average(self, steps: Sequence[int], folder: Path) -> dict[str, Any]:
        files = [load_file(self.run.snapshot(step) / line.WEIGHTS_FILE) for step in steps]
        mean = {key: sum(file[key] for file in files) / len(files) for key in files[0]}
        save_file(mean, folder / line.WEIGHTS_FILE)
        return {"truncation": 0.0}


def build(run: RunDir, config: Config, device: torch.device) -> LineEvaluation:
    rows, record = {row.id: row for row in numbers.read(config)}, run.read_record()
    asked, others = ([rows[name] for name in names] for names in (first(config, record), further(config, record)))
    return LineEvaluation(run, config, line.fresh(config).to(device), asked, others, device)
