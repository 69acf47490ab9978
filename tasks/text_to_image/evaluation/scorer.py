"""The encoders of a run, loaded once, and the metrics they compute for samples against references."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from shared.errors import ConfigError, DarkroomError, ModelError
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.encoders.encoder import EncoderRecord
from tasks.text_to_image.metrics import all_metrics, metric_names
from tasks.text_to_image.probes import ProbeKind
from tasks.text_to_image.profiles import NO_FACES
from tasks.text_to_image.scoring.features import Features
from tasks.text_to_image.scoring.metric import Metric, Need
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

NOT_FINITE = "the computation gave no finite number"
NO_REFERENCE = "these prompts have no reference"
REQUESTED: frozenset[Need] = frozenset({"prompts"})
"""What is known of prompts that a person requests."""
RUN: frozenset[Need] = frozenset({"prompts", "seeds", "base", "training"})
"""What is known of a run's prompts without a reference."""


@dataclass(frozen=True)
class Scores:
    """The numbers of one evaluation."""

    rows: list[Row]
    """One row for each sample, in order; every row has every column."""
    missing: dict[str, str]
    """Column → why it is None in some row."""


@dataclass(frozen=True)
class Scorer:
    """Scores samples against references; the features of the references are computed once."""

    features: Features
    encoders: dict[str, EncoderRecord]
    """Column → the encoder it uses; a column without an encoder is absent."""
    metrics: tuple[Metric, ...]
    """In the order of the columns."""

    def score(self, metric_input: MetricInput) -> Scores:
        """Every metric of every sample.

        Raises:
            ModelError: a sample is all black: drawing has failed, and a number would hide it.
        """
        references, samples, prompts = metric_input.references, metric_input.samples, metric_input.prompts
        if not len(references) == len(samples) == len(prompts):
            raise ValueError(f"{len(references)} references, {len(samples)} samples and {len(prompts)} prompts")
        return self._score(metric_input)

    def score_run(self, references: Sequence[Image.Image | None], metric_input: MetricInput) -> Scores:
        """Every metric of every sample of a run, some or all of whose prompts have no reference.

        What needs a reference has no value for a prompt without one. metric_input: without the references. Raises as
        `score` does.
        """
        paired = [number for number, reference in enumerate(references) if reference is not None]
        alone = [number for number, reference in enumerate(references) if reference is None]
        real = [reference for reference in references if reference is not None]
        with_reference = self.score(_part(metric_input, paired, real)) if paired else Scores([], {})
        without = self.score_without_references(_part(metric_input, alone), RUN) if alone else Scores([], {})
        by_number = dict(zip([*paired, *alone], [*with_reference.rows, *without.rows], strict=True))
        missing = {**without.missing, **with_reference.missing}
        if paired:  # what these prompts cannot have is no blank that needs a reason
            missing = {column: why for column, why in missing.items() if why != NO_REFERENCE}
        return Scores([by_number[number] for number in sorted(by_number)], missing)

    def score_without_references(self, metric_input: MetricInput, known: frozenset[Need] = REQUESTED) -> Scores:
        """The metrics that can do without references; the losses that cannot are missing, with the reason.

        known: what there is for them to look at. Raises as `score` does.
        """
        able = [
            metric
            for metric in self.metrics
            if (needs := metric.needs_without_references) is not None and needs <= known
        ]
        unable = [metric for metric in self.metrics if metric not in able]
        losses = [column.name for metric in unable for column in metric.columns if column.role == "loss"]
        scores = replace(self, metrics=tuple(able))._score(metric_input)
        return Scores(scores.rows, {**dict.fromkeys(losses, NO_REFERENCE), **scores.missing})

    def score_probes(self, metric_input: MetricInput, kind: ProbeKind) -> Scores:
        """The metrics of probe prompts of one kind, which no other pictures have. Raises as `score` does."""
        return self._score(metric_input, kind)

    def _score(self, metric_input: MetricInput, kind: ProbeKind | None = None) -> Scores:
        _refuse_black(metric_input.samples)
        rows: list[Row] = [{} for _ in metric_input.samples]
        missing: dict[str, str] = {}
        for metric in self.metrics:
            if metric.of_probes != kind:
                continue
            computed, reasons = _compute(metric, metric_input, self.features)
            missing |= reasons
            for row, values in zip(rows, computed, strict=True):
                row |= values
        return Scores(rows, missing)


def load_scorer(
    fashion_clip: str,
    visual: str = "efficientnet-lite0",
    device: str = "cpu",
    metrics: tuple[str, ...] = (),
    segmenter: str | None = None,
    segmenter_labels: Sequence[str] = (),
    face: str = NO_FACES,
    judge: str | None = None,
    judge_questions: Sequence[str] = (),
    glyphs: str | None = None,
) -> Scorer:
    """Load the encoders of the metrics. An encoder that cannot be loaded raises nothing: its columns are empty, with
    the reason.

    Args:
        fashion_clip: `pocket`, or the folder or hub id of a CLIPModel.
        visual: `efficientnet-lite0`, `gradients` (no weights), `dreamsim`, or a folder or hub id of a DINOv2 or SigLIP.
        device: where the encoders run, always in float32.
        metrics: their names; empty: those of an evaluation.
        segmenter: folder or hub id of a semantic segmentation model that finds the garment; None: rules do.
        segmenter_labels: those of its labels that are the garment; empty: those with a garment's name.
        face: `dlib`, or `none`.
        judge: folder or hub id of a vision-language model that answers a checklist; None: none does.
        judge_questions: the checklist; empty: that of the metric.
        glyphs: the folder of characters that drawn glyphs are compared with; None: there are none.

    Raises:
        ConfigError: `fashion_clip` and `visual` are the same model.
    """
    if fashion_clip == visual:
        raise ConfigError(
            f"visual and fashion_clip are both {visual}",
            "choose another encoder for one of them: two columns would hold the same number",
        )
    chosen = {"fashion_clip": fashion_clip, "visual": visual, "segmenter": segmenter, "face": face, "judge": judge}
    chosen["glyphs"] = glyphs
    encoders = Encoders(chosen, device, segmenter_labels, judge_questions)
    selected = tuple(all_metrics()[name] for name in metrics or metric_names())
    extractors = {feature: feature(encoders) for metric in selected for feature in metric.features}
    records: dict[str, EncoderRecord] = {}
    for metric in selected:
        encoder = next((record for feature in metric.features if (record := extractors[feature].record)), None)
        if encoder is not None:
            records |= dict.fromkeys(metric.row_columns, encoder)
    return Scorer(Features(extractors), records, selected)


def _part(metric_input: MetricInput, numbers: Sequence[int], references: Sequence[Image.Image] = ()) -> MetricInput:
    """Of the samples with these numbers. references: one for each of them, or none."""
    base = metric_input.base
    return replace(
        metric_input,
        references=references,
        samples=[metric_input.samples[number] for number in numbers],
        prompts=[metric_input.prompts[number] for number in numbers],
        base=None if base is None else [base[number] for number in numbers],
        sources=[metric_input.sources[number] for number in numbers] if metric_input.sources else (),
    )


def _compute(metric: Metric, metric_input: MetricInput, features: Features) -> tuple[list[Row], dict[str, str]]:
    """(the metric's row for each sample; column → why it is None in some row)."""
    columns = metric.row_columns
    try:
        computed = metric.compute(metric_input, features)
    except DarkroomError as error:
        return [dict.fromkeys(columns) for _ in metric_input.samples], dict.fromkeys(columns, str(error))
    missing = dict.fromkeys(_columns_with(computed, lambda value: value is None), metric.missing_reason)
    missing |= dict.fromkeys(_columns_with(computed, lambda value: not _is_finite(value)), NOT_FINITE)
    rows = [{column: value if _is_finite(value) else None for column, value in row.items()} for row in computed]
    return rows, missing


def _columns_with(rows: Iterable[Row], is_so: Callable[[float | None], bool]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column, value in row.items() if is_so(value)))


def _is_finite(value: float | None) -> bool:
    return value is None or math.isfinite(value)


def _refuse_black(samples: Sequence[Image.Image]) -> None:
    black = [number for number, sample in enumerate(samples) if not sample.convert("RGB").getbbox()]
    if black:
        raise ModelError(
            f"{len(black)} of {len(samples)} samples are all black, first number {black[0]}",
            "generate them again in bf16 or fp32: their numbers overflowed",
        )
