"""Which modules of the denoiser get an adapter: `lora.target_modules`, by a preset or by the ends of their names.

`attention` is diffusers' choice. `transformer` is what kohya's LoRA adapts: every linear layer and 1 × 1 convolution of
the transformer blocks. `all` adds the residual blocks and samplers, as kohya's `conv_dim` does, and the first and last
layers, as LyCORIS does. `all-linear` is PEFT's: every linear layer, wherever it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from shared.errors import ConfigError

ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
PROJECTIONS = ("proj_in", "proj_out")
"""Of a transformer block: convolutions in SD 1.x, linear layers in SD 2.x and SDXL."""
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
TEXT_ENCODER = ("q_proj", "k_proj", "v_proj", "out_proj")
"""Of the text encoders, where they learn: their attention."""
TEXT_ENCODER_MLP = ("fc1", "fc2")
"""The rest of their layers, which kohya's LoRA adapts too."""
EMBEDDINGS = ("time_emb_proj", "linear_1", "linear_2")
CONVOLUTIONS = ("conv1", "conv2", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "conv_out")
"""Those with a kernel larger than 1."""
ALL_LINEAR = "all-linear"
MATRICES_ONLY = ("muon", "torch.optim.muon")
"""Optimizers that take no convolutions and no vectors."""
PRESETS: dict[str, tuple[str, ...]] = {
    "attention": ATTENTION,
    "transformer": (*ATTENTION, *PROJECTIONS, *FEED_FORWARD),
    "all": (*ATTENTION, *PROJECTIONS, *FEED_FORWARD, *EMBEDDINGS, "conv_shortcut", *CONVOLUTIONS),
    ALL_LINEAR: (*ATTENTION, *FEED_FORWARD, *EMBEDDINGS),
}
"""Ends of names; of `all-linear` those that are linear in every family, see `resolve`."""

SINGLE_FILE_ENDS: dict[str, tuple[str, ...]] = {
    "conv1": ("in_layers.2",),
    "conv2": ("out_layers.3",),
    "conv_shortcut": ("skip_connection",),
    "time_emb_proj": ("emb_layers.1",),
    "downsamplers.0.conv": ("op",),
    "upsamplers.0.conv": ("conv",),
    "conv_in": ("input_blocks.0.0",),
    "conv_out": ("out.2",),
    "linear_1": ("time_embed.0", "label_emb.0.0"),
    "linear_2": ("time_embed.2", "label_emb.0.2"),
}
"""What the authors of Stable Diffusion call the same modules in their checkpoints; ends not listed are the same."""


def expand(targets: Any) -> Any:
    """One name or a list of them, presets written out; `all-linear` stays: it depends on the model."""
    names = [targets] if isinstance(targets, str) else targets
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in cast("list[Any]", names)):
        return targets
    ends: list[str] = []
    for name in cast("list[str]", names):
        ends += (name,) if name == ALL_LINEAR else PRESETS.get(name, (name,))
    return tuple(dict.fromkeys(ends))


def translated(targets: Collection[str], presets: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Presets that a config spells out as Stable Diffusion means them, as another family means them."""
    if presets == PRESETS:
        return tuple(targets)
    names, layers = dict.fromkeys(targets), list[str]()
    for preset in sorted(PRESETS, key=lambda name: len(PRESETS[name]), reverse=True):
        own = (ALL_LINEAR,) if preset == ALL_LINEAR else PRESETS[preset]
        if names.keys() >= set(own):
            layers += presets[preset]
            names = {name: None for name in names if name not in own}
    return tuple(dict.fromkeys((*layers, *names)))


def resolve(targets: Collection[str], *, linear_projections: bool) -> tuple[str, ...]:
    """The ends of names, for a UNet whose transformer blocks project by linear layers or by convolutions."""
    if ALL_LINEAR not in targets:
        return tuple(targets)
    linear = (*PRESETS[ALL_LINEAR], *(PROJECTIONS if linear_projections else ()))
    return tuple(dict.fromkeys([*linear, *(name for name in targets if name != ALL_LINEAR)]))


def is_convolution(name: str) -> bool:
    """Whether this end of a module's name is a convolution's with a kernel larger than 1."""
    return name.rpartition(".")[2] in {end.rpartition(".")[2] for end in CONVOLUTIONS}


def require_matrices(targets: Collection[str], optimizer: str, *, linear_projections: bool, use_dora: bool) -> None:
    """Refuse what the optimizer cannot learn, before anything is loaded: torch's Muon takes matrices only.

    Raises:
        ConfigError: convolutions, of any kernel, or DoRA's magnitudes would learn.
    """
    if optimizer.casefold() not in MATRICES_ONLY:
        return
    small = ("conv_shortcut", *(() if linear_projections else PROJECTIONS))
    convolutions = [name for name in targets if is_convolution(name) or name.rpartition(".")[2] in small]
    problems = [f"lora.target_modules has convolutions: {', '.join(convolutions)}"] if convolutions else []
    cures = ['lora.target_modules = "all-linear"'] if convolutions else []
    if use_dora:
        problems.append("lora.use_dora adds vectors")
        cures.append("lora.use_dora = false")
    if problems:
        raise ConfigError(
            f"train.optimizer is {optimizer!r}, which takes matrices only, but {' and '.join(problems)}",
            f"set {', '.join(cures)}, or take another optimizer",
        )


def require_known(targets: Iterable[str], ends: Collection[str] = PRESETS["all"]) -> None:
    """Refuse what the model does not have: PEFT passes over a name that matches nothing without a word.

    ends: of the names of modules that it may have.

    Raises:
        ConfigError: naming every such target, with the nearest known one.
    """
    unknown = [name for name in targets if not _is_known(name, ends)]
    if unknown:
        raise ConfigError(
            "\n       ".join(f"lora.target_modules has {name!r}{_did_you_mean(name, ends)}" for name in unknown),
            f"give a preset ({', '.join(PRESETS)}) or the ends of modules' names, such as {', '.join(ATTENTION)}",
        )


def _is_known(name: str, ends: Collection[str]) -> bool:
    """Whether it can be the end of a module's name: part of a known end, or a longer one."""
    dotted = f".{name}"
    return name == ALL_LINEAR or any(dotted.endswith(f".{end}") or f".{end}".endswith(dotted) for end in ends)


def _did_you_mean(name: str, ends: Collection[str]) -> str:
    near = difflib.get_close_matches(name, [*PRESETS, *ends], n=1)
    return f", which the model does not have: did you mean {near[0]}?" if near else ", which the model does not have"
