"""A LoRA on a base model: attach it for training, read its weights, write the file to ship.

An adapter has a part for the denoiser and, with `lora.text_encoder`, one for each text encoder. `State` holds all of
them under the keys of the file: the part's name, then PEFT's key.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.other import get_pattern_key
from torch import nn

from shared.config import schema
from shared.errors import ModelError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import weights_file

ADAPTER = "default"
LORA_FILE = "pytorch_lora_weights.safetensors"
MAGNITUDE = "lora_magnitude_vector"

State = dict[str, torch.Tensor]


def attach(parts: dict[str, nn.Module], settings: schema.LoraConfig, family: Family, clip_skip: int = 1) -> None:
    """Add a trainable fp32 adapter to each part and freeze the rest. A is Gaussian, B zero: the output is unchanged.

    The last layers of a text encoder that are not used get no adapter: it would never have a gradient, and several
    processes would wait for one.

    Raises:
        ModelError: no module of the denoiser ends in one of `target_modules`.
    """
    for name, part in parts.items():
        part.requires_grad_(False)
        if is_text_encoder(name):
            unread = family.unread_layers(name, clip_skip)
            exclude = _last_layers(part, unread) if unread else None
            _attach(part, settings, settings.text_encoder_targets, [], exclude)
        else:
            config = cast("Any", part).config
            ends = family.targets(settings.target_modules, linear_projections=family.projects_linearly(config))
            exclude = _needed(family.exclude_modules(config), part, ends)
            _attach(part, settings, ends, [] if settings.is_uniform else _convolutions(part), exclude)


def adapted(model: Model, settings: schema.LoraConfig) -> dict[str, nn.Module]:
    """The parts that have an adapter with these settings."""
    return {name: part for name, part in model.parts.items() if settings.text_encoder or not is_text_encoder(name)}


def parameters(part: nn.Module) -> list[nn.Parameter]:
    """The adapter's parameters, in the module's order."""
    return [parameter for parameter in part.parameters() if parameter.requires_grad]


def up_parameters(part: nn.Module) -> list[nn.Parameter]:
    """The B matrices among the adapter's parameters: zero at first; LoRA+ gives them a separate learning rate."""
    return [value for name, value in part.named_parameters() if value.requires_grad and ".lora_B." in name]


def state(parts: dict[str, nn.Module]) -> State:
    """A copy of the adapter on the host, fp32."""
    return copied({key: value for name, part in parts.items() for key, value in _weights(name, part).items()})


def by_key(parts: dict[str, nn.Module]) -> dict[str, nn.Parameter] | None:
    """The parameters whose values `state` copies, in its order; None where PEFT writes something else than parameters.

    To ask PEFT takes as long as copying ten adapters: it looks at every weight of the base model.
    """
    by_place = {
        (value.data_ptr(), value.shape, value.dtype): value for part in parts.values() for value in parameters(part)
    }
    written = {key: value for name, part in parts.items() for key, value in _weights(name, part).items()}
    found = {key: by_place.get((value.data_ptr(), value.shape, value.dtype)) for key, value in written.items()}
    known = {key: parameter for key, parameter in found.items() if parameter is not None}
    return known if len(known) == len(found) == len({id(parameter) for parameter in known.values()}) else None


def copied(weights: Mapping[str, torch.Tensor]) -> State:
    """On the host, fp32."""
    return {key: value.detach().to("cpu", torch.float32, copy=True).contiguous() for key, value in weights.items()}


def restore(parts: dict[str, nn.Module], weights: State) -> None:
    """Put back weights that `state` returned.

    Raises:
        ModelError: keys or shapes differ from the attached adapter's.
    """
    if shapes(parts) != {key: value.shape for key, value in weights.items()}:
        raise ModelError(
            "the checkpoint holds another adapter than lora.* describes", "restore the settings or use --new"
        )
    for name, part in parts.items():
        start = prefix(name, part)
        own = {key.removeprefix(start): value for key, value in weights.items() if key.startswith(start)}
        set_peft_model_state_dict(part, own, adapter_name=ADAPTER)


def shapes(parts: dict[str, nn.Module]) -> dict[str, torch.Size]:
    """Keys and shapes of the adapter attached to these parts."""
    return {key: value.shape for name, part in parts.items() for key, value in _weights(name, part).items()}


def expected_shapes(model: Model, settings: schema.LoraConfig) -> dict[str, torch.Size]:
    """Keys and shapes of an adapter with these settings on this model, without attaching it or using memory."""
    blank: dict[str, nn.Module] = {}
    with torch.device("meta"):
        for name, part in adapted(model, settings).items():
            kind: Any = type(part)
            blank[name] = kind(part.config) if is_text_encoder(name) else kind.from_config(part.config)
        attach(blank, settings, model.family, model.clip_skip)
    return shapes(blank)


def metadata(parts: dict[str, nn.Module]) -> dict[str, Any]:
    """The adapter's configuration (rank, alpha, targets) in the form that diffusers stores inside the file.

    Sets become sorted lists, so that equal adapters give equal files. Dropout is left out: it belongs to training, and
    diffusers would apply it while it draws.
    """
    return {
        f"{name}.{key}": sorted(value) if isinstance(value, set) else value
        for name, part in parts.items()
        for key, value in {**_peft_config(part), "lora_dropout": 0.0}.items()
    }


def modules(weights: Iterable[str]) -> list[str]:
    """The adapted modules, `unet.mid_block.…`, from a file's keys."""
    return [key.removesuffix(".lora_A.weight") for key in weights if key.endswith(".lora_A.weight")]


def rank_and_alpha(module: str, adapter_metadata: dict[str, Any]) -> tuple[int, float]:
    """Rank and alpha of a module `unet.mid_block.…` in the metadata.

    Raises:
        KeyError, ValueError, TypeError: they are missing.
    """
    part, _, name = module.partition(".")

    def value_of(key: str, patterns: str) -> Any:
        default, by_pattern = adapter_metadata[f"{part}.{key}"], dict(adapter_metadata.get(f"{part}.{patterns}") or {})
        return by_pattern.get(get_pattern_key([*by_pattern], name), default)

    try:
        return int(value_of("r", "rank_pattern")), float(value_of("lora_alpha", "alpha_pattern"))
    except (re.error, OverflowError) as error:  # the latter of a number that no float can hold
        raise ValueError(str(error)) from None


def scale(module: str, adapter_metadata: dict[str, Any]) -> float:
    """The factor of a module's update: alpha / rank, or alpha / sqrt(rank) for rsLoRA.

    Raises:
        KeyError, ValueError, TypeError: the metadata lacks them.
    """
    rank, alpha = rank_and_alpha(module, adapter_metadata)
    rslora = adapter_metadata[f"{module.partition('.')[0]}.use_rslora"]
    try:
        return alpha / (math.sqrt(rank) if rslora else rank)
    except ArithmeticError as error:  # a rank of 0, a number that no float can hold
        raise ValueError(str(error)) from None


def is_convolution(shape: Sequence[int]) -> bool:
    """Whether an A of this shape belongs to a convolution with a kernel larger than 1."""
    return math.prod(shape[2:]) > 1


def write(
    folder: Path, weights: State, adapter_metadata: dict[str, Any], description: dict[str, str] | None = None
) -> None:
    """Write `pytorch_lora_weights.safetensors`, loadable by `load_lora_weights`, alpha in its metadata.

    description: further texts for its header.

    The keys stay as PEFT names them. diffusers' training scripts rename those of attention (`lora.down`) and leave the
    others (`lora_A`); its loader interprets all keys like the first, so that a file with both silently loses its
    attention layers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(adapter_metadata, indent=2, sort_keys=True)
    (folder / LORA_FILE).write_bytes(
        weights_file.encode(weights, {**(description or {}), LORA_ADAPTER_METADATA_KEY: text})
    )


def is_text_encoder(part: str) -> bool:
    """Whether diffusers' pipelines use this name for a text encoder; otherwise it is the denoiser."""
    return part.startswith("text_encoder")


def prefix(name: str, part: nn.Module) -> str:
    """The prefix of a part's keys in the file.

    transformers 5 flattens the first text encoder; files keep `text_model.`, which every loader expects.
    """
    flattened = is_text_encoder(name) and not hasattr(part, "text_model")
    return f"{name}.text_model." if flattened else f"{name}."


def is_finite(weights: State) -> bool:
    """False if any value is NaN or infinite."""
    return all(bool(torch.isfinite(value).all()) for value in weights.values())


def _last_layers(text_encoder: Any, count: int) -> str:
    """A regular expression for the module names of the last `count` layers."""
    layers = text_encoder.config.num_hidden_layers
    return "|".join(rf".*\.layers\.{number}\..*" for number in range(layers - count, layers))


def _attach(
    part: Any, settings: schema.LoraConfig, ends: Sequence[str], convolutions: list[str], exclude: str | None
) -> None:
    rank, alpha = settings.rank_and_alpha(convolution=True)
    try:
        part.add_adapter(
            LoraConfig(
                r=settings.rank,
                lora_alpha=cast("int", settings.lora_alpha),  # typed as int, but PEFT only divides by it
                target_modules=list(ends) if exclude is None else _all_but(exclude, ends),
                rank_pattern=dict.fromkeys(convolutions, rank),
                alpha_pattern=dict.fromkeys(convolutions, alpha),
                lora_dropout=settings.dropout,
                use_rslora=settings.use_rslora,
                use_dora=settings.use_dora,
                init_lora_weights="gaussian",
            ),
            adapter_name=ADAPTER,
        )
    except ValueError as error:
        raise ModelError(
            f"lora.target_modules {list(ends)}: {error}",
            'set lora.target_modules = "attention"',
        ) from None
    cast_training_params(part, dtype=torch.float32)


def _all_but(exclude: str, ends: Sequence[str]) -> str:
    """A regular expression for the modules with these ends, without the excluded ones.

    PEFT's `exclude_modules` would stand in the file, and programs that take the modules from its keys warn of it: there
    it excludes nothing.
    """
    return rf"(?!(?:{exclude})$)(.*\.)?({'|'.join(map(re.escape, ends))})"


def _needed(exclude: str | None, part: nn.Module, ends: Sequence[str]) -> str | None:
    """The expression, if one of these targets is to be excluded; else the file names the ends themselves."""
    suffixes = tuple(f".{end}" for end in ends)
    targets = (name for name, _ in part.named_modules() if f".{name}".endswith(suffixes))
    return exclude if exclude and any(re.fullmatch(exclude, name) for name in targets) else None


def _convolutions(unet: nn.Module) -> list[str]:
    """Regular expressions for the last part of the names of convolutions with a kernel larger than 1.

    PEFT compares them with a module's name and, in a hot-swap, with its parameters' names.
    """
    names = {
        name.rpartition(".")[2]
        for name, module in unet.named_modules()
        if isinstance(module, nn.Conv2d) and math.prod(module.kernel_size) > 1
    }
    return [rf"{name}(\.lora_.+)?" for name in sorted(names)]


def _weights(name: str, part: nn.Module) -> State:
    """With the file's keys. A text encoder's DoRA magnitudes end in `.weight`: transformers 5 needs it to find them."""
    start, end = prefix(name, part), ".weight" if is_text_encoder(name) else ""
    state_dict = get_peft_model_state_dict(part, adapter_name=ADAPTER)
    return {start + key + (end if key.endswith(MAGNITUDE) else ""): value for key, value in state_dict.items()}


def _peft_config(part: Any) -> dict[str, Any]:
    return part.peft_config[ADAPTER].to_dict()
