"""The wall of pictures as data: what the browser shows for each prompt and seed. Pure; paths become URLs here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.words import metric_name, number
from shared.records import EvaluationResult, Sample
from shared.rundir import step_name

CAPTION_METRICS = ("visual_loss", "fashion_clip_loss", "color_loss")
UrlOf = Callable[[str, str], str]  # (path below the run folder, version) → URL


@dataclass(frozen=True)
class Column:
    """One evaluation shown on the wall."""

    title: str
    result: EvaluationResult | None


def wall(columns: Sequence[Column], run_id: str, url_of: UrlOf) -> dict[str, Any]:
    """Cards in the prompts' own order: the reference, then one picture per column for every seed."""
    by_place = [_by_place(column.result) for column in columns]
    prompts: dict[str, str] = {}
    seeds: dict[str, list[int]] = {}
    for samples in by_place:
        for (prompt_id, seed), sample in samples.items():
            prompts.setdefault(prompt_id, sample.prompt)
            if seed not in seeds.setdefault(prompt_id, []):
                seeds[prompt_id].append(seed)
    return {
        "columns": ["reference", *(column.title for column in columns)],
        "cards": [
            {
                "prompt": prompt,
                "reference": {"src": url_of(f"references/{prompt_id}.png", run_id), "alt": f"reference: {prompt}"},
                "rows": [
                    {
                        "seed": seed,
                        "cells": [
                            _cell(column, samples.get((prompt_id, seed)), url_of)
                            for column, samples in zip(columns, by_place, strict=True)
                        ],
                    }
                    for seed in seeds[prompt_id]
                ],
            }
            for prompt_id, prompt in prompts.items()
        ],
    }


def shortcomings(columns: Sequence[Column]) -> list[str]:
    """What is missing in the results shown, and why; each said once."""
    results = {column.result.step: column.result for column in columns if column.result}
    lines = [f"Step {step} could not be judged: {result.reason}" for step, result in results.items() if result.reason]
    for step, result in results.items():
        lines += [f"Step {step} has no {metric_name(name)}: {reason}" for name, reason in result.blanks.items()]
    return lines


def _by_place(result: EvaluationResult | None) -> dict[tuple[str, int], Sample]:
    return {(sample.prompt_id, sample.seed): sample for sample in result.samples} if result else {}


def _cell(column: Column, sample: Sample | None, url_of: UrlOf) -> dict[str, str] | None:
    if column.result is None or sample is None:
        return None
    path = f"evaluations/{step_name(column.result.step)}/images/{sample.image}"
    numbers = {name: sample.metrics.get(name) for name in CAPTION_METRICS}
    spelled = ", ".join(f"{metric_name(name)} {number(value, 4)}" for name, value in numbers.items())
    return {
        "src": url_of(path, column.result.created),
        "alt": f"{column.title}, seed {sample.seed}: {sample.prompt}",
        "caption": " · ".join("–" if value is None else f"{value:.2f}" for value in numbers.values()),
        "title": f"seed {sample.seed}: {spelled}",
    }
