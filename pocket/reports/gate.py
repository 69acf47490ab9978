"""Whether the flow base may be published: the pocket CLIP must name what its pictures of held-out combinations show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from diffusers import ZImagePipeline
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from pocket.lessons.garments import SIZE, Garment, split_catalogue
from pocket.reports.report import generate
from pocket.tokenizer import MAX_LENGTH
from pocket.training.clip import attribute_accuracy

LEAST = {"kind": 0.8, "colour": 0.95, "pattern": 0.9}
NUM_ROUNDS = 4
"""How many pictures are drawn of each held-out combination."""
GUIDANCE_SCALE = 2.0
"""As Z-Image's pipeline counts, from 0: 3 elsewhere. `FLOW.md` says how it was chosen."""


def prompted() -> list[Garment]:
    """What is drawn for the gate, in order."""
    return split_catalogue()[1] * NUM_ROUNDS


def draw(pipeline: ZImagePipeline, garments: Sequence[Garment]) -> Tensor:
    """One picture of each, uint8 (B, 3, H, W), as the gate measures them."""
    settings: dict[str, int] = {"height": SIZE, "width": SIZE, "max_sequence_length": MAX_LENGTH}
    return generate(pipeline, garments, first_seed=0, guidance_scale=GUIDANCE_SCALE, **settings)


@dataclass(frozen=True)
class Gate:
    """The shares of pictures whose kind, colour and pattern the CLIP names as the caption does."""

    accuracies: dict[str, float]

    @classmethod
    def measure(
        cls, drawn_BCHW: Tensor, garments: Sequence[Garment], clip: CLIPModel, tokenizer: CLIPTokenizer
    ) -> Self:
        """Of pictures that `draw` has drawn."""
        return cls(attribute_accuracy(clip, tokenizer, drawn_BCHW, garments))

    @property
    def passed(self) -> bool:
        """All of `LEAST` are reached."""
        return all(self.accuracies[name] >= least for name, least in LEAST.items())

    @property
    def text(self) -> str:
        """One line for the terminal."""
        measured = ", ".join(f"{name} {self.accuracies[name]:.1%} of {least:.0%}" for name, least in LEAST.items())
        return f"{'passed' if self.passed else 'not passed'}: {measured}"
