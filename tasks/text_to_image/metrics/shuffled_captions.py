"""`clip_t_shuffled`: what the real pictures score with the captions of others; the zero of the text guard's scale.

`clip_t` has no scale of its own: CLIP gives 0.3 to a picture and its caption, and 0.2 to any other. The guard's unit is
the difference between the two on this run's real pictures. For prompts without a real picture, the base model's
pictures of them stand in.
"""

from __future__ import annotations

import numpy as np

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.scoring.features import Features, clip_picture, clip_text
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

MIN_CAPTIONS = 4
MIN_DIFFERENCE = 0.01
"""Between own and other captions, cosine: below it the encoder does not know what the captions speak of."""


def clip_t_shuffled(metric_input: MetricInput, features: Features) -> list[Row]:
    """Mean cosine of each sample's reference, or the base model's picture in its place, with every other caption, −1…1.

    Raises:
        ModelError: step 0 has no pictures to stand in; there are too few different captions; or the encoder cannot tell
            a picture's own from the others.
    """
    captions = sorted({prompt for prompt in metric_input.prompts if prompt})
    if len(captions) < MIN_CAPTIONS:
        count = "1 caption does" if len(captions) == 1 else f"{len(captions)} different captions do"
        raise ModelError(f"{count} not tell how well pictures can follow them")
    pictures = metric_input.references or metric_input.base
    if not pictures:
        raise ModelError("step 0 has no pictures to compare with the prompts")
    texts_ND = np.stack(features[clip_text](captions)).astype(np.float64)
    scores_MN = np.stack(features[clip_picture](pictures)).astype(np.float64) @ texts_ND.T
    is_own_MN = np.array([[caption == prompt for caption in captions] for prompt in metric_input.prompts])
    others_M = np.where(is_own_MN, 0.0, scores_MN).sum(axis=1) / (~is_own_MN).sum(axis=1)
    if scores_MN[is_own_MN].mean() - others_M.mean() < MIN_DIFFERENCE:
        whose = "real" if metric_input.references else "base model's"
        raise ModelError(f"to this CLIP the {whose} pictures fit others' captions as well as their own")
    return [{"clip_t_shuffled": float(score)} for score in others_M]


METRIC = Metric(
    name="shuffled_captions",
    order=45,
    columns=(
        Column(
            name="clip_t_shuffled",
            meaning="how well the reference follows the other prompts",
            direction="none",
            role="recorded",
        ),
    ),
    compute=clip_t_shuffled,
    needs=("references", "prompts"),
    instead_of_references=("base",),
    features=(clip_picture, clip_text),
)
