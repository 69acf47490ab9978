"""Runs that train every weight of the denoiser: `train.what` is full or scratch. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator

from shared.config.path_settings import DENOISER, TRAINING_ADAPTER
from shared.config.schema import Config, EvaluationConfig, LoraConfig
from shared.errors import ConfigError

Problem = tuple[str, str]
"""What does not go together, and its cure."""

UNSET = {
    TRAINING_ADAPTER: "a LoRA is trained beside it, and here the model itself changes",
    "evaluation.model": "snapshots hold the denoiser that draws",
    "train.lora_plus_ratio": "there are no A and B matrices",
    "train.text_encoder_learning_rate": "text encoders do not learn",
    "model.blocks_to_swap": "only frozen blocks can wait elsewhere",
    "evaluation.blocks_to_swap": "snapshots could not be loaded into blocks that wait elsewhere",
}
"""Settings that must be as they are without being set → why."""


def is_whole(config: Config) -> bool:
    """Whether the denoiser itself is trained, and snapshots hold all of it."""
    return config.train.what != "lora"


def require(config: Config) -> None:
    """Raises ConfigError with every setting that does not go with `train.what`."""
    found = list(_of_whole(config) if is_whole(config) else _of_lora(config))
    if not found:
        return
    cures = ", ".join(dict.fromkeys(cure for _, cure in found))
    if len(found) == 1:
        raise ConfigError(found[0][0], cures)
    lines = "".join(f"\n       {text}" for text, _ in found)
    raise ConfigError(f'{len(found)} settings do not go with train.what = "{config.train.what}":{lines}', cures)


def _of_lora(config: Config) -> Iterator[Problem]:
    if config.model.denoiser:
        yield f"{DENOISER} is set, and train.what is lora", f'remove {DENOISER}, or set train.what = "scratch"'
    if config.train.snapshot_dtype != "fp32":
        yield (
            f"train.snapshot_dtype is {config.train.snapshot_dtype}, and snapshots of LoRAs hold fp32",
            "remove train.snapshot_dtype: run.py export writes other precisions",
        )


def _of_whole(config: Config) -> Iterator[Problem]:
    what = config.train.what
    if what == "full" and config.model.denoiser:
        yield f"{DENOISER} is set, and train.what is full", f'remove {DENOISER}, or set train.what = "scratch"'
    for name, field in LoraConfig.model_fields.items():
        if (value := getattr(config.lora, name)) != field.get_default(call_default_factory=True):
            yield f"lora.{name} is {value}, and train.what is {what}: there is no LoRA", f"remove lora.{name}"
    for key, why in UNSET.items():
        if value := config.value(key):
            yield f"{key} is {value}, and train.what is {what}: {why}", f"remove {key}"
    if config.model.quantization != "none":
        yield (
            f"model.quantization is {config.model.quantization}, and train.what is {what}: only frozen weights can be "
            "in fewer bits",
            "remove model.quantization",
        )
    usual = EvaluationConfig.model_fields["strengths"].default
    if config.evaluation.strengths not in ((), usual):
        yield (
            f"evaluation.strengths is {list(config.evaluation.strengths)}, and train.what is {what}: only a LoRA has a "
            "strength",
            "remove evaluation.strengths",
        )
    if what == "scratch" and config.evaluation.probes:
        yield (
            f"evaluation.probes is {config.evaluation.probes}, and train.what is scratch: nothing was known before",
            "remove evaluation.probes",
        )
