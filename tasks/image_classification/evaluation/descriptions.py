"""What the numbers of this task mean."""

from __future__ import annotations

from typing import Any

from shared.config.schema import Config
from shared.errors import ConfigError
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions, Words
from tasks.image_classification.figures import NUM_BINS

WHOLE: dict[str, Any] = {"direction": "higher", "role": "shown", "of_whole": True}
ACCURACY = Column(
    name="accuracy",
    meaning="share of held-out pictures whose class is named first",
    direction="higher",
    role="loss",
    weight=0.5,
    span=1.0,
    leading=True,
)
BRIER = Column(
    name="brier_score",
    label="Brier score",
    meaning="squared distance of the probabilities from the truth (Brier 1950); 0 is sure and right, 2 sure and wrong",
    aspect="probabilities",
    direction="lower",
    role="loss",
    weight=0.5,
    span=2.0,
    leading=True,
)
CROSS_ENTROPY = Column(
    name="cross_entropy",
    label="cross-entropy",
    meaning="minus the logarithm of the probability of the true class",
    direction="lower",
    role="compared",
)
CONFIDENCE = Column(
    name="confidence",
    meaning="probability of the class that is named first",
    direction="none",
    role="listed",
)
OF_CLASSES = (
    Column(name="precision", meaning="of all named a class, the share that is of it; mean over classes", **WHOLE),
    Column(name="recall", meaning="of all of a class, the share that was named so; mean over classes", **WHOLE),
    Column(
        name="f1_score",
        label="F1 score",
        meaning="harmonic mean of the two, for each class; mean over classes",
        **WHOLE,
    ),
)
CALIBRATION = Column(
    name="calibration_error",
    meaning=f"how far confidence is from the share of right answers, over {NUM_BINS} bins of equal width",
    direction="lower",
    role="shown",
    of_whole=True,
)
WORDS = Words(prompt="picture", pair="held-out picture", sample="picture", base="the network before training")


def descriptions(config: Config) -> MetricDescriptions:
    """Of every run.

    Raises:
        ConfigError: `evaluation.weights` names another column.
    """
    found = MetricDescriptions(
        metrics=(
            MetricDescription(name="accuracy", needs=("references",), columns=(ACCURACY,)),
            MetricDescription(name="probabilities", needs=("references",), columns=(BRIER, CROSS_ENTROPY, CONFIDENCE)),
            MetricDescription(name="classes", needs=("references",), columns=OF_CLASSES),
            MetricDescription(name="calibration", needs=("references",), columns=(CALIBRATION,)),
        ),
        words=WORDS,
    )
    try:
        return found.weighed(config.evaluation.weights)
    except KeyError as error:
        able = ", ".join(column.name for column in found.weighable)
        raise ConfigError(
            f"evaluation.weights has {error.args[0]}, which cannot be weighed", f"weigh some of {able}"
        ) from None
