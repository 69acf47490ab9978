"""The optimizer by its configured name, its learning rate at every step, and its state back from a checkpoint.

Any class that can be imported will do if it is proven on a miniature: it makes updates without a closure, and goes on
from a saved state as if nothing had happened. Schedule-free ones (Defazio et al. 2024) learn with other weights than
those to be used; `averaged` shows the latter.

The schedule is a pure function of the step: nothing of it is saved. Learning rates are set before every update.
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
"""Constructor arguments that have keys of their own."""
WRONG_VALUE = (TypeError, ValueError, IndexError, AssertionError, RuntimeError)
"""What optimizers raise at an argument they do not like."""
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
"""Short names that people know from other trainers, and the class that bears them."""
NO_CLOSURE = inspect.Parameter("closure", inspect.Parameter.KEYWORD_ONLY, default=None)
UNUSABLE = {
    "lbfgs": "it evaluates the loss several times per step",
    "sparseadam": "a LoRA's gradients are not sparse",
}


def build(groups: Sequence[ParameterGroup], settings: TrainConfig) -> Optimizer:
    """The optimizer over groups of parameters, at their peak rates.

    Raises:
        ConfigError: unknown name, argument or value; or one that these parameters cannot have.
    """
    parameters = [value for group in groups for value in group.parameters]
    kind = _kind(settings.optimizer)
    arguments = {**_defaults(kind, settings, parameters[0].device), **_checked_arguments(kind, settings)}
    described = [{"params": group.parameters, "lr": group.learning_rate} for group in groups]
    try:
        with contextlib.redirect_stdout(None):  # Prodigy prints that it decouples weight decay
            optimizer: Any = kind(described, **arguments)
    except WRONG_VALUE as error:
        cure = "see train.optimizer_args"
        if any(value.ndim != 2 for value in parameters):
            cure += '; if it takes matrices only, set lora.target_modules = "all-linear", or take another optimizer'
        raise ConfigError(f"train.optimizer {settings.optimizer} cannot be made: {error}", cure) from error
    if _is_schedule_free(optimizer):
        optimizer.train()
    return optimizer


def check(settings: TrainConfig, device: torch.device = CPU) -> None:
    """Try the settings on a miniature on the device that will train, before anything heavy is loaded.

    Raises:
        ConfigError: as `build` does; a value that fails at the first update; an optimizer that cannot be resumed.
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
        _prove(settings, device)


def _prove(settings: TrainConfig, device: torch.device) -> None:
    """Two updates of a miniature, and one more: by the same optimizer, and by another from its saved state."""
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, 32, device=device).reshape(4, 8))
    optimizer = build([ParameterGroup([parameter], settings.learning_rate)], settings)
    if _is_schedule_free(optimizer) and settings.ema_decay:
        raise ConfigError(
            f"train.ema_decay is {settings.ema_decay}, but {settings.optimizer} publishes an average of its own",
            "set train.ema_decay = false",
        )
    if _is_schedule_free(optimizer) and not settings.lr_scheduler.startswith("constant"):
        raise ConfigError(
            f"train.lr_scheduler is {settings.lr_scheduler}, but {settings.optimizer} is made to learn without one",
            "set train.lr_scheduler = 'constant'; train.lr_warmup_steps holds for it too",
        )
    try:
        for seed in range(2):
            _update(parameter, optimizer, seed)
    except WRONG_VALUE as error:
        kind = type(optimizer)
        raise ConfigError(
            f"train.optimizer_args {settings.optimizer_args} fail at the first update: {error}",
            f"look up their types by `python -m pydoc {kind.__module__}.{kind.__qualname__}`",
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
            f"train.optimizer {settings.optimizer} cannot be used: after a checkpoint it goes on differently",
            f"{ADVICE}: this one keeps a part of its state to itself",
        )


def _update(parameter: torch.nn.Parameter, optimizer: Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    parameter.grad = torch.randn(parameter.shape).to(parameter.device)
    optimizer.step()


def _as_saved(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's state as a checkpoint gives it back.

    Raises:
        TypeError: it is not made of tensors, plain numbers and texts.
    """
    state = copy_to_host(optimizer.state_dict())
    tensors, scalars = split_optimizer(state)
    scalars, groups = json.loads(json.dumps([scalars, state["param_groups"]]))
    return {"state": join_moments(tensors, scalars), "param_groups": groups}


def _is_schedule_free(optimizer: Optimizer) -> bool:
    """Whether it asks to be told when its parameters are to be used instead of trained on."""
    return all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval"))


@contextmanager
def averaged(optimizer: Any) -> Generator[None]:
    """The weights to use and to ship are in the parameters; those that learn are back afterwards, bit for bit.

    The same ones, unless the optimizer is schedule-free.
    """
    if not _is_schedule_free(optimizer):
        yield
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    learning = [parameter.detach().clone() for parameter in parameters]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        with torch.no_grad():
            for parameter, value in zip(parameters, learning, strict=True):
                parameter.copy_(value)


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
    """Set every group's learning rate for the coming update; returns the first group's.

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
    """The class of that name: of any case, or `module.Class` from anywhere.

    Raises:
        ConfigError: there is none, or it cannot train a LoRA here.
    """
    if all(map(str.isidentifier, parts := name.split("."))) and len(parts) > 1:
        return _imported(name)
    wanted = name.casefold()
    if wanted == "adamw8bit":
        return _adamw8bit()
    kinds = {kind.casefold(): getattr(torch.optim, kind) for kind in dir(torch.optim) if _is_optimizer(kind)}
    kinds |= {"prodigy": Prodigy, "adafactor": Adafactor}
    if wanted in UNUSABLE:
        raise ConfigError(f"train.optimizer {name} cannot be used: {UNUSABLE[wanted]}", ADVICE)
    if other := ELSEWHERE.get(wanted.replace("_", "").replace("-", "")):
        package = other.partition(".")[0].replace("_", "-")
        raise ConfigError(
            f"train.optimizer is {name!r}, which is not in torch.optim",
            f"pip install {package}, and set train.optimizer = {other!r}",
        )
    if wanted not in kinds:
        near = difflib.get_close_matches(wanted, [*kinds, "adamw8bit"], n=1)
        raise ConfigError(
            f"train.optimizer is {name!r}, not known" + (f", did you mean {near[0]}?" if near else ""),
            f"choose adamw8bit, {', '.join(sorted(kinds.keys() - UNUSABLE.keys()))}, or another as module.Class",
        )
    return kinds[wanted]


def _imported(name: str) -> type[Optimizer]:
    """`module.Class`.

    Raises:
        ConfigError: the module is not installed, or holds no such optimizer.
    """
    path, _, kind = name.rpartition(".")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        package = (error.name or path).partition(".")[0]
        raise ConfigError(
            f"train.optimizer is {name!r}, and there is no module {error.name}",
            f"pip install {package.replace('_', '-')}",
        ) from None
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"train.optimizer is {name!r}, which cannot be imported: {error}", "install its package again"
        ) from error
    known = [found for found in dir(module) if _is_optimizer(found, module)]
    if kind not in known:
        near = difflib.get_close_matches(kind, known, n=1)
        raise ConfigError(
            f"train.optimizer is {name!r}, which is no subclass of torch.optim.Optimizer"
            + (f", did you mean {path}.{near[0]}?" if near else ""),
            f"choose one of {path}: {', '.join(known)}" if known else "choose a class of another module",
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
    taken = inspect.signature(kind).parameters.values()
    known = [argument.name for argument in taken if argument.name not in {"params", *OWN_KEYS}]
    takes_any = any(argument.kind is argument.VAR_KEYWORD for argument in taken)
    problems: list[str] = []
    for name in settings.optimizer_args:
        if name in OWN_KEYS:
            problems.append(f"train.optimizer_args has {name}, which is {OWN_KEYS[name]}")
        elif name not in known and not takes_any:
            near = difflib.get_close_matches(name, known, n=1)
            suggestion = f", did you mean {near[0]}?" if near else ""
            problems.append(f"train.optimizer_args has {name}, which {kind.__name__} does not take{suggestion}")
    if problems:
        raise ConfigError("\n       ".join(problems), f"give only what {kind.__name__} takes: {', '.join(known)}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.optimizer_args.items()}
