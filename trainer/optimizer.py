"""The optimizer by its configured name, its learning rate at every step, and its state back from a checkpoint.

The schedule is a pure function of the step: nothing of it is saved. Learning rates are set before every update.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from diffusers.optimization import get_scheduler
from prodigyopt import Prodigy
from torch.optim import Optimizer
from transformers.optimization import Adafactor

from shared.config import TrainConfig
from shared.errors import ConfigError

log = logging.getLogger(__name__)

PRODIGY_USUAL_RATE = 0.1
Parameters = list[torch.nn.Parameter]

OWN_KEYS = {"lr": "train.learning_rate", "weight_decay": "train.weight_decay"}
"""Constructor arguments that have keys of their own."""
WRONG_VALUE = (TypeError, ValueError, IndexError, AssertionError, RuntimeError)
"""What optimizers raise at an argument they do not like."""
UNUSABLE = {
    "lbfgs": "it evaluates the loss several times per step",
    "sparseadam": "a LoRA's gradients are not sparse",
}


def build(
    denoiser: Parameters, text_encoders: Parameters, settings: TrainConfig, up: Iterable[torch.nn.Parameter] = ()
) -> Optimizer:
    """The optimizer over the denoiser's and, in a group of their own, the text encoders' adapters, at peak rates.

    up: the B matrices among them, which train.lora_plus_ratio puts into further groups.

    Raises:
        ConfigError: unknown name, argument or value; or one that these parameters cannot have.
    """
    kind = _kind(settings.optimizer)
    arguments = {**_defaults(kind, settings, denoiser[0].device), **_checked_arguments(kind, settings)}
    groups = _groups(denoiser, text_encoders, settings, {id(parameter) for parameter in up})
    try:
        with contextlib.redirect_stdout(None):  # Prodigy prints that it decouples weight decay
            return kind(groups, **arguments)
    except WRONG_VALUE as error:
        raise ConfigError(
            f"train.optimizer {settings.optimizer} cannot be made: {error}", "see train.optimizer_args"
        ) from error


def _groups(
    denoiser: Parameters, text_encoders: Parameters, settings: TrainConfig, up: set[int]
) -> list[dict[str, Any]]:
    """Parameters and their learning rate where the schedule is 1; the first group's is train.learning_rate."""
    rate, ratio = settings.learning_rate, settings.lora_plus_ratio
    found: list[dict[str, Any]] = []
    for parameters, own in ((denoiser, rate), (text_encoders, settings.text_encoder_learning_rate or rate)):
        if ratio is None:
            found.append({"params": parameters, "lr": own})
        else:
            found.append({"params": [value for value in parameters if id(value) not in up], "lr": own})
            found.append({"params": [value for value in parameters if id(value) in up], "lr": own * ratio})
    return [group for group in found if group["params"]]


def check(settings: TrainConfig) -> None:
    """Try the settings on a miniature, before anything heavy is loaded.

    Raises:
        ConfigError: as `build` does, or a value that fails at the first update.
    """
    if _kind(settings.optimizer) is Prodigy:
        _check_rates_of_prodigy(settings)
    parameter = torch.nn.Parameter(torch.ones(4, 4))
    parameter.grad = torch.ones(4, 4)
    optimizer = build([parameter], [], settings)
    try:
        optimizer.step()
    except WRONG_VALUE as error:
        raise ConfigError(
            f"train.optimizer_args {settings.optimizer_args} fail at the first update: {error}",
            f"`python -c 'help(torch.optim.{type(optimizer).__name__})'` tells their types",
        ) from error


def _check_rates_of_prodigy(settings: TrainConfig) -> None:
    if settings.lora_plus_ratio not in (None, 1):
        raise ConfigError(
            f"train.lora_plus_ratio is {settings.lora_plus_ratio:g}: Prodigy adapts one rate for all parameters",
            "set train.lora_plus_ratio = false, or take another optimizer",
        )
    if settings.text_encoder_learning_rate not in (None, settings.learning_rate):
        raise ConfigError(
            f"train.text_encoder_learning_rate is {settings.text_encoder_learning_rate}, must be "
            f"train.learning_rate ({settings.learning_rate}): Prodigy adapts one rate for all parameters",
            "set train.text_encoder_learning_rate = false",
        )
    if settings.learning_rate < PRODIGY_USUAL_RATE:
        log.warning(
            "train.learning_rate is %g: Prodigy multiplies it by a rate it estimates, and 1.0 is its own",
            settings.learning_rate,
        )


def peak_rates(optimizer: Optimizer) -> list[float]:
    """The learning rate of each parameter group where the schedule is 1: that of an optimizer just built."""
    return [group["lr"] for group in optimizer.param_groups]


def schedule(settings: TrainConfig) -> Callable[[int], float]:
    """Updates done before → share of the peak learning rate, as diffusers shapes it.

    A schedule that falls ends at lr_final_fraction instead of 0; warm-up always rises from 0, also before a rate that
    diffusers calls `constant`, which would ignore it.
    """
    shape = get_scheduler(
        "constant_with_warmup" if settings.lr_scheduler == "constant" else settings.lr_scheduler,
        torch.optim.SGD([torch.zeros(1)], lr=1.0),
        num_warmup_steps=settings.lr_warmup_steps,
        num_training_steps=settings.max_train_steps,
        num_cycles=settings.lr_num_cycles,
    ).lr_lambdas[0]
    final, warmup = settings.lr_final_fraction, settings.lr_warmup_steps

    def factor(done: int) -> float:
        return shape(done) if done < warmup else final + (1 - final) * shape(done)

    return factor


def set_rates(optimizer: Optimizer, peaks: list[float], factor: float) -> float:
    """Set every group's learning rate for the coming update; returns the first one: the denoiser's, LoRA+ or not.

    Prodigy multiplies what it is given by its estimate d (Mishchenko & Defazio 2023), which is part of the answer.
    """
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak * factor
    first = optimizer.param_groups[0]
    return first["lr"] * first["d"] if "d0" in first else first["lr"]


def restore(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Put a checkpoint's state back; what the settings say of a group stays as the settings say it.

    Prodigy keeps estimates in its groups: those are state, and come back.
    """
    current = optimizer.state_dict()["param_groups"]
    given = inspect.signature(type(optimizer)).parameters
    groups = [
        {**old, **{key: value for key, value in new.items() if key in given}}
        for old, new in zip(saved["param_groups"], current, strict=True)
    ]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def _kind(name: str) -> type[Optimizer]:
    """The class of that name, any case.

    Raises:
        ConfigError: there is none, or it cannot train a LoRA here.
    """
    wanted = name.casefold()
    if wanted == "adamw8bit":
        return _adamw8bit()
    kinds = {kind.casefold(): getattr(torch.optim, kind) for kind in dir(torch.optim) if _is_optimizer(kind)}
    kinds |= {"prodigy": Prodigy, "adafactor": Adafactor}
    if wanted in UNUSABLE:
        raise ConfigError(f"train.optimizer {name} cannot be used: {UNUSABLE[wanted]}", "adamw is a good first choice")
    if wanted not in kinds:
        near = difflib.get_close_matches(wanted, [*kinds, "adamw8bit"], n=1)
        raise ConfigError(
            f"train.optimizer is {name!r}, not known" + (f", did you mean {near[0]}?" if near else ""),
            f"known are adamw8bit, {', '.join(sorted(kinds.keys() - UNUSABLE.keys()))}",
        )
    return kinds[wanted]


def _is_optimizer(name: str) -> bool:
    kind = getattr(torch.optim, name)
    return inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer


def _adamw8bit() -> type[Optimizer]:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("train.optimizer adamw8bit needs bitsandbytes", "pip install 'darkroom[gpu]'")
    return importlib.import_module("bitsandbytes").optim.AdamW8bit


def _defaults(kind: type[Optimizer], settings: TrainConfig, device: torch.device) -> dict[str, Any]:
    """What every optimizer is given before train.optimizer_args."""
    defaults: dict[str, Any] = {"lr": settings.learning_rate}
    if "weight_decay" in inspect.signature(kind).parameters:
        defaults["weight_decay"] = settings.weight_decay
    if kind is torch.optim.AdamW and device.type == "cuda":
        defaults["fused"] = not settings.optimizer_args.keys() & {"foreach", "differentiable"}
    if kind is Adafactor:  # the rate is ours: the paper's own scaling would start a LoRA's zero matrices at a crawl
        defaults |= {"scale_parameter": False, "relative_step": False}
    return defaults


def _checked_arguments(kind: type[Optimizer], settings: TrainConfig) -> dict[str, Any]:
    """train.optimizer_args with lists as the tuples that optimizers expect.

    Raises:
        ConfigError: the constructor takes no such argument, or it has a key of its own.
    """
    known = [name for name in inspect.signature(kind).parameters if name not in {"params", *OWN_KEYS}]
    problems: list[str] = []
    for name in settings.optimizer_args:
        if name in OWN_KEYS:
            problems.append(f"train.optimizer_args has {name}, which is {OWN_KEYS[name]}")
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            suggestion = f", did you mean {near[0]}?" if near else ""
            problems.append(f"train.optimizer_args has {name}, which {kind.__name__} does not take{suggestion}")
    if problems:
        raise ConfigError("\n       ".join(problems), f"{kind.__name__} takes {', '.join(known)}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.optimizer_args.items()}
