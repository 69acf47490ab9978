"""Which run `run.py evaluate FOLDER` is about: a new one, or one that it goes on with.

A run is gone on with if its files are taken from this folder, or lay in another one before they were moved here. What
the command leaves out then stays as it is in the run.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from shared.config.path_settings import NO_PICTURES
from shared.config.schema import Config, EvaluationConfig
from shared.errors import ConfigError, RunFolderError
from shared.launch import setting_changes
from shared.launch.task import Say
from shared.run_folder.records.run_record import Imported
from shared.run_folder.run_dir import RunDir, free_name, list_runs, numbered, open_run
from tasks.text_to_image.foreign.command import pictures
from tasks.text_to_image.foreign.command.settings import Options, run_of
from tasks.text_to_image.foreign.files.found import Search
from tasks.text_to_image.foreign.snapshots import moved
from tasks.text_to_image.foreign.snapshots.moved import Moved

KEPT = {
    "base": "--base",
    "references": "--references",
    "prompts": "--prompts",
    "train_pictures": "--train-pictures",
    "trigger_word": "--trigger-word",
    "profile": "--profile",
}
"""Options that a run remembers."""
OPTIONS = {pictures.REFERENCES: "references", pictures.TRAINING: "train_pictures"}
ANY = "*"


@dataclass(frozen=True)
class Former:
    """A run to go on with."""

    run: RunDir
    imported: Imported
    moved: Moved | None = None
    """None: its files lie where they lay."""

    @property
    def config(self) -> Config:
        """Its settings."""
        return self.run.read_config()


def choose(folder: Path, options: Options) -> tuple[Options, Former | None]:
    """The options with the name of the run, and with what the run that is gone on with remembers of them.

    Raises:
        ConfigError: the run that is named is another's.
    """
    name = run_of(folder, options)
    if options.new:
        return replace(options, name=free_name(options.output, name), new=False), None
    path, alike = options.output / name, numbered(options.output, name)
    if not (alike or options.name):  # a link to the folder, which has a run under its own name
        alike = numbered(options.output, run_of(folder.resolve(), options))
    if not (path.exists() if options.name else alike):
        return replace(options, name=name), None
    former = _former(folder, options, [path] if options.name else [*alike.values()])
    if former is None and options.name and folder.is_dir():
        raise _of_another(folder, options, open_run(path))
    if former is None:
        return replace(options, name=free_name(options.output, name)), None
    return _remembering(replace(options, name=former.run.path.name), former), former


def _former(folder: Path, options: Options, places: list[Path]) -> Former | None:
    """The newest run of this folder; else the first whose files lie here by now."""
    runs: list[tuple[RunDir, Imported]] = []
    for place in places:
        try:
            run = open_run(place)
        except RunFolderError:
            if options.name:
                raise
            continue
        imported = run.read_record().imported
        if imported and options.pattern in (ANY, imported.pattern):
            runs.append((run, imported))
    here = [Former(*one) for one in runs if one[1].folder == str(folder.resolve())]
    if here:
        return here[-1]
    for run, imported in runs:
        there = _moved(run, imported, folder)
        if there.changed and there.same:
            raise ConfigError(
                f"{folder} holds files of {run.path}, but these have another content: {', '.join(there.changed)}",
                f"restore them, or evaluate all again with --name {free_name(options.output, run.path.name)}",
            )
        if there.same or (options.name and not run.published_snapshots()):
            return Former(run, imported, there)
    return None


def _moved(run: RunDir, imported: Imported, folder: Path) -> Moved:
    try:
        return moved.find(run, Search(folder, imported.pattern).look())
    except OSError:  # told elsewhere
        return Moved()


def of_moved(folder: Path, options: Options) -> RunDir | None:
    """The newest run whose folder is gone and whose files lie here by now."""
    for run in list_runs(options.output):
        with contextlib.suppress(RunFolderError):
            imported = open_run(run.path).read_record().imported
            if imported and not Path(imported.folder).exists() and _moved(run, imported, folder).same:
                return run
    return None


def _of_another(folder: Path, options: Options, run: RunDir) -> ConfigError:
    imported, free = run.read_record().imported, free_name(options.output, run.path.name)
    cure = f"give --name {free}"
    if imported is None:
        return ConfigError(f"{run.path} is a run of its own, not of {folder}", cure)
    if imported.folder == str(folder.resolve()):
        return ConfigError(f"{run.path} is of the files {imported.pattern}, not of {options.pattern}", cure)
    return ConfigError(
        f"{run.path} is the run of {imported.folder} ({imported.pattern}), and none of its files lies in {folder}",
        f"give the folder where they lie by now, or another name: --name {free}",
    )


def _remembering(options: Options, former: Former) -> Options:
    remembered = _options_of(former.config)
    left_out = {name: value for name, value in remembered.items() if not getattr(options, name)}
    return replace(options, pattern=former.imported.pattern, **left_out)  # type: ignore[arg-type]


def pictures_of(config: Config) -> dict[str, Path | None]:
    """The options that named the pictures of a run, and what they were."""
    data = Path(config.data.path)
    none: dict[str, Path | None] = dict.fromkeys(OPTIONS.values())
    if links := pictures.links(data):
        return none | {OPTIONS[link.name]: place for link, place in links.items()}
    if config.data.path == NO_PICTURES:
        return none
    return none | {"references" if config.data.num_validation else "train_pictures": data}


def said(options: Mapping[str, object]) -> str:
    """Options and their values, as a command says them, without those that have none."""
    return " and ".join(f"{KEPT[name]} {value}" for name, value in options.items() if value)


def _options_of(config: Config) -> dict[str, object]:
    """What they were, as the run's settings tell it."""
    return {
        "base": config.model.path,
        "prompts": Path(config.evaluation.prompts) if config.evaluation.prompts else None,
        "trigger_word": config.data.trigger_word,
        "profile": config.evaluation.profile,
        **pictures_of(config),
    }


def adopt(former: Former, folder: Path, given: Options, say: Say) -> None:
    """Write down where the files lie by now, link to them there, and say so."""
    run, there = former.run, former.moved
    changes: dict[str, object] = {"copies": True} if given.copies and not former.imported.copies else {}
    if changes:
        say("files that come from now on are copied")
    if there:
        moved.link_again(run, there)
        changes["folder"] = str(folder.resolve())
        say(f"{former.imported.folder} has moved: {len(there.same)} files are the same in {folder.resolve()}")
        if there.absent:
            say(f"not there, so that only their results stay: {', '.join(there.absent)}")
    if changes:
        record = run.read_record()
        record.model_copy(update={"imported": former.imported.model_copy(update=changes)}).write(run.record)


def command_of_new(folder: Path, options: Options) -> str:
    """What evaluates all again in another run. options: with what the run remembers."""
    named = [(option, str(value)) for name, option in KEPT.items() if (value := getattr(options, name))]
    words = [str(folder), *(word for pair in named for word in pair), *options.overrides]
    return f"python run.py evaluate {shlex.join(words)} --new"


def kept(given: Options, former: Former, fresh: Config, config: Config) -> str:
    """What the run keeps and the command has left out, in words; empty: nothing.

    fresh: the settings that the options come to by themselves.
    """
    options = [
        f"{KEPT[name]} {value}"
        for name, value in _options_of(former.config).items()
        if value and value != EvaluationConfig().profile and not getattr(given, name)
    ]
    settings = [f"{key}={was}" for key, (_, was) in setting_changes.differences(fresh, config).items()]
    return ", ".join([*options, *settings])
