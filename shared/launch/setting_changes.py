"""Which settings of a run may change when it is resumed, and what is noted when they do.

A run is resumed with the settings it was made with. `--allow-change KEY` lets one differ from the next step on; some
never may, because what the run holds by then was made with them. `dashboard` and `run` are this session's affair: where
to listen, and where the folder is.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from enum import Enum
from typing import Any

from shared.config.dumping import dump_config
from shared.config.schema import ENDS, Config
from shared.data import references
from shared.errors import ConfigError, RunFolderError
from shared.run_folder.checkpoints import newest_whole
from shared.run_folder.heartbeat import vacant
from shared.run_folder.records import Change, Manifest, replace_file
from shared.run_folder.run_dir import RunDir, steps_in

FREE_SECTIONS = ("run", "dashboard")


class Rule(Enum):
    """What a setting's change would do to a run."""

    UPKEEP = "when something is saved, where, or how long: the same steps come out"
    STEPS = "every further step is another one"
    STATE = "the adapter and the optimizer's state were made with it"
    START = "the run began from it"
    STREAM = "it decides which picture comes when, and the run is in the middle of that"
    SPLIT = "it decides which pictures and captions are held out for evaluation"
    RESULTS = "results already made could not be compared with later ones"


CHANGEABLE = frozenset({Rule.UPKEEP, Rule.STEPS})

RULES: dict[str, Rule] = {
    "model.path": Rule.STATE,
    "model.revision": Rule.STATE,
    "model.variant": Rule.STATE,
    "model.vae": Rule.STATE,
    "model.single_file_config": Rule.STATE,
    "model.mixed_precision": Rule.STEPS,
    "model.quantization": Rule.STATE,
    "model.prediction_type": Rule.STATE,
    "model.clip_skip": Rule.STATE,
    "data.path": Rule.SPLIT,
    "data.resolution": Rule.SPLIT,
    "data.buckets": Rule.STREAM,
    "data.train_size": Rule.STREAM,
    "data.num_validation": Rule.SPLIT,
    "data.validation_ids": Rule.SPLIT,
    "data.regularization_path": Rule.SPLIT,
    "data.masks": Rule.STEPS,
    "data.trigger_word": Rule.SPLIT,
    "data.random_flip": Rule.STEPS,
    "data.caption_dropout": Rule.STEPS,
    "data.shuffle_tags": Rule.STEPS,
    "data.tag_dropout": Rule.STEPS,
    "data.keep_tags": Rule.STEPS,
    "data.max_token_length": Rule.RESULTS,
    "data.cache_dir": Rule.UPKEEP,
    "lora.rank": Rule.STATE,
    "lora.lora_alpha": Rule.STATE,
    "lora.target_modules": Rule.STATE,
    "lora.conv_rank": Rule.STATE,
    "lora.conv_alpha": Rule.STATE,
    "lora.init_from": Rule.START,
    "lora.dropout": Rule.STEPS,
    "lora.use_rslora": Rule.STATE,
    "lora.use_dora": Rule.STATE,
    "lora.text_encoder": Rule.STATE,
    "lora.text_encoder_mlp": Rule.STATE,
    "train.max_train_steps": Rule.STEPS,  # schedules end there
    "train.max_train_epochs": Rule.STEPS,
    "train.train_batch_size": Rule.STREAM,
    "train.num_processes": Rule.STREAM,
    "train.gradient_accumulation_steps": Rule.STREAM,
    "train.optimizer": Rule.STATE,
    "train.optimizer_args": Rule.STATE,
    "train.learning_rate": Rule.STEPS,
    "train.text_encoder_learning_rate": Rule.STEPS,
    "train.lora_plus_ratio": Rule.STATE,
    "train.lr_scheduler": Rule.STEPS,
    "train.lr_warmup_steps": Rule.STEPS,
    "train.lr_num_cycles": Rule.STEPS,
    "train.lr_final_fraction": Rule.STEPS,
    "train.weight_decay": Rule.STEPS,
    "train.max_grad_norm": Rule.STEPS,
    "train.ema_decay": Rule.STEPS,
    "train.loss_type": Rule.STEPS,
    "train.huber_c": Rule.STEPS,
    "train.prior_loss_weight": Rule.STEPS,
    "train.unmasked_weight": Rule.STEPS,
    "train.snr_gamma": Rule.STEPS,
    "train.noise_offset": Rule.STEPS,
    "train.multires_noise_iterations": Rule.STEPS,
    "train.multires_noise_discount": Rule.STEPS,
    "train.zero_terminal_snr": Rule.STATE,
    "train.min_timestep": Rule.STEPS,
    "train.max_timestep": Rule.STEPS,
    "train.gradient_checkpointing": Rule.UPKEEP,
    "train.torch_compile": Rule.UPKEEP,
    "train.snapshot_steps": Rule.UPKEEP,
    "train.checkpointing_steps": Rule.UPKEEP,
    "train.checkpoints_total_limit": Rule.UPKEEP,
    "train.validation_steps": Rule.UPKEEP,
    "train.seed": Rule.STREAM,
    "stop.rule": Rule.UPKEEP,
    "stop.patience": Rule.UPKEEP,
    "stop.min_snapshots": Rule.UPKEEP,
    "stop.max_train_seconds": Rule.UPKEEP,
    "stop.max_bad_steps": Rule.UPKEEP,
    "evaluation.num_prompts": Rule.RESULTS,
    "evaluation.num_seeds": Rule.RESULTS,
    "evaluation.scheduler": Rule.RESULTS,
    "evaluation.num_inference_steps": Rule.RESULTS,
    "evaluation.guidance_scale": Rule.RESULTS,
    "evaluation.batch_size": Rule.RESULTS,
    "evaluation.seed": Rule.RESULTS,
    "evaluation.order": Rule.UPKEEP,
    "evaluation.every": Rule.UPKEEP,
    "evaluation.confirm_prompts": Rule.RESULTS,
    "evaluation.confirm_seeds": Rule.RESULTS,
    "evaluation.torch_compile": Rule.RESULTS,
    "evaluation.dtype": Rule.RESULTS,
    "evaluation.device": Rule.RESULTS,
    "evaluation.visual": Rule.RESULTS,
    "evaluation.fashion_clip": Rule.RESULTS,
    "evaluation.rescan_seconds": Rule.UPKEEP,
}


def differences(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """Key → value before and after, as TOML would hold them."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {
        f"{section}.{key}": (old[section][key], new[section][key])
        for section in old
        if section not in FREE_SECTIONS
        for key in old[section]
        if old[section][key] != new[section][key]
    }


def apply(
    run: RunDir, config: Config, allowed: Collection[str], step: int | None = None, moved: Collection[str] = ()
) -> tuple[Change, ...]:
    """Resume `run` with `config`: nothing where they agree, else what is allowed is written down and holds from now on.

    step: the checkpoint the run goes on from; by default its newest whole one. moved: the settings that name another
    place of the same thing (`shared.launch.relocation`); they need no leave.

    Raises:
        ConfigError: `allowed` names a key there is not.
        RunFolderError: a difference that was not allowed or can never be, or a program at work in the run.
    """
    _require_known(allowed)
    ends = {f"train.{key}" for key in ENDS}
    allowed = {*allowed, *(ends if ends & set(allowed) else ())}
    found = differences(run.read_config(), config)
    if not found:
        return ()
    _require_allowed(run, {key: values for key, values in found.items() if key not in moved}, allowed)
    with vacant(run, "trainer"), vacant(run, "evaluator"):
        step = (newest_whole(run) or 0) if step is None else step
        if any(RULES[key] is Rule.STEPS for key in found):
            require_nothing_past(run, step)
        changes = tuple(Change(key=key, before=old, after=new, step=step) for key, (old, new) in found.items())
        if any(RULES[key] is Rule.RESULTS and key not in moved for key in found):
            references.withdraw(run)  # nothing is evaluated yet; the next program publishes others
        record = run.read_record()
        record.model_copy(update={"changes": (*record.changes, *changes)}).write(run.record)
        replace_file(run.config, dump_config(config).encode())
    return changes


def state_settings(config: Config) -> dict[str, Any]:
    """The settings an adapter and an optimizer's state were made with, for a checkpoint's manifest."""
    tree = config.model_dump(mode="json")
    keys = [key.split(".") for key, rule in RULES.items() if rule is Rule.STATE]
    return {f"{section}.{key}": tree[section][key] for section, key in keys}


def require_same_state(config: Config, manifest: Manifest, moved: Collection[str] = ()) -> None:
    """Whether a run of this configuration can begin at another run's checkpoint. moved: as `apply`.

    Raises:
        RunFolderError: naming the settings its state was made with otherwise.
    """
    made_with = manifest.details.get("settings", {})
    found = {
        key: (made_with[key], value)
        for key, value in state_settings(config).items()
        if key in made_with and made_with[key] != value and key not in moved
    }
    if found:
        raise RunFolderError(
            f"the checkpoint of step {manifest.step} was made with other settings: "
            + "; ".join(f"{_said(key, *pair)} ({RULES[key].value})" for key, pair in found.items()),
            "restore them, or train without --from-checkpoint",
        )


def describe(changes: Collection[Change]) -> Iterator[str]:
    """A sentence for each change."""
    for change in changes:
        yield f"{_said(change.key, change.before, change.after)} after step {change.step}"


def require_nothing_past(run: RunDir, step: int) -> None:
    """Going on differently after `step` must not leave snapshots or results of later steps from the way before.

    Raises:
        RunFolderError: there are some; a published name keeps its meaning for ever.
    """
    past = sorted(number for number in run.snapshots_to_evaluate() | steps_in(run.evaluations) if number > step)
    if not past:
        return
    names = ", ".join(map(str, past))
    cure = (
        f"--new --from-checkpoint {run.checkpoint(step)} begins another run there" if step else "--new begins another"
    )
    raise RunFolderError(
        f"{run.path} would go on after step {step}, but has published snapshots of later steps ({names}), "
        "which the further run would contradict",
        f"{cure}; or resume without the change, and change after a stop: nothing lies past its checkpoint then",
    )


def _require_known(allowed: Collection[str]) -> None:
    unknown = [_named(key) for key in allowed if key not in RULES and key.partition(".")[0] not in FREE_SECTIONS]
    if unknown:
        raise ConfigError(f"--allow-change: unknown key {', '.join(unknown)}", "docs/configuration.md lists every key")


def _named(key: str) -> str:
    near = difflib.get_close_matches(key, RULES, n=1)
    return f"{key}, did you mean {near[0]}?" if near else key


def _require_allowed(run: RunDir, found: dict[str, tuple[Any, Any]], allowed: Collection[str]) -> None:
    evaluated = bool(steps_in(run.evaluations))
    fixed = {key for key in found if RULES[key] not in CHANGEABLE and (RULES[key] is not Rule.RESULTS or evaluated)}
    refused = [key for key in found if key in fixed or key not in allowed]
    if not refused:
        return
    reasons = {key: f", which can never change: {RULES[key].value}" for key in fixed}
    flags = " ".join(f"--allow-change {key}" for key in refused)
    raise RunFolderError(
        f"{run.path} was made with other settings: "
        + "; ".join(_said(key, *found[key]) + reasons.get(key, "") for key in refused),
        "restore them to resume, "
        + ("" if fixed else f"go on with them by {flags}, ")
        + "or start beside it with --new",
    )


def _said(key: str, before: Any, after: Any) -> str:
    return f"{key} was {before}, is {after}"
