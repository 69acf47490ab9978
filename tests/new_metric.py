"""A metric that the project does not have, as a stranger would add it: one file. And the names of those it has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.run_folder.metric_descriptions import MetricDescriptions
from tasks.text_to_image import metrics

SHIPPED = (
    "visual", "fashion", "color", "face", "patches", "subject", "style", "kept", "clip_t", "shuffled_captions",
    "diversity", "copying", "drift", "prior", "class_prior", "artefacts", "legacy",
)  # fmt: skip
"""In the order of their columns. Only these are held translated, and a file that somebody adds fails no test."""

SOURCE = '''
"""`exposure`: is the sample as bright as its reference?"""

import numpy as np

from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.scoring.features import Extractor
from tasks.text_to_image.scoring.metric import Metric


def mean_lightness(encoders):
    return Extractor(lambda picture: float(np.asarray(picture.convert("L")).mean()) / 2.55)


def exposure(metric_input, features):
    look = features[mean_lightness]
    pairs = zip(look(metric_input.references), look(metric_input.samples), strict=True)
    return [
        {"exposure": 100 - abs(reference - sample), "lightness": sample}
        for reference, sample in pairs
    ]


METRIC = Metric(
    name="exposure",
    order=25,
    columns=(
        Column(
            name="exposure",
            label="equal exposure",
            meaning="100 is as bright as the reference",
            direction="higher",
            role="loss",
            weight=0.5,
            unit="%",
            decimals=1,
        ),
        Column(name="lightness", meaning="of the whole picture", direction="none", role="shown", unit="%"),
    ),
    compute=exposure,
    needs=("references",),
    features=(mean_lightness,),
)
'''


@contextmanager
def new_metric(folder: Path, source: str = SOURCE, name: str = "exposure") -> Iterator[MetricDescriptions]:
    """The file `name`.py lies beside the project's own; gives what an evaluator publishes then."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    metrics.__path__.append(str(folder))
    metrics.all_metrics.cache_clear()
    try:
        yield metrics.descriptions()
    finally:
        metrics.__path__.remove(str(folder))
        metrics.all_metrics.cache_clear()
        sys.modules.pop(f"{metrics.__name__}.{name}", None)


def descriptions_of(*names: str) -> MetricDescriptions:
    """What an evaluator publishes if there are no other metrics than these."""
    return MetricDescriptions(
        metrics=tuple(metric for metric in metrics.descriptions().metrics if metric.name in names)
    )
