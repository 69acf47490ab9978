"""What a kind of subject is judged by: `evaluation.profile`. One table, `PROFILES`; the rest knows no profile by name.

What a profile does not name is as a metric's own file says, so a metric that is added later counts in every profile.
Never imports torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from shared.config.schema import Config
from shared.errors import ConfigError

GENERAL_CLIP = "openai/clip-vit-base-patch32"
"""Follows prompts about anything; FashionCLIP knows clothes."""


@dataclass(frozen=True)
class Profile:
    """How snapshots of one kind of subject are judged. Weights are of losses in the composite; 0: compared with the
    base model, but not weighed.
    """

    subject: str
    """What texts call it."""
    is_for: str
    """When to choose it."""
    with_reference: Mapping[str, float]
    """Weights for prompts that have a real picture."""
    without_reference: Mapping[str, float]
    """Weights for prompts that have none. A loss that is in both has one weight."""
    off: frozenset[str] = frozenset()
    """Metrics that are not computed."""
    encoders: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings that `init` proposes for it."""

    @property
    def weights(self) -> dict[str, float]:
        """Of all losses."""
        return {**self.with_reference, **self.without_reference}

    @property
    def everywhere(self) -> Collection[str]:
        """Losses that count for every prompt."""
        return self.with_reference.keys() & self.without_reference.keys()


PROFILES = {
    "garment": Profile(
        subject="garment",
        is_for="a piece of clothing: its cut, its pattern and its colours must be right",
        with_reference={"visual_loss": 0.2, "fashion_clip_loss": 0.6, "color_loss": 0.2},
        without_reference={"subject_loss": 1.0},
    ),
    "person": Profile(
        subject="person",
        is_for="one person, who must be recognised in any clothes and any light",
        with_reference={"subject_loss": 1.0, "visual_loss": 0.0, "fashion_clip_loss": 0.0},
        without_reference={"subject_loss": 1.0},
        off=frozenset({"color"}),
        encoders={"evaluation.fashion_clip": GENERAL_CLIP},
    ),
    "character": Profile(
        subject="character",
        is_for="a drawn, modelled or costumed figure, or an animal",
        with_reference={"subject_loss": 0.8, "visual_loss": 0.1, "color_loss": 0.1, "fashion_clip_loss": 0.0},
        without_reference={"subject_loss": 0.8},
        encoders={"evaluation.fashion_clip": GENERAL_CLIP},
    ),
    "style": Profile(
        subject="style",
        is_for="a manner of drawing, painting or photographing, whatever is shown",
        with_reference={"subject_loss": 1.0, "visual_loss": 0.0, "fashion_clip_loss": 0.0},
        without_reference={"subject_loss": 1.0},
        off=frozenset({"color"}),
        encoders={"evaluation.fashion_clip": GENERAL_CLIP},
    ),
    "object": Profile(
        subject="object",
        is_for="one thing: a product, a toy, a vehicle, a building",
        with_reference={"subject_loss": 0.8, "visual_loss": 0.1, "color_loss": 0.1, "fashion_clip_loss": 0.0},
        without_reference={"subject_loss": 0.8},
        encoders={"evaluation.fashion_clip": GENERAL_CLIP},
    ),
}


def profile_of(config: Config) -> Profile:
    """That of the run."""
    return PROFILES[config.evaluation.profile]


def weights_of(config: Config) -> dict[str, float]:
    """Loss → weight: the profile's, or in its place that of `evaluation.weights`."""
    return {**profile_of(config).weights, **config.evaluation.weights}


def require_weights(config: Config) -> None:
    """Check `evaluation.weights`.

    Raises:
        ConfigError: with every name that does not count in the run; or some prompts have nothing with a weight.
    """
    profile, weights, given = profile_of(config), weights_of(config), config.evaluation.weights
    groups = [
        profile.with_reference if config.data.num_validation else {},
        profile.without_reference if config.evaluation.prompts else {},
    ]
    counted = list(dict.fromkeys(name for group in groups for name in group))
    problems = [_refusal(name, profile, config.evaluation.profile) for name in given if name not in counted]
    if not problems and any(group and not any(weights[name] for name in group) for group in groups):
        problems = ["evaluation.weights leaves nothing with a weight above 0 for some or all prompts"]
    if problems:
        raise ConfigError("\n       ".join(problems), f"give weights to some of {', '.join(counted)}")


def _refusal(name: str, profile: Profile, called: str) -> str:
    head = f"evaluation.weights names {name}, which"
    if name in profile.without_reference:
        return f"{head} counts only for prompts of your own (evaluation.prompts)"
    if name in profile.with_reference:
        return f"{head} compares with held-out pictures (data.num_validation)"
    near = difflib.get_close_matches(name, profile.weights, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"{head} the profile {called} does not weigh{hint}"
