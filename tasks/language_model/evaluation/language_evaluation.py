"""One evaluation of a language model: how likely it finds the held-out answers, and what it answers itself.

Shapes: P examples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.errors import ModelError
from shared.files.publication import verify
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.run_dir import ResultKind, RunDir
from tasks import devices
from tasks.language_model import adapter
from tasks.language_model.data import references
from tasks.language_model.data.examples import Example
from tasks.language_model.data.tokenizer import Tokenizer
from tasks.language_model.data.tokens import fitting, question_of
from tasks.language_model.evaluation import judged
from tasks.language_model.evaluation.answers import answers
from tasks.language_model.evaluation.exhibits import exhibits
from tasks.language_model.network import LanguageModel, scores
from tasks.language_model.rows import lay_out, loss_sums
from tasks.language_model.settings import Settings
from tasks.protocol import EvaluationOutput


@dataclass(frozen=True)
class LanguageEvaluation:
    """The resident model and the held-out examples: `tasks.protocol.Evaluation` of this task."""

    run: RunDir
    config: Config
    module: LanguageModel
    """With a LoRA, whose weights are those of the snapshot that was swapped in."""
    tokenizer: Tokenizer
    examples: list[Example]
    max_positions: int | None
    device: torch.device
    strength: float = 1.0

    def rest(self) -> None:
        """The model leaves the device."""
        self.module.to("cpu")

    def wake(self) -> None:
        """The model comes back."""
        self.module.to(self.device)

    def swap(self, snapshot: Path | None) -> str:
        """Load this snapshot's LoRA; None: the base model."""
        if snapshot is None:
            adapter.set_strength(self.module, 0.0)
            self.module.network.disable_adapter_layers()
            return ""
        digest = verify(snapshot).digest()
        adapter.load(snapshot, self.module.network)
        self.module.network.enable_adapter_layers()
        adapter.set_strength(self.module, self.strength)
        return digest

    def evaluate(self, step: int, kind: ResultKind, output: EvaluationOutput) -> None:
        """Measure the loss of every held-out example, and answer it."""
        settings, names = own_settings(self.config, Settings), [one.id for one in self.examples]
        with output.timed("loss"):
            sums_P, counts_P = self._losses(settings)
        asked = [question_of(one, self.tokenizer, settings) for one in self.examples]
        questions, expected = [text for _, text, _ in asked], [text for _, _, text in asked]
        with output.timed("answers"):
            tokens = answers(
                self.module.network,
                [ids for ids, _, _ in asked],
                self.tokenizer,
                self.device,
                batch_size=self.config.evaluation.batch_size,
                new_tokens=settings.max_new_tokens,
                max_positions=self.max_positions,
            )
        output.memory = devices.memory(self.device)
        answered = [self.tokenizer.decode(one).strip() for one in tokens]
        columns: dict[str, list[float]] = {
            "nll": (sums_P / counts_P).tolist(),
            "exact_match": [float(judged.is_exact(*pair)) for pair in zip(answered, expected, strict=True)],
            "similarity": [judged.similarity(*pair) for pair in zip(answered, expected, strict=True)],
            "answer_tokens": [float(len(one)) for one in tokens],
        }
        if settings.syntax == "python":
            columns["valid_syntax"] = [float(judged.is_python(text)) for text in answered]
        output.samples = [
            Sample(prompt_id=name, metrics={column: values[place] for column, values in columns.items()})
            for place, name in enumerate(names)
        ]
        output.figures = {"perplexity": judged.perplexity(sums_P, counts_P, self.config.evaluation.seed)}
        notes = {
            name: "exact" if columns["exact_match"][place] else f"similarity {columns['similarity'][place]:.2f}"
            for place, name in enumerate(names)
        }
        output.exhibits = exhibits(names, questions, expected, answered, notes)

        def write(folder: Path, result: EvaluationResult) -> None:
            """A line for each example: enough to recompute every number without Darkroom."""
            lines = [
                {
                    "id": name,
                    "prompt": questions[place],
                    "expected": expected[place],
                    "answer": answered[place],
                    "loss_sum": float(sums_P[place]),
                    "num_tokens": int(counts_P[place]),
                }
                for place, name in enumerate(names)
            ]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (folder / "answers.jsonl").write_text(text, encoding="utf-8")

        output.write = write

    def describe(self) -> dict[str, Any]:
        """The settings with which answers are made."""
        settings = own_settings(self.config, Settings)
        precision = str(next(self.module.parameters()).dtype).removeprefix("torch.")
        return {
            "device": str(self.device),
            "dtype": precision,
            "context_length": settings.context_length,
            "max_new_tokens": settings.max_new_tokens,
            "strength": self.strength,
        }

    def further(self) -> LanguageEvaluation:
        """To confirm the best snapshots: the same examples and the others that are held out."""
        if not self.run.further_references.exists():
            return self
        return replace(self, examples=[*self.examples, *references.read(self.run.further_references)])

    def with_prompts(self, prompts: Sequence[str]) -> None:
        """Requested prompts are answered with pictures, of which there are none."""
        return

    def at_strength(self, strength: float) -> LanguageEvaluation:
        """The same examples with so much of the LoRA."""
        return replace(self, strength=strength)

    def average(self, steps: Sequence[int], folder: Path) -> dict[str, Any]:
        """Write the LoRA that adds the mean of what these snapshots' add."""
        return adapter.average([self.run.snapshot(step) for step in steps], folder)

    def _losses(self, settings: Settings) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Loss over all tokens that count, and their number, of each example. (P,), float64 and int64.

        Each example stands in the batch that it always stands in.
        """
        by_id = fitting(self.examples, self.tokenizer, settings)
        tokens = [by_id[one.id] for one in self.examples]
        order = sorted(range(len(tokens)), key=lambda place: len(tokens[place].ids))
        sums_P = torch.zeros(len(tokens), dtype=torch.float64)
        size = self.config.evaluation.batch_size
        with torch.no_grad():
            for start in range(0, len(order), size):
                places = order[start : start + size]
                batch = [tokens[place] for place in places]
                rows = lay_out(batch, max(len(one.ids) for one in batch), self.tokenizer.padding, packs=False)
                found = loss_sums(scores(self.module, rows, self.device), rows, len(batch))
                sums_P[places] = found.double().cpu()
        if not bool(torch.isfinite(sums_P).all()):
            raise ModelError("the model gives losses that are not finite", 'evaluate it with evaluation.dtype = "fp32"')
        return sums_P.numpy(), np.array([one.num_counted for one in tokens])
