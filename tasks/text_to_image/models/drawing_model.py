"""The base model that pictures are drawn with, where `evaluation.model` names another than the one that learns.

A LoRA trained on a raw base is often used on one that was distilled or tuned from it. It must be of the same family,
and its modules must have the shapes that the LoRA was made for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shared.config.schema import Config, ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.models import base_model, external_vae, memory
from tasks.text_to_image.models.memory import ModelShapes

KEY = "evaluation.model"


def settings(config: Config) -> ModelConfig:
    """What is loaded to draw with: as its own files describe it; the training's own settings where it is the same."""
    named = config.evaluation.model
    if named is None:
        return config.model
    path, revision = _split(named)
    return ModelConfig(path=path, revision=revision, clip_skip=config.model.clip_skip)


def sentences(config: Config) -> list[str]:
    """For the terminal, where another model draws than learns."""
    named = config.evaluation.model
    if named is None:
        return []
    return [
        f"pictures are drawn with {named} ({KEY}), and {config.model.path} learns: step 0 is the model that draws, and "
        "the verdict holds for it"
    ]


def pinned(config: Config, identity: Mapping[str, str]) -> ModelConfig:
    """The settings that load the very commit that `run.json` names."""
    if config.evaluation.model is None:
        return external_vae.pinned(config.model, identity)
    commit = identity.get("evaluation_commit")
    found = settings(config)
    return found.model_copy(update={"revision": commit}) if commit else found


def identify(config: Config) -> dict[str, str]:
    """The commit of a hub id, for `run.json`; nothing where it lies on this disk, or is the model that learns.

    Raises:
        ModelError: it is no model, not there, or does not fit the LoRA.
    """
    if config.evaluation.model is None:
        return {}
    path, revision = _split(config.evaluation.model)
    try:
        found = base_model.identify(path, revision=revision)
    except ModelError as error:
        told = str(error).replace("model.path", KEY)
        raise ModelError(told if KEY in told else f"{KEY} is {path}: {error}", error.hint) from None
    _require_fitting(config)
    return {"evaluation_commit": found["commit"]} if "commit" in found else {}


def _require_fitting(config: Config) -> None:
    """What is not downloaded yet is checked when it is loaded."""
    own, other = (
        memory.read_shapes(model.path, revision=model.revision, variant=model.variant)
        for model in (config.model, settings(config))
    )
    if own is None or other is None:
        return
    if not other.family.takes_loras_of(own.family):
        raise ModelError(
            f"{KEY} {config.evaluation.model} is of the family {other.family.name}, and {config.model.path}, which "
            f"learns, of {own.family.name}",
            f"choose a model of the family {own.family.name} in {KEY}, or remove it",
        )
    if config.data.sources == "files" and other.family.most_sources == 0:
        raise ModelError(
            f"{KEY} {config.evaluation.model} draws from a text alone, and data.sources is files",
            f"choose an edit model in {KEY}, or remove it",
        )
    if config.data.sources == "off" and not other.family.draws_from_text:
        raise ModelError(
            f"{KEY} {config.evaluation.model} draws from sources only, and data.sources is off",
            f"choose a model in {KEY} that draws from a text, or remove it",
        )
    if _shapes(own, config, other) != _shapes(other, config, own):
        raise ModelError(
            f"{KEY} {config.evaluation.model} has modules of other shapes than {config.model.path}: a LoRA of one does "
            "not fit the other",
            f"choose a model in {KEY} that was tuned or distilled from {config.model.path}, or remove it",
        )


def _shapes(model: ModelShapes, config: Config, beside: ModelShapes) -> list[tuple[int, ...]]:
    """Of the modules that get an adapter. Text encoders are compared where both models name their modules alike."""
    with_text = config.lora.text_encoder and memory.is_single_file(model) == memory.is_single_file(beside)
    return memory.adapted_shapes(model, config.lora, with_text_encoders=with_text)


def _split(named: str) -> tuple[str, str | None]:
    """(path or hub id, revision of a hub id)."""
    if Path(named).exists():
        return named, None
    path, _, revision = named.partition("@")
    return path, revision or None
