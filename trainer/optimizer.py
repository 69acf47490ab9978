"""The optimizer by its configured name, its learning rate at every step, its state restored from a checkpoint.

Any class that can be imported works if it passes a test on a few small parameters: it updates without a closure, and
continues from a saved state exactly as without the save. Schedule-free optimizers (Defazio et al. 2024) train other
weights than those meant for use; `averaged` puts the latter into the parameters.

The schedule is a pure function of the step, so nothing of it is saved. Learning rates are set before every update.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import json
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from diffusers.optimization import get_scheduler
from prodigyopt import Prodigy
from torch.optim import Optimizer
from transformers.optimization import Adafactor

from shared.config.schema import TrainConfig
from shared.errors import ConfigError
from tasks.protocol import ParameterGroup
from trainer.checkpoint import copy_to_host, join_moments, split_optimizer

log = logging.getLogger(__name__)

PRODIGY_USUAL_RATE = 0.1

OWN_KEYS = {"lr": "train.learning_rate", "weight_decay": "train.weight_decay"}
"""Constructor arguments that have their own setting."""
WRONG_VALUE = (TypeError, ValueError, IndexError, AssertionError, RuntimeError)
"""Exceptions that optimizers raise at a wrong argument."""
CPU = torch.device("cpu")
ADVICE = "set train.optimizer = 'adamw', a good first choice"
ELSEWHERE = {
    "lion": "lion_pytorch.Lion",
    "lion8bit": "bitsandbytes.optim.Lion8bit",
    "pagedadamw8bit": "bitsandbytes.optim.PagedAdamW8bit",
    "pagedlion8bit": "bitsandbytes.optim.PagedLion8bit",
    "adamwschedulefree": "schedulefree.AdamWScheduleFree",
    "radamschedulefree": "schedulefree.RAdamScheduleFree",
    "sgdschedulefree": "schedulefree.SGDScheduleFree",
    "dadaptation": "dadaptation.DAdaptAdam",
    "dadaptadam": "dadaptation.DAdaptAdam",
    "dadaptadagrad": "dadaptation.DAdaptAdaGrad",
    "dadaptadan": "dadaptation.DAdaptAdan",
    "dadaptlion": "dadaptation.DAdaptLion",
    "dadaptsgd": "dadaptation.DAdaptSGD",
    "came": "pytorch_optimizer.CAME",
    "adan": "pytorch_optimizer.Adan",
    "lamb": "pytorch_optimizer.Lamb",
    "soap": "pytorch_optimizer.SOAP",
    "ademamix": "pytorch_optimizer.AdEMAMix",
}
"""Short names that other trainers use, and the class that each means."""
NO_CLOSURE = inspect.Parameter("closure", inspect.Parameter.KEYWORD_ONLY, default=None)
UNUSABLE = {
    "lbfgs": "it evaluates the loss several times per step",
    "sparseadam": "it needs sparse gradients, which training does not have",
}


def build(groups: Sequence[ParameterGroup], settings: TrainConfig) -> Optimizer:
    """The optimizer over groups of parameters, at their peak rates.

    Raises:
        ConfigError: the name, an argument or a value is unknown, or does not suit these parameters.
    """
    parameters = [value for group in groups for value in group.parameters]
    kind = _kind(settings.optimizer)
    arguments = {**_defaults(kind, settings, parameters[0].device), **_checked_arguments(kind, settings)}
    param_groups = [{"params": group.parameters, "lr": group.learning_rate} for group in groups]
    try:
        with contextlib.redirect_stdout(None):  # Prodigy prints that it decouples weight decay
            optimizer: Any = kind(param_groups, **arguments)
    except WRONG_VALUE as error:
        hint = "change train.optimizer_args"
        if any(value.ndim != 2 for value in parameters):
            hint += "; choose another optimizer if this one takes matrices only"
        raise ConfigError(f"train.optimizer {settings.optimizer} cannot be created: {error}", hint) from error
    if _is_schedule_free(optimizer):
        optimizer.train()
    return optimizer


def check(settings: TrainConfig, device: torch.device = CPU) -> None:
    """Test the settings on a few parameters on the device that will train, before anything large is loaded.

    Raises:
        ConfigError: as in `build`; a value fails at the first update; the optimizer cannot be resumed.
    """
    kind = _kind(settings.optimizer)
    if kind is Prodigy:
        _check_rates_of_prodigy(settings)
    if inspect.signature(kind.step).parameters.get("closure", NO_CLOSURE).default is inspect.Parameter.empty:
        raise ConfigError(
            f"train.optimizer {settings.optimizer} cannot be used: it evaluates the loss several times per step",
            ADVICE,
        )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        _test(settings, device)


def _test(settings: TrainConfig, device: torch.device) -> None:
    """Make two updates, then a third by the same optimizer and by one restored from its saved state; compare."""
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, 32, device=device).reshape(4, 8))
    optimizer = build([ParameterGroup([parameter], settings.learning_rate)], settings)
    if _is_schedule_free(optimizer) and settings.ema_decay:
        raise ConfigError(
            f"train.ema_decay is {settings.ema_decay}, but {settings.optimizer} publishes its own average",
            "set train.ema_decay = false",
        )
    if _is_schedule_free(optimizer) and not settings.lr_scheduler.startswith("constant"):
        raise ConfigError(
            f"train.lr_scheduler is {settings.lr_scheduler}, but {settings.optimizer} works without a schedule",
            "set train.lr_scheduler = 'constant'; train.lr_warmup_steps still applies",
        )
    try:
        for seed in range(2):
            _update(parameter, optimizer, seed)
    except WRONG_VALUE as error:
        kind = type(optimizer)
        raise ConfigError(
            f"train.optimizer_args {settings.optimizer_args} fail at the first update: {error}",
            f"look up their types with `python -m pydoc {kind.__module__}.{kind.__qualname__}`",
        ) from error
    twin = torch.nn.Parameter(parameter.detach().clone())
    resumed = build([ParameterGroup([twin], settings.learning_rate)], settings)
    try:
        restore(resumed, _as_saved(optimizer))
        _update(twin, resumed, seed=2)
    except (*WRONG_VALUE, KeyError, AttributeError) as error:
        raise ConfigError(
            f"train.optimizer {settings.optimizer} cannot be used: "
            f"its state cannot be saved as tensors and plain values: {error}",
            ADVICE,
        ) from error
    _update(parameter, optimizer, seed=2)
    if not torch.allclose(parameter, twin, rtol=0, atol=0, equal_nan=True):
        raise ConfigError(
            f"train.optimizer {settings.optimizer} cannot be used: it gives other results after a checkpoint, "
            "because its saved state is incomplete",
            ADVICE,
        )


def _update(parameter: torch.nn.Parameter, optimizer: Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    parameter.grad = torch.randn(parameter.shape).to(parameter.device)
    optimizer.step()


def _as_saved(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's state as it comes back from a checkpoint.

    Raises:
        TypeError: it holds something else than tensors, plain numbers and texts.
    """
    state = copy_to_host(optimizer.state_dict())
    tensors, scalars = split_optimizer(state)
    scalars, groups = json.loads(json.dumps([scalars, state["param_groups"]]))
    return {"state": join_moments(tensors, scalars), "param_groups": groups}


def _is_schedule_free(optimizer: Optimizer) -> bool:
    """Whether it has `train` and `eval` modes, which switch between the weights to train and those to use."""
    return all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval"))


@contextmanager
def averaged(optimizer: Any) -> Generator[None]:
    """Put the weights to use into the parameters; afterwards restore the trained ones, bit for bit.

    Without a schedule-free optimizer they are the same.
    """
    if not _is_schedule_free(optimizer):
        yield
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    trained = [parameter.detach().clone() for parameter in parameters]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        with torch.no_grad():
            for parameter, value in zip(parameters, trained, strict=True):
                parameter.copy_(value)


def _check_rates_of_prodigy(settings: TrainConfig) -> None:
    if settings.lora_plus_ratio not in (None, 1):
        raise ConfigError(
            f"train.lora_plus_ratio is {settings.lora_plus_ratio:g}: Prodigy adapts one rate for all parameters",
            "set train.lora_plus_ratio = false, or choose another optimizer",
        )
    if settings.text_encoder_learning_rate not in (None, settings.learning_rate):
        raise ConfigError(
            f"train.text_encoder_learning_rate is {settings.text_encoder_learning_rate}, must be "
            f"train.learning_rate ({settings.learning_rate}): Prodigy adapts one rate for all parameters",
            "set train.text_encoder_learning_rate = false",
        )
    if settings.learning_rate < PRODIGY_USUAL_RATE:
        log.warning(
            "train.learning_rate is %g: Prodigy multiplies it by a rate it estimates, and its default is 1.0",
            settings.learning_rate,
        )


def peak_rates(optimizer: Optimizer) -> list[float]:
    """The learning rate of each parameter group of an optimizer just built, where the schedule is 1."""
    return [group["lr"] for group in optimizer.param_groups]


def schedule(settings: TrainConfig) -> Callable[[int], float]:
    """A function: updates done before → share of the peak learning rate, computed by diffusers.

    A falling schedule ends at lr_final_fraction instead of 0. Warm-up always rises from 0, also for `constant`, which
    has no warm-up in diffusers.
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
    """Set every group's learning rate for the coming update; returns the first group's.

    Prodigy multiplies that rate by its estimate d (Mishchenko & Defazio 2023); the returned rate includes d.
    """
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak * factor
    first = optimizer.param_groups[0]
    return first["lr"] * first["d"] if "d0" in first else first["lr"]


def restore(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Restore a checkpoint's state. Constructor arguments of a group keep the values of the present settings.

    Prodigy keeps estimates in its groups: those are state, and are restored.
    """
    current = optimizer.state_dict()["param_groups"]
    arguments = inspect.signature(type(optimizer)).parameters
    groups = [
        {**old, **{key: value for key, value in new.items() if key in arguments}}
        for old, new in zip(saved["param_groups"], current, strict=True)
    ]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def _kind(name: str) -> type[Optimizer]:
    """The class of that name, in upper or lower case, or any `module.Class`.

    Raises:
        ConfigError: there is none, or it cannot train here.
    """
    if all(map(str.isidentifier, parts := name.split("."))) and len(parts) > 1:
        return _imported(name)
    folded = name.casefold()
    if folded == "adamw8bit":
        return _adamw8bit()
    kinds = {kind.casefold(): getattr(torch.optim, kind) for kind in dir(torch.optim) if _is_optimizer(kind)}
    kinds |= {"prodigy": Prodigy, "adafactor": Adafactor}
    if folded in UNUSABLE:
        raise ConfigError(f"train.optimizer {name} cannot be used: {UNUSABLE[folded]}", ADVICE)
    if path := ELSEWHERE.get(folded.replace("_", "").replace("-", "")):
        package = path.partition(".")[0].replace("_", "-")
        raise ConfigError(
            f"train.optimizer is {name!r}, which is not in torch.optim",
            f"pip install {package}, and set train.optimizer = {path!r}",
        )
    if folded not in kinds:
        near = difflib.get_close_matches(folded, [*kinds, "adamw8bit"], n=1)
        raise ConfigError(
            f"train.optimizer is {name!r}, not known" + (f", did you mean {near[0]}?" if near else ""),
            f"choose adamw8bit, {', '.join(sorted(kinds.keys() - UNUSABLE.keys()))}, or another as module.Class",
        )
    return kinds[folded]


def _imported(name: str) -> type[Optimizer]:
    """`module.Class`.

    Raises:
        ConfigError: the module is not installed, or has no such optimizer.
    """
    path, _, kind = name.rpartition(".")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        package = (error.name or path).partition(".")[0]
        raise ConfigError(
            f"train.optimizer is {name!r}, but the module {error.name} is not installed",
            f"pip install {package.replace('_', '-')}",
        ) from None
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"train.optimizer is {name!r}, which cannot be imported: {error}", "install its package again"
        ) from error
    names = [member for member in dir(module) if _is_optimizer(member, module)]
    if kind not in names:
        near = difflib.get_close_matches(kind, names, n=1)
        raise ConfigError(
            f"train.optimizer is {name!r}, which is no subclass of torch.optim.Optimizer"
            + (f", did you mean {path}.{near[0]}?" if near else ""),
            f"choose one of {path}: {', '.join(names)}" if names else "choose a class of another module",
        )
    return getattr(module, kind)


def _is_optimizer(name: str, module: ModuleType = torch.optim) -> bool:
    kind = getattr(module, name)
    return inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer


def _adamw8bit() -> type[Optimizer]:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("train.optimizer adamw8bit needs bitsandbytes", "pip install 'darkroom[gpu]'")
    return importlib.import_module("bitsandbytes").optim.AdamW8bit


def _defaults(kind: type[Optimizer], settings: TrainConfig, device: torch.device) -> dict[str, Any]:
    """Arguments of every optimizer, which train.optimizer_args can override."""
    defaults: dict[str, Any] = {"lr": settings.learning_rate}
    if "weight_decay" in inspect.signature(kind).parameters:
        defaults["weight_decay"] = settings.weight_decay
    if kind is torch.optim.AdamW and device.type == "cuda":
        defaults["fused"] = not settings.optimizer_args.keys() & {"foreach", "differentiable"}
    if kind is Adafactor:  # use train.learning_rate: the paper's scaling trains matrices that start at zero very slowly
        defaults |= {"scale_parameter": False, "relative_step": False}
    return defaults


def _checked_arguments(kind: type[Optimizer], settings: TrainConfig) -> dict[str, Any]:
    """train.optimizer_args with lists as the tuples that optimizers expect.

    Raises:
        ConfigError: the constructor has no such argument, or the argument has its own setting.
    """
    parameters = inspect.signature(kind).parameters.values()
    allowed = [parameter.name for parameter in parameters if parameter.name not in {"params", *OWN_KEYS}]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    problems: list[str] = []
    for name in settings.optimizer_args:
        if name in OWN_KEYS:
            problems.append(f"train.optimizer_args has {name}, which is {OWN_KEYS[name]}")
        elif name not in allowed and not takes_any:
            near = difflib.get_close_matches(name, allowed, n=1)
            suggestion = f", did you mean {near[0]}?" if near else ""
            problems.append(f"train.optimizer_args has {name}, which {kind.__name__} does not take{suggestion}")
    if problems:
        raise ConfigError("\n       ".join(problems), f"use the arguments of {kind.__name__}: {', '.join(allowed)}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.optimizer_args.items()}
