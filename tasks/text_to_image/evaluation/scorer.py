"""The encoders of a run, loaded once, and what they say of samples against references."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

from shared.errors import ConfigError, DarkroomError, ModelError
from tasks.text_to_image.encoders.encoder import Encoder, EncoderRecord, Vector
from tasks.text_to_image.encoders.loading import load_encoder
from tasks.text_to_image.metrics import DEFAULT_METRICS, METRICS, Metric, gradients
from tasks.text_to_image.metrics.features import Features, Memo
from tasks.text_to_image.metrics.layout import RECORD as LAYOUT
from tasks.text_to_image.metrics.layout import layout
from tasks.text_to_image.metrics.metric_input import MetricInput, Row
from tasks.text_to_image.metrics.palette import palette

NOT_FINITE = "the computation gave no finite number"


@dataclass(frozen=True)
class Scores:
    """The numbers of one evaluation."""

    rows: list[Row]
    """One for each sample, in order; every row has every column."""
    missing: dict[str, str]
    """Column → why it is None in some row."""


@dataclass(frozen=True)
class Scorer:
    """Scores samples against references, and remembers what the encoders said of the references."""

    features: Features
    encoders: dict[str, EncoderRecord]
    """Column → the encoder behind it. The colour columns have none."""
    metrics: tuple[str, ...] = DEFAULT_METRICS
    """Names in `METRICS`, in the order of the columns."""

    def score(self, metric_input: MetricInput) -> Scores:
        """Every metric of every sample.

        Raises:
            ModelError: a sample is all black: whoever drew it has failed, and no number may hide that.
        """
        references, samples, prompts = metric_input.references, metric_input.samples, metric_input.prompts
        if not len(references) == len(samples) == len(prompts):
            raise ValueError(f"{len(references)} references, {len(samples)} samples and {len(prompts)} prompts")
        _refuse_black(samples)
        rows: list[Row] = [{} for _ in samples]
        missing: dict[str, str] = {}
        for name in self.metrics:
            computed, reasons = _compute(METRICS[name], metric_input, self.features)
            missing |= reasons
            for row, values in zip(rows, computed, strict=True):
                row |= values
        return Scores(rows, missing)


def load_scorer(
    fashion_clip: str, visual: str = "gradients", device: str = "cpu", metrics: tuple[str, ...] = DEFAULT_METRICS
) -> Scorer:
    """Load the encoders of a run. One that cannot be had raises nothing: its columns are blank, with the reason.

    Args:
        fashion_clip: `pocket`, or the folder or hub id of a CLIPModel.
        visual: `gradients` (no weights), `dreamsim`, or the folder or hub id of a DINOv2.
        device: where the encoders run, always in float32.
        metrics: names in `METRICS`.

    Raises:
        ConfigError: both are the same model.
    """
    if fashion_clip == visual:
        raise ConfigError(
            f"visual and fashion_clip are both {visual}", "one number in two columns is no second opinion"
        )
    describe, visual_record = _load_visual(visual, device)
    clip = _load_or_explain(fashion_clip, device)
    features = Features(Memo(describe), Memo(clip.embed_image), Memo(clip.embed_text), Memo(palette), Memo(layout))
    seen_by = dict.fromkeys(("visual", "diversity", "drift"), visual_record)
    seen_by |= {"fashion": clip.record, "clip_t": clip.record, "copying": LAYOUT}
    records = {column: seen_by[name] for name in metrics if name in seen_by for column in METRICS[name].columns}
    return Scorer(features, records, metrics)


class _Missing:
    """Stands where an encoder could not be had, and says why whenever it is asked."""

    def __init__(self, source: str, error: ModelError) -> None:
        self.record = EncoderRecord(model=source, reason=str(error))
        self._error = error

    def embed_image(self, picture: Image.Image) -> Vector:
        raise self._error

    def embed_text(self, text: str) -> Vector:
        raise self._error


def _load_visual(source: str, device: str) -> tuple[Callable[[Image.Image], Vector], EncoderRecord]:
    if source == gradients.RECORD.model:
        return gradients.describe, gradients.RECORD
    encoder = _load_or_explain(source, device)
    return encoder.embed_image, encoder.record


def _load_or_explain(source: str, device: str) -> Encoder | _Missing:
    try:
        return load_encoder(source, device)
    except ModelError as error:
        return _Missing(source, error)


def _compute(metric: Metric, metric_input: MetricInput, features: Features) -> tuple[list[Row], dict[str, str]]:
    """(the metric's row for each sample; column → why it is None in some row)."""
    try:
        computed = metric.compute(metric_input, features)
    except DarkroomError as error:
        return [dict.fromkeys(metric.columns) for _ in metric_input.samples], dict.fromkeys(metric.columns, str(error))
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
            "numbers overflowed while drawing: use bf16 or fp32",
        )
