"""Loads a base model from a diffusers folder, a hub id or a single `.safetensors` file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal, cast

import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from transformers.utils import logging as transformers_logging

from shared.config.schema import ModelConfig
from shared.errors import ConfigError, ModelError
from shared.models import external_vae
from shared.models.base_model import family, hub_variant, model_files, require_clip_skip, resolve, statement
from shared.models.external_vae import Latents
from shared.models.noise_schedule import NoiseSchedule, PredictionType, of_scheduler
from shared.models.tokens import MAX_TOKEN_LENGTH
from shared.models.vae import require_decodable
from shared.models.weights_header import choose_variant, names_in
from tasks.text_to_image.families import quantization
from tasks.text_to_image.families.model import Model, StableDiffusion, StableDiffusionXL
from tasks.text_to_image.objectives.ddpm import DDPM

Precision = Literal["fp32", "fp16", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


SD2_BIAS, SD2_V_SPREAD = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias", 0.09

MODELS: dict[str, type[Model]] = {
    model.pipeline_class.__name__: model for model in (StableDiffusion, StableDiffusionXL)
}


def load_model(
    settings: ModelConfig,
    precision: Precision,
    *,
    for_training: bool = False,
    zero_terminal_snr: bool = False,
    max_token_length: int = MAX_TOKEN_LENGTH,
) -> Model:
    """The base model on the CPU, without safety checker, its progress bar off. No code of the model's own is ever run.

    for_training: heed `settings.quantization`, which puts the denoiser on the GPU; and load the VAE in fp32, in which
    pictures are encoded. A VAE that only decodes has the pipeline's precision, as in any other program.
    zero_terminal_snr, max_token_length: the run's, of `train` and `data`.

    Raises:
        ModelError: nothing loadable at `settings.path`, or a model of another family or noise schedule.
        ConfigError: `settings.clip_skip` does not suit the model.
    """
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    location = resolve(settings.path)
    try:
        kind = _single_file_kind(location) if Path(location).is_file() else _folder_kind(location, settings.revision)
        pipeline = _load(kind, location, settings, precision, for_training=for_training)
        if settings.vae:
            dtype = torch.float32 if for_training else DTYPES[precision]
            pipeline.register_modules(vae=_external_vae(settings.vae, pipeline, dtype))
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise _explained(error, location, settings) from error
    pipeline.set_progress_bar_config(disable=True)
    model = _understood(kind, pipeline, settings, zero_terminal_snr=zero_terminal_snr)
    model.max_token_length = max_token_length
    model.clip_skip = _readable_layer(model, settings.clip_skip)
    return model


def _readable_layer(model: Model, clip_skip: int) -> int:
    """`model.clip_skip`, if the model's text encoder has such a layer and can be read there.

    Raises:
        ConfigError: it has not, or cannot.
    """
    require_clip_skip(clip_skip, model.family)
    layers = int(model.pipeline.text_encoder.config.num_hidden_layers)
    if clip_skip > layers:
        raise ConfigError(
            f"model.clip_skip is {clip_skip}, and the text encoder has {layers} layers", "2 is the usual value"
        )
    return clip_skip


def _external_vae(name: str, pipeline: Any, dtype: torch.dtype) -> AutoencoderKL:
    """The VAE to use instead of the pipeline's; a file is described by the pipeline's own.

    Raises:
        ModelError: it cannot be loaded, or the denoiser cannot read its latents.
    """
    source = external_vae.source(name)
    try:
        if Path(source.path).is_file():
            with tempfile.TemporaryDirectory() as folder:
                pipeline.vae.save_config(folder)
                vae = AutoencoderKL.from_single_file(source.path, config=folder, dtype=dtype)
        else:
            where = {"subfolder": source.subfolder, "revision": source.revision, "variant": source.variant}
            vae = AutoencoderKL.from_pretrained(source.path, **where, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"cannot load model.vae {name}: {reason}", "is it whole, or the hub reachable?") from error
    found = Latents(vae.config["latent_channels"], 2 ** (len(vae.config["block_out_channels"]) - 1))
    external_vae.require_same_latents(found, Latents(pipeline.unet.config.in_channels, pipeline.vae_scale_factor), name)
    return vae


def _understood(kind: type[Model], pipeline: Any, settings: ModelConfig, *, zero_terminal_snr: bool) -> Model:
    """The model and its noise schedule: the setting's word, then its own files', then what diffusers takes it for.

    Raises:
        ModelError: it is of a kind that cannot be trained.
    """
    location = Path(resolve(settings.path))
    scheduler = of_scheduler(pipeline.scheduler.config, settings.path, type(pipeline.scheduler).__name__)
    said = statement(location) if location.is_file() else scheduler
    predicted = said.prediction_type or _measured_prediction(location, settings) or scheduler.prediction_type
    if settings.prediction_type != "auto":
        predicted = settings.prediction_type
    require_decodable(pipeline.vae.config, settings.vae or settings.path, is_sdxl=kind is StableDiffusionXL)
    ends = said.zero_terminal_snr or scheduler.zero_terminal_snr
    schedule = NoiseSchedule.of(predicted or "epsilon", ends)
    schedule_of_run = schedule.ending_in_pure_noise() if zero_terminal_snr else schedule
    model = kind(pipeline, DDPM(schedule_of_run, pipeline.scheduler.config))
    model.notices += said.notices
    if said.prediction_type not in (None, predicted):
        model.notices += (
            f"model.prediction_type is {predicted}, but the model's own files say {said.prediction_type}: "
            "the setting is followed; 'auto' would follow the model",
        )
    if ends and not schedule.zero_terminal_snr:
        model.notices += (
            "the model's own files ask for zero terminal SNR, which only a model that predicts v can learn: "
            "it is trained without",
        )
    return model


def _measured_prediction(path: Path, settings: ModelConfig) -> PredictionType | None:
    """What an SD 2.x file predicts, told by one of its biases; None: another kind of file, or one that is described.

    Files of SD 2.x seldom say it, and diffusers takes all of them for v. The threshold is ComfyUI's: 512-base models,
    which predict noise, lie below it.
    """
    if not path.is_file() or settings.single_file_config or family(str(path)) != "sd2":
        return None
    with safe_open(path, framework="pt") as file:
        spread = file.get_tensor(SD2_BIAS).float().std(correction=0)
    return "v_prediction" if spread > SD2_V_SPREAD else "epsilon"


def _explained(error: Exception, location: str, settings: ModelConfig) -> ModelError:
    """diffusers says of a hub it could not reach that the model lacks a file."""
    reason, hint = str(error).strip().partition("\n")[0], "is the folder complete, or the hub reachable?"
    if Path(location).is_file() and not settings.single_file_config:
        hint = "set model.single_file_config to a diffusers folder of the same family where the hub is out of reach"
    if model_files(location, settings.revision) is None:
        reason = f"it is not in the cache, and the hub did not give it ({reason})"
        hint = f"is the name right? where there is a network: hf download {location}"
        hint += f" --revision {settings.revision}" if settings.revision else ""
    return ModelError(f"cannot load {settings.path}: {reason}", hint)


def _single_file_kind(path: str) -> type[Model]:
    return StableDiffusionXL if family(path) == "sdxl" else StableDiffusion


def _folder_kind(location: str, revision: str | None) -> type[Model]:
    """By the pipeline's class name, of a folder or a hub id."""
    name = cast("dict[str, Any]", DiffusionPipeline.load_config(location, revision=revision))["_class_name"]
    if name not in MODELS:
        raise ModelError(f"{location} is a {name}", f"these can be trained: {', '.join(MODELS)}")
    return MODELS[name]


def _load(kind: type[Model], location: str, settings: ModelConfig, precision: Precision, *, for_training: bool) -> Any:
    arguments: dict[str, Any] = {"dtype": DTYPES[precision], "use_safetensors": True}
    if kind is StableDiffusion:
        arguments |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if not Path(location).is_file():
        if for_training:
            arguments |= quantization.loading_arguments(settings, DTYPES[precision])
            arguments["dtype"] = {"vae": torch.float32, "default": DTYPES[precision]}
        arguments["variant"] = _variant(location, settings)
        return kind.pipeline_class.from_pretrained(location, revision=settings.revision, **arguments)
    described = {"config": settings.single_file_config} if settings.single_file_config else {}
    if for_training:  # one precision for all parts is all that a single file's pipeline takes
        arguments["vae"] = AutoencoderKL.from_single_file(location, subfolder="vae", dtype=torch.float32, **described)
    return kind.pipeline_class.from_single_file(location, **arguments, **described)


def _variant(location: str, settings: ModelConfig) -> str | None:
    folder = Path(location)
    return choose_variant(names_in(folder), settings.variant, location) if folder.is_dir() else hub_variant(settings)
