"""The metrics of run folders that were evaluated before the evaluator published `metrics.json`.

History: it is not edited when a metric changes. Every other place reads what the run itself says.
"""

from __future__ import annotations

from shared.run_folder.metric_descriptions import (
    Column,
    Guard,
    MetricDescription,
    MetricDescriptions,
    Ratio,
    Sign,
)


def _loss(name: str, label: str, aspect: str, weight: float, meaning: str) -> Column:
    return Column(
        name=name,
        label=label,
        aspect=aspect,
        meaning=meaning,
        direction="lower",
        role="loss",
        weight=weight,
        leading=True,
    )


def _recorded(name: str) -> Column:
    return Column(name=name, meaning="kept with each picture", direction="none", role="recorded")


OLDER_METRICS = MetricDescriptions(
    metrics=(
        MetricDescription(
            name="visual",
            needs=("references",),
            columns=(_loss("visual_loss", "visual loss", "look", 0.2, "how unlike the reference the picture looks"),),
        ),
        MetricDescription(
            name="fashion",
            needs=("references",),
            columns=(
                _loss(
                    "fashion_clip_loss", "fashion CLIP loss", "garment", 0.6, "how unlike the reference the garment is"
                ),
            ),
        ),
        MetricDescription(
            name="color",
            needs=("references",),
            columns=(
                _loss(
                    "color_loss", "color loss", "colour", 0.2, "how far the garment's colors are from the reference's"
                ),
                Column(
                    name="color_de00",
                    meaning="the same in CIEDE2000 units",
                    direction="lower",
                    role="listed",
                    unit="ΔE",
                ),
                _recorded("mask_fallback"),
            ),
        ),
        MetricDescription(
            name="clip_t",
            needs=("prompts",),
            columns=(
                Column(
                    name="clip_t",
                    label="CLIP text score",
                    aspect="following the prompt",
                    meaning="how well the picture follows its prompt",
                    direction="higher",
                    role="guard",
                    guard=Guard(real="clip_t_real", fallen="follows its prompts less than the base model does"),
                ),
                _recorded("clip_t_real"),
            ),
        ),
        MetricDescription(
            name="diversity",
            needs=("seeds",),
            columns=(
                _recorded("seed_distance"),
                Column(
                    name="diversity",
                    meaning="1 for the base model; lower means less variety",
                    direction="higher",
                    role="overfitting",
                    ratio=Ratio(of="seed_distance", over="seed_distance", at_step_0=True),
                    sign=Sign(
                        name="diversity",
                        limit=0.5,
                        evidence="pictures of one prompt differ {value} as much as the base model's; a sign if the "
                        "whole interval is under {limit}",
                        unknown="no prompt has two pictures: see evaluation.num_seeds",
                    ),
                ),
            ),
        ),
        MetricDescription(
            name="copying",
            needs=("references", "training"),
            columns=(
                Column(
                    name="copy_max",
                    label="similarity to the nearest training picture",
                    meaning="lower is better",
                    direction="lower",
                    role="shown",
                ),
                _recorded("nn_train"),
                _recorded("nn_real"),
                Column(
                    name="nn_ratio",
                    label="copying ratio",
                    meaning="1 for held-out pictures; lower means copying",
                    direction="higher",
                    role="overfitting",
                    ratio=Ratio(of="nn_train", over="nn_real"),
                    sign=Sign(
                        name="copying",
                        limit=0.8,
                        evidence="the nearest training picture is {value} as far away as the nearest of as many "
                        "held-out ones; a sign if the whole interval is under {limit}",
                        unknown="the training pictures could not be compared",
                    ),
                ),
            ),
        ),
        MetricDescription(
            name="drift",
            needs=("base",),
            columns=(
                Column(name="drift", meaning="distance to the base model's pictures", direction="none", role="shown"),
            ),
        ),
    )
)
