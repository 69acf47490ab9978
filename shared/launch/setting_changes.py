"""What happens when a run is resumed with other settings: they are refused, or written down and used.

A run is resumed with the settings it was made with. `--allow-change KEY` lets one differ from the next step on; some
never may, because what the run holds by then was made with them. `shared.config.resume_rule` has the rules.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.config.dumping import dump_config
from shared.config.loading import own_settings
from shared.config.resume_rule import CHANGEABLE, Rule
from shared.config.schema import ENDS, Config, own_table, rules_of
from shared.data import prompt_file, references
from shared.errors import ConfigError, RunFolderError
from shared.files.replacing import replace_file
from shared.run_folder.averages import is_average
from shared.run_folder.checkpoints import newest_whole
from shared.run_folder.heartbeat import vacant
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.run_record import Change
from shared.run_folder.run_dir import RunDir, steps_in

FORMER_DEFAULTS = {"evaluation.visual": "gradients", "train.snr_gamma": 5.0}
"""Settings that had another default in an earlier version of Darkroom."""


class OtherSettingsError(RunFolderError):
    """A run is to go on with settings that it cannot take."""


def with_former_defaults(before: Config, config: Config) -> Config:
    """`config` for a run whose settings are `before`: what it does not name keeps the default of the run's version."""
    for key, former in FORMER_DEFAULTS.items():
        section, _, name = key.partition(".")
        settings = getattr(config, section)
        if name not in settings.model_fields_set and before.value(key) == former:
            config = config.model_copy(update={section: settings.model_copy(update={name: former})})
    return config


def differences(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """Key → its values before and after, as in TOML, without the settings that belong to a session."""
    old, new, rules = _flat(before), _flat(after), rules_of(after)
    if after.own is not None:  # what run.json holds of the task's settings is unchecked, and may lack a newer one
        own = own_settings(before, type(after.own)).model_dump(mode="json")
        old |= {f"{own_table(after.run.task)}.{key}": value for key, value in own.items()}
    return {
        key: (old.get(key), new.get(key))
        for key in {**old, **new}
        if rules.get(key) is not Rule.SESSION and old.get(key) != new.get(key)
    }


def _flat(config: Config) -> dict[str, Any]:
    """Key path → value, as in TOML."""
    tree = config.model_dump(mode="json")
    return {f"{section}.{key}": value for section, table in tree.items() for key, value in table.items()}


def apply(
    run: RunDir, config: Config, allowed: Collection[str], step: int | None = None, moved: Collection[str] = ()
) -> tuple[Change, ...]:
    """Make `config` the settings of `run`; returns the differences, which `run.json` keeps.

    step: the checkpoint the run resumes from; by default its newest whole one. moved: the settings that name a new
    place of the same thing (`shared.launch.relocation`); they need not be allowed.

    Raises:
        ConfigError: `allowed` names an unknown key, or the file of `evaluation.prompts` is wrong.
        RunFolderError: a difference is not allowed or can never be, or a program is at work in the run.
    """
    rules = rules_of(config)
    _require_known(allowed, rules)
    ends = {f"train.{key}" for key in ENDS}
    allowed = {*allowed, *(ends if ends & set(allowed) else ())}
    changed = differences(run.read_config(), config)
    if not changed:
        return ()
    _require_allowed(run, {key: values for key, values in changed.items() if key not in moved}, allowed, rules)
    if "evaluation.prompts" in changed and config.evaluation.prompts and "evaluation.prompts" not in moved:
        prompt_file.read(Path(config.evaluation.prompts), config.data.trigger_word)
    with vacant(run, "trainer"), vacant(run, "evaluator"):
        step = (newest_whole(run) or 0) if step is None else step
        if any(rules.get(key) is Rule.STEPS for key in changed):
            require_nothing_past(run, step)
        changes = tuple(Change(key=key, before=old, after=new, step=step) for key, (old, new) in changed.items())
        if any(rules.get(key) is Rule.RESULTS and key not in moved for key in changed):
            references.withdraw(run)  # nothing is evaluated yet, and the next program publishes others
        record = run.read_record()
        if record.changes[-len(changes) :] != changes:  # else it was killed below, and the command is given again
            record.model_copy(update={"changes": (*record.changes, *changes)}).write(run.record)
        replace_file(run.config, dump_config(config).encode())
    return changes


def require_allowed(run: RunDir, config: Config, allowed: Collection[str], moved: Collection[str] = ()) -> None:
    """What `apply` would refuse, without a change.

    Raises:
        OtherSettingsError: naming the settings.
    """
    changed = differences(run.read_config(), config)
    _require_allowed(
        run, {key: values for key, values in changed.items() if key not in moved}, allowed, rules_of(config)
    )


def state_settings(config: Config) -> dict[str, Any]:
    """The settings an adapter and an optimizer's state were made with, for a checkpoint's manifest."""
    values = _flat(config)
    return {key: values[key] for key, rule in rules_of(config).items() if rule is Rule.STATE}


def require_same_state(config: Config, manifest: Manifest, moved: Collection[str] = ()) -> None:
    """Refuse another run's checkpoint whose state was made with other settings. moved: as in `apply`.

    Raises:
        RunFolderError: naming these settings.
    """
    made_with = manifest.details.get("settings", {})
    changed = {
        key: (made_with[key], value)
        for key, value in state_settings(config).items()
        if key in made_with and made_with[key] != value and key not in moved
    }
    if changed:
        raise RunFolderError(
            f"the checkpoint of step {manifest.step} was made with other settings: "
            + "; ".join(f"{_difference(key, *pair)} ({Rule.STATE.value})" for key, pair in changed.items()),
            "restore them, or train without --from-checkpoint",
        )


def describe(changes: Collection[Change]) -> Iterator[str]:
    """A sentence for each change."""
    for change in changes:
        yield f"{_difference(change.key, change.before, change.after)} after step {change.step}"


def require_nothing_past(run: RunDir, step: int) -> None:
    """Refuse to continue with other settings where snapshots or results of later steps are published.

    A published name keeps its meaning: they would contradict the steps that come now.

    Raises:
        RunFolderError: naming their steps.
    """
    steps = run.snapshots_to_evaluate() | {one for one in steps_in(run.evaluations) if not is_average(one)}
    past = sorted(number for number in steps if number > step)
    if not past:
        return
    names = ", ".join(map(str, past))
    cure = (
        f"begin another run there by --new --from-checkpoint {run.checkpoint(step)}"
        if step
        else "begin another by --new"
    )
    raise RunFolderError(
        f"{run.path} would resume after step {step}, but has published snapshots of later steps ({names}), "
        "which the further run would contradict",
        f"{cure}; or resume without the change and make it after the next stop, which leaves nothing past it",
    )


def _require_known(allowed: Collection[str], rules: Mapping[str, Rule]) -> None:
    unknown = [_named(key, rules) for key in allowed if key not in rules]
    if unknown:
        raise ConfigError(
            f"--allow-change: unknown key {', '.join(unknown)}", "see docs/configuration.md for every key"
        )


def _named(key: str, rules: Mapping[str, Rule]) -> str:
    near = difflib.get_close_matches(key, rules, n=1)
    return f"{key}, did you mean {near[0]}?" if near else key


def _require_allowed(
    run: RunDir, changed: dict[str, tuple[Any, Any]], allowed: Collection[str], rules: Mapping[str, Rule]
) -> None:
    changeable = CHANGEABLE if steps_in(run.evaluations) else {*CHANGEABLE, Rule.RESULTS}
    fixed = {key: rule for key in changed if (rule := rules.get(key, Rule.STATE)) not in changeable}
    refused = [key for key in changed if key in fixed or key not in allowed]
    if not refused:
        return
    reasons = {key: f", which can never change: {rule.value}" for key, rule in fixed.items()}
    rows = (_difference(key, *changed[key]) + reasons.get(key, ", which can change") for key in refused)
    flags = " ".join(f"--allow-change {key}" for key in refused)
    raise OtherSettingsError(
        f"{run.path} was made with other settings:" + "".join(f"\n       {row}" for row in rows),
        "restore them to resume, "
        + ("" if fixed else f"resume with them by {flags}, ")
        + "or start beside it with --new",
    )


def _difference(key: str, before: Any, after: Any) -> str:
    return f"{key} was {before}, is {after}"
