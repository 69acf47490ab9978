"""What a kind of subject is judged by: `evaluation.profile`. One table, `PROFILES`; the rest knows no profile by name.

What a profile does not name is as a metric's own file says, so a metric that is added later counts in every profile.
Never imports torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.config.schema import Config
from shared.errors import ConfigError, ModelError
from tasks.text_to_image.encoders import face_files

GENERAL_CLIP = "openai/clip-vit-base-patch32"
"""Follows prompts about anything; FashionCLIP knows clothes."""
NO_FACES = "none"
"""`evaluation.face` where no face encoder is wanted."""
FACE_LOSS = "face_loss"
JUDGE_SCORE = "judge_score"
"""The only loss that needs a face encoder."""


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
    least_training_pictures: int = 0
    """With fewer its main loss has no number."""
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


OBJECT = Profile(
    subject="object",
    is_for="one thing: a product, a toy, a vehicle, a building",
    with_reference={
        "patch_loss": 0.6, "subject_loss": 0.2, "visual_loss": 0.1, "color_loss": 0.1, "fashion_clip_loss": 0.0,
    },
    without_reference={"patch_loss": 0.6, "subject_loss": 0.2},
    off=frozenset({"face", "style"}),
    encoders={"evaluation.fashion_clip": GENERAL_CLIP},
)  # fmt: skip

PROFILES = {
    "garment": Profile(
        subject="garment",
        is_for="a piece of clothing: its cut, its pattern and its colours must be right",
        with_reference={"visual_loss": 0.2, "fashion_clip_loss": 0.6, "color_loss": 0.2},
        without_reference={"subject_loss": 1.0},
        off=frozenset({"face", "patches", "style"}),
    ),
    "person": Profile(
        subject="person",
        is_for="one person, who must be recognised in any clothes and any light",
        with_reference={"face_loss": 0.7, "subject_loss": 0.3, "visual_loss": 0.0},
        without_reference={"face_loss": 0.7, "subject_loss": 0.3},
        off=frozenset({"color", "fashion", "patches", "style"}),
        encoders={"evaluation.fashion_clip": GENERAL_CLIP},
    ),
    "character": replace(OBJECT, subject="character", is_for="a drawn, modelled or costumed figure, or an animal"),
    "style": Profile(
        subject="style",
        is_for="a manner of drawing, painting or photographing, whatever is shown",
        with_reference={"style_loss": 1.0, "visual_loss": 0.0},
        without_reference={"style_loss": 1.0},
        off=frozenset({"color", "fashion", "face", "patches", "subject"}),
        least_training_pictures=4,
        encoders={"evaluation.fashion_clip": GENERAL_CLIP},
    ),
    "object": OBJECT,
}


def profile_of(config: Config) -> Profile:
    """That of the run. Without a face encoder (`evaluation.face`), a person is judged by what else there is."""
    profile = PROFILES[config.evaluation.profile]
    return _without_faces(profile) if config.evaluation.face == NO_FACES else profile


def _without_faces(profile: Profile) -> Profile:
    def others(weights: Mapping[str, float]) -> dict[str, float]:
        return {name: weight for name, weight in weights.items() if name != FACE_LOSS}

    return replace(
        profile,
        with_reference=others(profile.with_reference),
        without_reference=others(profile.without_reference),
        off=profile.off | {"face"},
    )


def weights_of(config: Config) -> dict[str, float]:
    """Loss → weight: the profile's, or in its place that of `evaluation.weights`."""
    return {**profile_of(config).weights, **config.evaluation.weights}


def require_profile(name: str) -> None:
    """Check a name that a person gives; empty is none.

    Raises:
        ConfigError: there is no such profile.
    """
    if name and name not in PROFILES:
        raise ConfigError(f"--profile is {name!r}, which is no profile", f"choose one of {', '.join(PROFILES)}")


def notice(config: Config) -> str | None:
    """That a profile is judged without what tells most, where that is so."""
    if FACE_LOSS not in PROFILES[config.evaluation.profile].weights or config.evaluation.face != NO_FACES:
        return None
    return (
        f"evaluation.face is {NO_FACES}, so a {config.evaluation.profile} is judged by the likeness of whole pictures: "
        f"that does not tell one face from another. {face_files.INSTALL} brings the face encoder"
    )


def require(config: Config) -> None:
    """Check the profile's encoder and `evaluation.weights` before a run is created.

    Raises:
        ConfigError: with everything that is wrong.
    """
    _refuse([*_weights_at_fault(config), *_missing_encoder(config)])


def require_pictures(config: Config, num_trained: int) -> None:
    """Check that the profile's main loss has enough training pictures to compare with.

    Raises:
        ConfigError: it has not.
    """
    name = config.evaluation.profile
    least = PROFILES[name].least_training_pictures
    if num_trained < least:
        raise ConfigError(
            f"evaluation.profile = {name} needs {least} pictures that are trained on, {config.data.path} leaves "
            f"{num_trained}",
            "add pictures, hold out fewer (data.num_validation), or choose another profile",
        )


def require_weights(config: Config) -> None:
    """Check `evaluation.weights`.

    Raises:
        ConfigError: with every name that does not count in the run; or some prompts have nothing with a weight.
    """
    _refuse(_weights_at_fault(config))


def _refuse(found: Sequence[tuple[str, str]]) -> None:
    """found: problems with their cures."""
    if found:
        problems, cures = zip(*found, strict=True)
        raise ConfigError("\n       ".join(problems), "; ".join(dict.fromkeys(cures)))


def _missing_encoder(config: Config) -> Iterator[tuple[str, str]]:
    if FACE_LOSS not in profile_of(config).weights:
        return
    try:
        face_files.locate()
    except ModelError as error:
        cure = f"{error.hint}, or set evaluation.face={NO_FACES}: then the likeness of whole pictures counts alone"
        yield f"evaluation.profile is {config.evaluation.profile}: {error}", cure


def _weights_at_fault(config: Config) -> list[tuple[str, str]]:
    profile, weights, given = profile_of(config), weights_of(config), config.evaluation.weights
    groups = [
        profile.with_reference if config.data.num_validation else {},
        profile.without_reference if config.evaluation.prompts else {},
    ]
    counted = list(dict.fromkeys(name for group in groups for name in group))
    counted += [JUDGE_SCORE] if config.evaluation.judge else []  # it counts for every prompt, once votes agree with it
    problems = [_refusal(name, profile, config.evaluation.profile) for name in given if name not in counted]
    if not problems and any(group and not any(weights[name] for name in group) for group in groups):
        problems = ["evaluation.weights leaves nothing with a weight above 0 for some or all prompts"]
    return [(problem, f"give weights to some of {', '.join(counted)}") for problem in problems]


def _refusal(name: str, profile: Profile, called: str) -> str:
    head = f"evaluation.weights names {name}, which"
    if name in profile.without_reference:
        return f"{head} counts only for prompts of your own (evaluation.prompts)"
    if name in profile.with_reference:
        return f"{head} compares with held-out pictures (data.num_validation)"
    if name == JUDGE_SCORE:
        return f"{head} a model gives that judges (evaluation.judge)"
    near = difflib.get_close_matches(name, profile.weights, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"{head} the profile {called} does not weigh{hint}"
