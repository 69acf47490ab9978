"""`judge_score`: what a local vision-language model answers to a short checklist, for `evaluation.judge`.

It may be wrong about a subject, or about pictures of this kind. So it counts only once people's votes agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.scoring.features import Captioned, Extractor, Features
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

QUESTIONS = (
    "Does the picture show the subject of the description?",
    "Are all pieces and parts that the description names there?",
    "Are the colours those of the description?",
    "Is every logo, pattern or text that is visible drawn cleanly?",
    "Do all visible hands and faces look natural, or are none visible?",
    "Is the picture free of blur, doubled parts and other artefacts?",
)
"""In place of `evaluation.judge_questions`. Yes is always the good answer."""


def checklist(encoders: Encoders) -> Extractor[Captioned, float]:
    """A picture and its prompt → mean probability of yes over the questions, 0…1."""
    judge, questions = encoders.judge(), encoders.judge_questions or QUESTIONS

    def score(item: tuple[Image.Image, str]) -> float:
        picture, prompt = item
        return sum(judge.sureness(picture, prompt, question) for question in questions) / len(questions)

    return Extractor(score, judge.record)


def judge(metric_input: MetricInput, features: Features) -> Sequence[Row]:
    """How well each sample passes the checklist."""
    items = list(zip(metric_input.samples, metric_input.prompts, strict=True))
    return [{"judge_score": score} for score in features[checklist](items)]


METRIC = Metric(
    name="judge",
    order=37,
    columns=(
        Column(
            name="judge_score",
            span=1.0,
            label="model judge",
            aspect="model judge",
            meaning="1: a vision-language model answers yes to every question of the checklist",
            direction="higher",
            role="loss",
            weight=0.5,
            everywhere=True,
            needs_votes=True,
        ),
    ),
    compute=judge,
    needs=("prompts",),
    features=(checklist,),
    setting="judge",
)
