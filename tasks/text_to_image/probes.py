"""Probe prompts: what the model drew before training, and should still draw the same way.

A LoRA is meant to change what its prompts ask for. What it does to other prompts is its price. `UNRELATED` ask for
something else altogether; `OF_CLASS` for another thing of the subject's kind, without the trigger word. Never imports
torch.
"""

from __future__ import annotations

from typing import Literal

from shared.config.schema import Config
from shared.data.captions import with_article

ProbeKind = Literal["unrelated", "class"]

UNRELATED = (
    "a bowl of fruit on a wooden table",
    "a mountain lake at sunrise",
    "an old car in a narrow street",
    "a dog asleep on a sofa",
    "a lighthouse on a rocky coast",
    "a vase of flowers by a window",
    "a market square in the rain",
    "a steam train on a bridge",
)
OF_CLASS = (
    "a photo of {a_class}",
    "{a_class}, product photo",
    "{a_class} in a garden",
    "a drawing of {a_class}",
    "{a_class} at night",
    "{a_class} in black and white",
    "close-up of {a_class}",
    "{a_class} in front of a wall",
)
"""`{a_class}` is `data.class_word` with its article."""


def probe_prompts(config: Config) -> dict[ProbeKind, dict[str, str]]:
    """Kind → id → prompt; of each kind `evaluation.probes`, and none of the class where its word is not known."""
    count, word = config.evaluation.probes, config.data.class_word.strip()
    texts: dict[ProbeKind, tuple[str, ...]] = {"unrelated": UNRELATED[:count]}
    if word:
        texts["class"] = tuple(text.format(a_class=with_article(word)) for text in OF_CLASS[:count])
    return {
        kind: {f"probe-{kind}:{number}": text for number, text in enumerate(of_kind, 1)}
        for kind, of_kind in texts.items()
        if of_kind
    }
