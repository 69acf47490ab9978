"""The encoders of a run, loaded once, and what they say of samples against references."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from evaluator.encoders import Encoder, EncoderRecord, Vector, load_encoder
from evaluator.metrics import DEFAULT_METRICS, METRICS, Row, gradients
from evaluator.metrics.features import Features, Memo
from evaluator.metrics.palette import palette
from shared.errors import ConfigError, ModelError

NOT_FINITE = "the computation gave no finite number"


@dataclass(frozen=True)
class Scores:
    """The numbers of one evaluation."""

    rows: list[Row]
    """One for each sample, in order; every row has every column."""
    blanks: dict[str, str]
    """Column → why it is None in some row."""


@dataclass(frozen=True)
class Scorer:
    """Scores samples against references, and remembers what the encoders said of the references."""

    features: Features
    encoders: dict[str, EncoderRecord]
    """Column → the encoder behind it. The colour columns have none."""
    metrics: tuple[str, ...] = DEFAULT_METRICS
    """Names in `METRICS`, in the order of the columns."""

    def score(
        self, references: Sequence[Image.Image], samples: Sequence[Image.Image], prompts: Sequence[str]
    ) -> Scores:
        """Every metric of every sample. All three are of one length and paired by position.

        Raises:
            ModelError: a sample is all black: whoever drew it has failed, and no number may hide that.
        """
        if not len(references) == len(samples) == len(prompts):
            raise ValueError(f"{len(references)} references, {len(samples)} samples and {len(prompts)} prompts")
        _refuse_black(samples)
        rows: list[Row] = [{} for _ in samples]
        blanks: dict[str, str] = {}
        for compute, columns in (METRICS[name] for name in self.metrics):
            try:
                computed = compute(references, samples, prompts, self.features)
            except ModelError as error:
                computed = [dict.fromkeys(columns) for _ in samples]
                blanks |= dict.fromkeys(columns, str(error))
            for row, values in zip(rows, computed, strict=True):
                row |= {column: _finite(value) for column, value in values.items()}
        unexplained = {column for row in rows for column, value in row.items() if value is None} - blanks.keys()
        return Scores(rows, blanks | dict.fromkeys(sorted(unexplained), NOT_FINITE))


def load_scorer(
    fashion_clip: str, visual: str = "gradients", device: str = "cpu", metrics: tuple[str, ...] = DEFAULT_METRICS
) -> Scorer:
    """Load the encoders of a run. One that cannot be had raises nothing: its columns are blank, with the reason.

    Args:
        fashion_clip: `pocket`, or the folder or hub id of a CLIPModel.
        visual: `gradients` (no weights), or the folder or hub id of a DINOv2.
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
    features = Features(Memo(describe), Memo(clip.embed_image), Memo(clip.embed_text), Memo(palette))
    records = dict.fromkeys(METRICS["fashion"].columns + METRICS["clip_t"].columns, clip.record)
    records |= dict.fromkeys(METRICS["visual"].columns, visual_record)
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


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _refuse_black(samples: Sequence[Image.Image]) -> None:
    black = [number for number, sample in enumerate(samples) if not sample.convert("RGB").getbbox()]
    if black:
        raise ModelError(
            f"{len(black)} of {len(samples)} samples are all black, first number {black[0]}",
            "numbers overflowed while drawing: use bf16 or fp32",
        )
