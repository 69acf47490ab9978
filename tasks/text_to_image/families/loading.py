"""Loads a base model from a diffusers folder, a hub id or a single `.safetensors` file."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import diffusers
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers.utils import logging as transformers_logging

from shared.config.schema import ModelConfig
from shared.errors import ConfigError, ModelError
from tasks.text_to_image.families import quantization
from tasks.text_to_image.families.encoder_files import EncoderFiles
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.models import external_vae, fresh_denoiser
from tasks.text_to_image.models.base_model import family as family_of
from tasks.text_to_image.models.base_model import (
    hub_variant,
    misnamed,
    model_files,
    of_pipeline,
    resolve,
)
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.suitability import require_clip_skip
from tasks.text_to_image.models.tokens import MAX_TOKEN_LENGTH
from tasks.text_to_image.models.vae import require_decodable
from tasks.text_to_image.models.weights_header import choose_variant, names_in, read_header
from tasks.text_to_image.weights import whole_denoiser

Precision = Literal["fp32", "fp16", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class OwnDenoiser:
    """A denoiser whose weights are trained or loaded apart, and not as those of the other parts are."""

    precision: Precision
    seed: int | None = None
    """Of fresh weights, by the configuration of `model.denoiser` or the model's own; None: the model's weights."""


def load_model(
    settings: ModelConfig,
    precision: Precision,
    *,
    denoiser: OwnDenoiser | None = None,
    for_training: bool = False,
    zero_terminal_snr: bool = False,
    max_token_length: int = MAX_TOKEN_LENGTH,
) -> Model:
    """The base model on the CPU, without safety checker and progress bar. Never runs code that comes with the model.

    for_training: apply `settings.quantization`, which puts the denoiser on the GPU, and load the VAE in fp32, because
    it encodes pictures. A VAE that only decodes has the pipeline's precision, as in any other program.
    zero_terminal_snr, max_token_length: the run's settings in `train` and `data`.

    Raises:
        ModelError: `settings.path` cannot be loaded, or the family or noise schedule is not supported.
        ConfigError: `settings.clip_skip` or `settings.denoiser` does not suit the model.
    """
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    location = resolve(settings.path)
    try:
        families = _candidates(location, settings.revision)
        pipeline, encoder_files = _load(families[0], location, settings, precision, denoiser, for_training=for_training)
        family = _choose(families, pipeline)
        if settings.vae:
            dtype = torch.float32 if for_training else DTYPES[precision]
            pipeline.register_modules(vae=_external_vae(settings.vae, pipeline.vae, family, dtype))
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise _load_error(error, location, settings) from error
    pipeline.set_progress_bar_config(disable=True)
    model = _with_objective(family, pipeline, settings, zero_terminal_snr=zero_terminal_snr)
    model.max_token_length, model.encoder_files = max_token_length, encoder_files
    model.clip_skip = _readable_layer(model, settings.clip_skip)
    return model


def _readable_layer(model: Model, clip_skip: int) -> int:
    """`model.clip_skip`, if the model's text encoder has that layer and the family allows it.

    Raises:
        ConfigError: the encoder has no such layer, or the family uses a fixed layer.
    """
    if clip_skip == 1:
        return clip_skip
    require_clip_skip(clip_skip, model.family)
    layers = int(model.pipeline.text_encoder.config.num_hidden_layers)
    if clip_skip > layers:
        raise ConfigError(
            f"model.clip_skip is {clip_skip}, but the text encoder has {layers} layers", "set it to 2, the usual value"
        )
    return clip_skip


def _external_vae(name: str, own: Any, family: Family, dtype: torch.dtype) -> AutoencoderKL:
    """The VAE to use instead of the pipeline's own. A single file gets the configuration of that one.

    Raises:
        ModelError: it cannot be loaded, is of another class, or its latents do not fit the denoiser.
    """
    source = external_vae.source(name)
    kind: Any = type(own)
    vae: Any
    try:
        if not Path(source.path).is_file():
            where = {"subfolder": source.subfolder, "revision": source.revision}
            described = cast("dict[str, Any]", kind.load_config(source.path, **where))
            external_vae.require_same_kind(described.get("_class_name", external_vae.CLASS), kind.__name__, name)
            where |= {"variant": source.variant}
            vae = kind.from_pretrained(source.path, **where, dtype=dtype, use_safetensors=True)
        elif kind is AutoencoderKL:
            with tempfile.TemporaryDirectory() as folder:
                own.save_config(folder)
                vae = AutoencoderKL.from_single_file(source.path, config=folder, dtype=dtype)
        else:
            weights = load_file(source.path)
            external_vae.require_own_layout(weights, own.state_dict(), kind.__name__, name)
            vae = kind.from_config(own.config)
            vae.load_state_dict(weights)
            vae = torch.nn.Module.to(vae, dtype).eval()  # diffusers' own would warn of modules that there are none of
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"cannot load model.vae {name}: {reason}", "download or copy it again, and check the connection to the hub"
        ) from error
    found, base = (external_vae.latents(dict(one.config), family) for one in (vae, own))
    external_vae.require_same_latents(found, base, name)
    return vae


def _with_objective(family: Family, pipeline: Any, settings: ModelConfig, *, zero_terminal_snr: bool) -> Model:
    """The model with its objective.

    Raises:
        ModelError: models of this kind cannot be trained.
    """
    require_decodable(pipeline.vae.config, settings.vae or settings.path, family.normalizations)
    location = Path(resolve(settings.path))
    file = location if location.is_file() else None
    objective, notices = family.objective(pipeline, file, settings, zero_terminal_snr=zero_terminal_snr)
    model = Model(family, pipeline, objective)
    model.notices += (*(misnamed(file, family) if file else ()), *notices)
    return model


def _load_error(error: Exception, location: str, settings: ModelConfig) -> ModelError:
    """If the hub cannot be reached, diffusers reports only that the model lacks a file; this error gives the cause."""
    reason, hint = str(error).strip().partition("\n")[0], "download or copy the whole folder again"
    if Path(location).is_file() and not settings.single_file_config:
        hint = "set model.single_file_config to a diffusers folder of the same family if the hub cannot be reached"
    if model_files(location, settings.revision) is None:
        reason = f"it is not in the cache, and it could not be downloaded from the hub ({reason})"
        hint = f"check the name, then download it on a machine with a network: hf download {location}"
        hint += f" --revision {settings.revision}" if settings.revision else ""
    return ModelError(f"cannot load {settings.path}: {reason}", hint)


def _candidates(location: str, revision: str | None) -> list[Family]:
    """The families to which a model can belong: one for a single file, else all with the pipeline's class.

    Raises:
        ModelError: there is none.
    """
    if Path(location).is_file():
        family = family_of(location)
        assert family
        return [family]
    name = cast("dict[str, Any]", DiffusionPipeline.load_config(location, revision=revision))["_class_name"]
    families = of_pipeline(name)
    if not families:
        trainable = dict.fromkeys(family.pipeline_class for family in FAMILIES.values())
        raise ModelError(f"{location} is a {name}", f"choose one of: {', '.join(trainable)}")
    return families


def _choose(families: list[Family], pipeline: Any) -> Family:
    """The family, of those with this pipeline's class, to which the denoiser belongs."""
    matching = (family for family in families if family.is_described_by(getattr(pipeline, family.denoiser).config))
    return next(matching, families[0])


def _load(
    family: Family,
    location: str,
    settings: ModelConfig,
    precision: Precision,
    denoiser: OwnDenoiser | None,
    *,
    for_training: bool,
) -> tuple[Any, EncoderFiles | None]:
    """The pipeline, and where its text encoders come from if they do not stay loaded."""
    kind: Any = getattr(diffusers, family.pipeline_class)
    arguments: dict[str, Any] = {"dtype": DTYPES[precision], "use_safetensors": True, **family.pipeline_arguments}
    where = settings
    if denoiser and denoiser.seed is not None:
        arguments[family.denoiser] = _fresh(family, location, settings, denoiser)
    if Path(location).is_file():
        if family.completed_by is None:
            if denoiser:  # the pipeline of a single file has one precision for all parts
                arguments["dtype"] = DTYPES[denoiser.precision]
            return _from_file(kind, location, settings, arguments, for_training=for_training), None
        where = ModelConfig(path=settings.single_file_config or family.completed_by)
        folder = _downloaded(kind, where)
        dtype = DTYPES[denoiser.precision if denoiser else precision]
        if family.denoiser not in arguments:
            arguments[family.denoiser] = _denoiser_of_file(family, location, folder, dtype)
        location = folder
    elif not family.encoders_stay:
        location = _downloaded(kind, settings)
    if for_training:
        arguments |= quantization.loading_arguments(settings, DTYPES[precision], family.denoiser)
        arguments["dtype"] = {"vae": torch.float32, "default": DTYPES[precision]}
        if denoiser:
            arguments["dtype"][family.denoiser] = DTYPES[denoiser.precision]
    arguments["variant"] = variant = _variant(location, where, family)
    encoder_files = None
    if not family.encoders_stay:
        arguments |= dict.fromkeys(family.text_encoders) | family.absent(Path(location))
        encoder_files = EncoderFiles(family, Path(location), variant, DTYPES[precision])
    revision = settings.revision if location == resolve(settings.path) else None
    apart = family.loaded_apart(Path(location))
    given = {**dict.fromkeys(apart), **family.needed_at_once(Path(location))}
    pipeline = kind.from_pretrained(location, revision=revision, **arguments, **given)
    pipeline.register_modules(**apart)
    return pipeline, encoder_files


def _fresh(family: Family, location: str, settings: ModelConfig, own: OwnDenoiser) -> Any:
    """A denoiser with fresh weights."""
    folder = Path(location)
    if not folder.is_dir():
        described = settings.single_file_config if folder.is_file() else location
        kind: Any = getattr(diffusers, family.pipeline_class)
        there = settings.model_copy(update={"path": described})
        folder = Path(_downloaded(kind, there)) if described else None
    config = fresh_denoiser.of(settings, family, folder)
    made = whole_denoiser.fresh(config, own.seed or 0)
    return made if own.precision == "fp32" else made.to(DTYPES[own.precision])


def _downloaded(kind: Any, settings: ModelConfig) -> str:
    """The folder with all files of a model, a hub id's in the cache."""
    location = resolve(settings.path)
    if Path(location).is_dir():
        return location
    variant = hub_variant(settings)
    return str(kind.download(location, revision=settings.revision, variant=variant, use_safetensors=True))


def _denoiser_of_file(family: Family, file: str, folder: str, dtype: torch.dtype) -> Any:
    """The denoiser that a single file holds; folder: of a pipeline that has its configuration."""
    _, name = read_json(Path(folder) / "model_index.json")[family.denoiser]
    source: Any = _own_weights(family, file) if family.file_has_own_names else _unprefixed(family, file)
    return getattr(diffusers, name).from_single_file(source, config=folder, subfolder=family.denoiser, dtype=dtype)


def _unprefixed(family: Family, file: str) -> str | dict[str, torch.Tensor]:
    """The file, or the denoiser's weights where their names have a prefix, which diffusers takes off of some only."""
    prefix = next(prefix for prefix, part in family.file_parts.items() if part == family.denoiser)
    if not any(name.startswith(prefix) for name in read_header(Path(file))):
        return file
    return {name.removeprefix(prefix): value for name, value in load_file(file).items() if name.startswith(prefix)}


def _own_weights(family: Family, file: str) -> dict[str, torch.Tensor]:
    """The denoiser's, by their names without a prefix, which diffusers would not take off."""
    prefix = next(prefix for prefix, part in family.file_parts.items() if part == family.denoiser)
    names = family.tensors_of_file(read_header(Path(file)))[family.denoiser]
    weights = {name.removeprefix(prefix): value for name, value in load_file(file).items()}
    return {name: weights[name] for name in names}


def _from_file(
    kind: Any, location: str, settings: ModelConfig, arguments: dict[str, Any], *, for_training: bool
) -> Any:
    described = {"config": settings.single_file_config} if settings.single_file_config else {}
    if for_training:  # the pipeline of a single file has one precision for all parts
        arguments["vae"] = AutoencoderKL.from_single_file(location, subfolder="vae", dtype=torch.float32, **described)
    return kind.from_single_file(location, **arguments, **described)


def _variant(location: str, settings: ModelConfig, family: Family) -> str | None:
    folder = Path(location)
    if not folder.is_dir():
        return hub_variant(settings)
    return choose_variant(names_in(folder, family.weighted_parts), settings.variant, location)
