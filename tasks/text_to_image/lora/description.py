"""The description in a LoRA file's header: Stability's model specification 1.0.1, and kohya's `ss_…` names.

The tools of ComfyUI, A1111 and Civitai read both. Nothing in it depends on the time or the machine: equal runs give
equal files.
"""

from __future__ import annotations

import json
from pathlib import Path

from shared.config.schema import Config
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models.tokens import MAX_TOKEN_LENGTH
from tasks.text_to_image.objectives.objective import Objective

Description = dict[str, str]

SPECIFICATION = "1.0.1"
DIFFUSERS = "diffusers"
VERSION = "ss_base_model_version"
"""Key of kohya's name of the family: some families share an architecture."""


def describe(config: Config, family: Family, objective: Objective, num_pictures: int, step: int) -> Description:
    """The description of the snapshot of a step. num_pictures: training pictures, each counted once."""
    return {
        **_specification(config, num_pictures, step),
        "ss_sd_model_name": base_model_name(config),
        **family.header(objective.prediction_type),
        **_training(config, num_pictures, step),
        **objective.header(config.train),
        **({"ss_guidance_scale": f"{config.train.guidance_scale:g}"} if family.embeds_guidance else {}),
        **_captions(config),
        **_trigger_word(config, num_pictures),
    }


def family_of(description: Description) -> Family | None:
    """The family that a file names; None: it names none."""
    architecture = description.get("modelspec.architecture", "").removesuffix("/lora")
    version = description.get(VERSION)
    alike = [family for family in FAMILIES.values() if architecture in family.architectures.values()]
    exact = (family for family in alike for told in family.architectures if family.header(told)[VERSION] == version)
    return next(exact, next(iter(alike), None))


def network(rank: int, alpha: float, conv_rank: int, conv_alpha: float) -> Description:
    """Rank and alpha, and those of convolutions with a kernel larger than 1 if they differ."""
    entries = {"ss_network_dim": str(rank), "ss_network_alpha": f"{alpha:g}"}
    if (conv_rank, conv_alpha) != (rank, alpha):
        entries["ss_network_args"] = json.dumps({"conv_dim": str(conv_rank), "conv_alpha": f"{conv_alpha:g}"})
    return entries


def base_model_name(config: Config) -> str:
    """The hub id, or the last part of a local path: the file should not reveal folders of this machine."""
    path = Path(config.model.path)
    return path.name if path.is_absolute() else config.model.path


def _specification(config: Config, num_pictures: int, step: int) -> Description:
    side, train, lora = config.data.resolution, config.train, config.lora
    entries = {
        "modelspec.sai_model_spec": SPECIFICATION,
        "modelspec.implementation": DIFFUSERS,
        "modelspec.title": f"{config.run.name} step {step}",
        "modelspec.description": f"LoRA of rank {lora.rank} and alpha {lora.lora_alpha} for {base_model_name(config)}, "
        f"{step} steps on {num_pictures} pictures, trained with Darkroom",
        "modelspec.resolution": f"{side}x{side}",
    }
    if (train.min_timestep, train.max_timestep) != (0, 999):
        entries["modelspec.timestep_range"] = f"{train.min_timestep},{train.max_timestep}"
    return entries


def _captions(config: Config) -> Description:
    """How captions were varied and encoded, if it differs from what readers assume."""
    entries: Description = {}
    if config.data.max_token_length != MAX_TOKEN_LENGTH:
        entries["ss_max_token_length"] = str(config.data.max_token_length)
    if config.model.clip_skip > 1:
        entries["ss_clip_skip"] = str(config.model.clip_skip)
    if config.data.tag_dropout:
        entries["ss_caption_tag_dropout_rate"] = str(config.data.tag_dropout)
    return entries


def _training(config: Config, num_pictures: int, step: int) -> Description:
    train, lora, data = config.train, config.lora, config.data
    return {
        "ss_output_name": str(config.run.name),
        "ss_network_module": "networks.lora",
        **network(*lora.rank_and_alpha(convolution=False), *lora.rank_and_alpha(convolution=True)),
        "ss_network_dropout": str(lora.dropout),
        "ss_num_train_images": str(num_pictures),
        "ss_steps": str(step),
        "ss_max_train_steps": str(train.max_train_steps),
        "ss_batch_size_per_device": str(train.train_batch_size),
        "ss_gradient_accumulation_steps": str(train.gradient_accumulation_steps),
        "ss_optimizer": train.optimizer,
        "ss_learning_rate": str(train.learning_rate),
        "ss_lr_scheduler": train.lr_scheduler,
        "ss_resolution": str((data.resolution, data.resolution)),
        "ss_enable_bucket": str(data.buckets),
        "ss_caption_dropout_rate": str(data.caption_dropout),
        "ss_noise_offset": str(train.noise_offset),
        "ss_seed": str(train.seed),
    }


def _trigger_word(config: Config, num_pictures: int) -> Description:
    """The trigger word, with the count of all pictures: tools that look for trained words count tags."""
    word = config.data.trigger_word
    if not word:
        return {}
    return {
        "modelspec.trigger_phrase": word,
        "ss_tag_frequency": json.dumps({str(config.run.name): {word: num_pictures}}),
    }
