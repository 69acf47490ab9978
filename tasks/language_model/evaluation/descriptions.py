"""What the numbers of this task mean."""

from __future__ import annotations

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.errors import ConfigError
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions, Words
from tasks.language_model.settings import Settings

NLL = Column(
    name="nll",
    label="held-out loss",
    meaning="−log p of each token of the expected answer, natural logarithm; mean over tokens, then over examples",
    direction="lower",
    role="loss",
    weight=1.0,
    leading=True,
)
EXACT = Column(
    name="exact_match",
    meaning="share of answers that are the expected text, give or take spaces around it",
    direction="higher",
    role="compared",
    span=1.0,
    leading=True,
)
SIMILARITY = Column(
    name="similarity",
    meaning="how much of answer and expected text agrees, letter by letter in order (Ratcliff and Obershelp, by "
    "Python's difflib): 0 nothing, 1 all",
    direction="higher",
    role="compared",
    span=1.0,
)
SYNTAX = Column(
    name="valid_syntax",
    meaning="share of answers that Python can parse; nothing is run",
    direction="higher",
    role="compared",
    span=1.0,
)
LENGTH = Column(name="answer_tokens", meaning="tokens of an answer", direction="none", role="listed", decimals=1)
PERPLEXITY = Column(
    name="perplexity",
    meaning="e to the mean loss over all tokens of the held-out answers: among how many tokens the model chooses",
    direction="lower",
    role="shown",
    of_whole=True,
)
WORDS = Words(prompt="example", pair="held-out example", sample="answer", base="the base model")


def descriptions(config: Config) -> MetricDescriptions:
    """Of every run.

    Raises:
        ConfigError: `evaluation.weights` names another column.
    """
    answers = (EXACT, SIMILARITY, *((SYNTAX,) if own_settings(config, Settings).syntax == "python" else ()), LENGTH)
    found = MetricDescriptions(
        metrics=(
            MetricDescription(name="loss", needs=("references",), columns=(NLL, PERPLEXITY)),
            MetricDescription(name="answers", needs=("references",), columns=answers),
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
