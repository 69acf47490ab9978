"""A sweep file: read, checked with the config it rests on, all problems at once."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tomlkit
from pydantic import Field, ValidationError

from shared.config import path_settings
from shared.config.loading import SettingsOf, parse_config, read_toml
from shared.config.overrides import overlay, two_ends
from shared.config.schema import RUN_NAME, RUN_NAME_RULE, Config, sections
from shared.config.sections.base import OrFalse, Section
from shared.errors import ConfigError
from shared.files import paths
from shared.sweeps import space
from shared.sweeps.space import Dimension

HINT = "see docs/sweeps.md for a sweep file and every key of it"
OTHER_LINES = "\n       "
FIXED = ("run", "dashboard", "evaluation", "stop")
"""Tables that are the same in every trial."""
FIXED_KEYS = ("data.num_validation", "data.validation_ids", "data.cache_dir")
"""Likewise, of other tables."""


class SweepTable(Section):
    """`[sweep]`."""

    name: str | None = Field(default=None, description="Name of the sweep's folder; the file's stem when absent.")
    output_dir: Path = Field(default=Path("runs"), description="Folder that holds the sweep's folder.")
    base: str | None = Field(
        default=None,
        min_length=1,
        description="Config of every trial, from the sweep file's folder; in its place, tables under `[base]`.",
    )
    num_trials: OrFalse[Annotated[int, Field(ge=1)]] = Field(
        default=None, description="Trials to search with; with `grid`, every combination when absent."
    )
    sampler: Literal["tpe", "random", "grid"] = Field(
        default="tpe",
        description="Which values are tried next: `tpe` learns from the trials before, `random` does not, `grid` tries "
        "every combination.",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Of the sampler.")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        default=(),
        description="`train.seed` of the trials: the first for the search, the others to train the best settings "
        "again. None: the config's seed, and no repeats.",
    )
    finalists: int = Field(default=2, ge=1, description="How many of the best settings are trained with all seeds.")
    prune: bool = Field(default=True, description="Stop a trial that is surely worse than another at the same step.")
    min_snapshots: int = Field(
        default=2, ge=1, description="Snapshots of a trial that are evaluated before it can be pruned."
    )


class Resources(Section):
    """`[resources]`: of each trial, on Ray."""

    cpus: float = Field(default=1, gt=0, description="CPU cores per trial.")
    gpus: float = Field(default=0, ge=0, description="GPUs per trial; a fraction shares one.")
    max_parallel: OrFalse[Annotated[int, Field(ge=1)]] = Field(
        default=None, description="Trials at once at most; `false`: as many as there is room for."
    )


class SweepFile(Section):
    """The tables of a sweep file."""

    sweep: SweepTable = SweepTable()
    base: dict[str, Any] = Field(default_factory=dict, description="The config's own tables, without a file.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description='Settings of every trial, in place of the config\'s: `"section.key" = value`.'
    )
    space: dict[str, Any] = Field(
        default_factory=dict,
        description='What is searched: `"section.key"` = a list of choices, or `{ low, high, log, step }`.',
    )
    resources: Resources = Resources()


@dataclass(frozen=True)
class Sweep:
    """A sweep file without a problem."""

    name: str
    table: SweepTable
    resources: Resources
    dimensions: tuple[Dimension, ...]
    config: Config
    """Of every trial, before its own values."""
    text: bytes
    """The file as it is."""

    @property
    def folder(self) -> Path:
        """Where it is written."""
        return self.table.output_dir.resolve() / self.name

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of trials of one setting, in this order."""
        return self.table.seeds or (self.config.train.seed,)

    @property
    def combinations(self) -> list[dict[str, Any]]:
        """Of a grid; empty for other samplers."""
        return (space.grid(self.dimensions) or []) if self.table.sampler == "grid" else []

    @property
    def num_trials(self) -> int:
        """To search with."""
        return self.table.num_trials or len(self.combinations)

    def base(self) -> dict[str, Any]:
        """The settings that were given, as a tree of TOML."""
        return given_settings(self.config)

    def trial(self, values: Mapping[str, Any], seed: int, more: Mapping[str, Any]) -> str:
        """The config of a trial. more: settings that every trial gets."""
        return tomlkit.dumps(with_values(self.base(), {**more, "train.seed": seed, **values}))


def read(path: Path, settings_of: SettingsOf, problems: Sequence[str] = ()) -> Sweep:
    """The sweep of a file. problems: known already, which join the error.

    Raises:
        ConfigError: with every problem on a line of its own.
    """
    found, cures = list(problems), list[str]()
    tree = read_toml(path)
    text = path.read_bytes()
    file, wrong = _file(tree)
    found += wrong
    name = file.sweep.name or path.stem
    if not RUN_NAME.fullmatch(name):
        found.append(f"sweep.name is {name!r}: a name {RUN_NAME_RULE}")
    config = None
    base, wrong = _base_tree(file, path.parent)
    found += wrong
    if base is not None:
        try:
            config = checked(base, settings_of)
        except ConfigError as error:
            found += str(error).split(OTHER_LINES)
            cures += [error.hint]
    dimensions, wrong = _space(file, base, config, settings_of)
    found += [*wrong, *_counts(file, dimensions)]
    if found or config is None:
        raise ConfigError(OTHER_LINES.join(dict.fromkeys(found)), cures[0] if len(found) == 1 and cures else HINT)
    return Sweep(name, file.sweep, file.resources, tuple(dimensions), config, text)


def checked(tree: dict[str, Any], settings_of: SettingsOf) -> Config:
    """The config of a tree, its paths absolute.

    Raises:
        ConfigError: with every problem on a line of its own.
    """
    tree = copy.deepcopy(tree)
    problems = two_ends(tree)
    faults = path_settings.expand(tree)
    config = parse_config(tree, [*problems, *faults], "; ".join(dict.fromkeys(faults.values())), settings_of)
    return path_settings.with_absolute_paths(config, "sweep")


def with_values(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the tree with these settings, `section.key` → value."""
    changed = cast("dict[str, Any]", copy.deepcopy(dict(tree)))
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = value
    overlay(changed, nested)
    return changed


def given_settings(config: Config) -> dict[str, Any]:
    """The settings that a file or a command gave, without defaults, as a tree that reads back to the same config."""
    tree = config.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    for table, model in sections(type(config)).items():
        given = getattr(config, table).model_fields_set
        for key, field in model.model_fields.items():
            if key in given and field.default is not None and config.value(f"{table}.{key}") is None:
                tree.setdefault(table, {})[key] = False  # switched off
    for key in ("name", "output_dir"):
        tree.get("run", {}).pop(key, None)
    return tree


def _file(tree: dict[str, Any]) -> tuple[SweepFile, list[str]]:
    """The tables, what is wrong in them replaced by defaults."""
    tree, problems = copy.deepcopy(tree), list[str]()
    while True:
        try:
            return SweepFile.model_validate(tree), problems
        except ValidationError as error:
            wrong = {".".join(map(str, problem["loc"][:2])): problem for problem in error.errors()}
        for key, problem in wrong.items():
            problems.append(_in_words(key, problem))
            section, _, name = key.partition(".")
            table = tree.get(section)
            if name and isinstance(table, dict):
                cast("dict[str, Any]", table).pop(name, None)
            else:
                tree.pop(section, None)


def _in_words(key: str, problem: Any) -> str:
    section, _, name = key.partition(".")
    if problem["type"] != "extra_forbidden":
        rule = str(problem["msg"]).removeprefix("Input ").replace("should", "must")
        return f"{key} is {problem['input']!r}, {rule}"
    model = SweepFile if not name else {"sweep": SweepTable, "resources": Resources}[section]
    near = difflib.get_close_matches(name or section, model.model_fields, n=1)
    where = f"{section}.{near[0]}" if near and name else f"[{near[0]}]" if near else ""
    return f"unknown key {key}" + (f", did you mean {where}?" if where else ": leave it out")


def _base_tree(file: SweepFile, folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The tree of settings that trials have in common; None where there is none."""
    if file.sweep.base and file.base:
        return None, ["sweep.base and [base] both say what trials are made of: leave one of them out"]
    if not file.sweep.base and not file.base:
        return None, ["sweep.base is missing: name a config, such as sweep.base = 'my-lora.toml'"]
    tree, problems = copy.deepcopy(file.base), list[str]()
    if file.sweep.base:
        config = folder / paths.expand(file.sweep.base)
        try:
            tree = read_toml(config)
        except ConfigError as error:
            return None, [f"sweep.base: {error}: {error.hint}"]
        folder = config.parent
    path_settings.beside(tree, folder)
    settings: dict[str, Any] = {}
    for key, value in flat(file.settings).items():
        if key.count(".") == 1:
            settings[key] = value
        else:
            problems.append(f"settings.{key} is no section.key, such as train.max_train_steps")
    return with_values(tree, settings), problems


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """`"train.seed" = 1` and `train.seed = 1`, which TOML takes for a table, are the same here."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if "." not in key and isinstance(value, dict):
            found |= {f"{key}.{name}": one for name, one in cast("dict[str, Any]", value).items()}
        else:
            found[key] = value
    return found


def _space(
    file: SweepFile, base: dict[str, Any] | None, config: Config | None, settings_of: SettingsOf
) -> tuple[list[Dimension], list[str]]:
    """The dimensions without a problem, and the problems of the others."""
    given = flat(file.space)
    problems = [] if given else ['[space] is empty: list what is searched, such as "lora.rank" = [4, 8, 16]']
    dimensions: list[Dimension] = []
    for key, value in given.items():
        if fixed := _fixed(key):
            problems.append(f"space.{key}: {fixed}")
            continue
        if unknown := _unknown(key, base, settings_of):
            problems += unknown
            continue
        dimension, wrong = space.read(key, value)
        problems += [f"space.{key} {text}" for text in wrong]
        if dimension is None:
            continue
        unsuitable = list(_unsuitable(dimension, base, config, settings_of))
        problems += unsuitable
        dimensions += [] if unsuitable else [dimension]
    if "train.seed" in given and file.sweep.seeds:
        problems.append("space.train.seed and sweep.seeds both say the seeds: leave one of them out")
    return dimensions, problems


def _fixed(key: str) -> str:
    """Why a setting is no part of a space; empty: it may be."""
    if key.count(".") != 1 or not all(key.split(".")):
        return "it is no section.key, such as train.learning_rate"
    if key.partition(".")[0] not in FIXED and key not in FIXED_KEYS:
        return ""
    return "it must be the same in all trials, or these do not compare: put it under [settings]"


def _unsuitable(
    dimension: Dimension, base: dict[str, Any] | None, config: Config | None, settings_of: SettingsOf
) -> Iterator[str]:
    """What its values break of the settings' rules, each once."""
    if base is None:
        return
    known = set() if config else set(_problems(base, settings_of))
    for value in dimension.tried():
        wrong = [
            text for text in _problems(with_values(base, {dimension.key: value}), settings_of) if text not in known
        ]
        if wrong:
            yield from (f"space.{dimension.key} with {space.label(value)}: {text}" for text in wrong)
            return


def _unknown(key: str, base: dict[str, Any] | None, settings_of: SettingsOf) -> list[str]:
    """That there is no such setting."""
    if base is None:
        return []
    found = _problems(with_values(base, {key: 1}), settings_of)
    return [f"space.{key}: {text}" for text in found if text.startswith(f"unknown key {key}")]


def _problems(tree: dict[str, Any], settings_of: SettingsOf) -> list[str]:
    try:
        checked(tree, settings_of)
    except ConfigError as error:
        return str(error).split(OTHER_LINES)
    return []


def _counts(file: SweepFile, dimensions: Sequence[Dimension]) -> Iterator[str]:
    """What does not go together in `[sweep]`."""
    table = file.sweep
    if table.sampler == "grid":
        if dimensions and space.grid(dimensions) is None:
            endless = ", ".join(one.key for one in dimensions if one.all_values() is None)
            yield f"sweep.sampler is grid, and {endless} has too many values: give it a step, or list choices"
    elif table.num_trials is None:
        yield f"sweep.num_trials is missing: sweep.sampler is {table.sampler}, which goes on for ever"
    if len(set(table.seeds)) < len(table.seeds):
        yield "sweep.seeds has one more than once: list each seed once"
