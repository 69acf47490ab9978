"""`clip_t`: does the sample still show what the prompt says? A guard against a LoRA that draws one thing for all."""

from __future__ import annotations

from shared.run_folder.metric_descriptions import Column, Guard
from tasks.text_to_image.scoring.features import Features, clip_picture, clip_text, cosines
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row


def clip_t(metric_input: MetricInput, features: Features) -> list[Row]:
    """Cosine of picture and prompt in the fashion CLIP's space, −1…1, higher follows better; blank without a prompt.

    `clip_t`: of the sample. Typical values are low (0.2 to 0.35 for CLIP ViT-B): only differences mean something.
    `clip_t_real`: of the reference. A CLIP that has never met the concept gives the true picture little, and no sample
    can be asked for more. Absent where there are no references.
    """
    look, texts = features[clip_picture], features[clip_text](metric_input.prompts)
    columns = {"clip_t": cosines(look(metric_input.samples), texts)}
    if metric_input.references:
        columns["clip_t_real"] = cosines(look(metric_input.references), texts)
    return [
        {column: values[number] if prompt else None for column, values in columns.items()}
        for number, prompt in enumerate(metric_input.prompts)
    ]


METRIC = Metric(
    name="clip_t",
    order=40,
    columns=(
        Column(
            name="clip_t",
            span=2.0,
            label="CLIP text score",
            aspect="following the prompt",
            meaning="how well the picture follows its prompt",
            direction="higher",
            role="guard",
            guard=Guard(
                real="clip_t_real",
                shuffled="clip_t_shuffled",
                fallen="follows its prompts less than the base model does",
            ),
        ),
        Column(
            name="clip_t_real",
            meaning="how well the reference follows the prompt",
            direction="none",
            role="recorded",
        ),
    ),
    compute=clip_t,
    needs=("prompts",),
    features=(clip_picture, clip_text),
    missing_reason="there is no prompt",
)
