"""Whether the flow base may be published: the pocket CLIP must name what its pictures of held-out combinations show."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from diffusers import ZImagePipeline
from transformers import CLIPModel

from pocket.clip import attribute_accuracy
from pocket.garments import SIZE, split_catalogue
from pocket.pictures import save_grid
from pocket.report import generate
from pocket.tokenizer import MAX_LENGTH

LEAST = {"kind": 0.8, "colour": 0.95, "pattern": 0.9}
NUM_ROUNDS = 4
"""How many pictures are drawn of each held-out combination."""
GUIDANCE_SCALE = 3.0
"""As Z-Image's pipeline counts, from 0: 4 elsewhere."""


@dataclass(frozen=True)
class Gate:
    """The shares of pictures whose kind, colour and pattern the CLIP names as the caption does."""

    accuracies: dict[str, float]

    @classmethod
    def measure(cls, pipeline: ZImagePipeline, clip: CLIPModel, picture: Path, num_rounds: int = NUM_ROUNDS) -> Self:
        """Draws held-out combinations; the first 32 go into `picture`."""
        garments = split_catalogue()[1] * num_rounds
        settings: dict[str, int] = {"height": SIZE, "width": SIZE, "max_sequence_length": MAX_LENGTH}
        drawn = generate(pipeline, garments, 0, guidance_scale=GUIDANCE_SCALE, **settings)
        save_grid(drawn[:32].split(8), picture)
        return cls(attribute_accuracy(clip, pipeline.tokenizer, drawn, garments))

    @property
    def passed(self) -> bool:
        """All of `LEAST` are reached."""
        return all(self.accuracies[name] >= least for name, least in LEAST.items())

    @property
    def text(self) -> str:
        """One line for the terminal."""
        measured = ", ".join(f"{name} {self.accuracies[name]:.1%} of {least:.0%}" for name, least in LEAST.items())
        return f"{'passed' if self.passed else 'not passed'}: {measured}"
