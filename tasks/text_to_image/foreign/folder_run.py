"""The run folder for the LoRAs of another program: made, or taken up again where it was.

Everything is checked first; every problem is told in one message, and nothing is written then.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar, cast

from shared.config.path_settings import NO_PICTURES
from shared.config.schema import Config, rules_of
from shared.data import sources
from shared.data.sources import ScanReport
from shared.errors import ConfigError, DarkroomError, RunFolderError
from shared.files.publication import new_folder_command
from shared.launch import setting_changes
from shared.launch.resume import Resume, open_or_create
from shared.launch.setting_changes import OtherSettingsError
from shared.launch.task import Plan, Say, Task
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.run_record import Imported
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import profiles, task
from tasks.text_to_image.foreign import fitting, listing, numbering, pictures, taking
from tasks.text_to_image.foreign import former as former_run
from tasks.text_to_image.foreign.bringing import Bringing
from tasks.text_to_image.foreign.former import Former
from tasks.text_to_image.foreign.found import Contents, Found
from tasks.text_to_image.foreign.numbering import Numbered
from tasks.text_to_image.foreign.settings import Options, config_of, continued, lost_letters, require_place, run_of
from tasks.text_to_image.models import base_model

Value = TypeVar("Value")
EXPORTS = (
    ExportFormat(name="diffusers", programs="diffusers", ending="-fp16.safetensors"),
    ExportFormat(name="kohya", programs="ComfyUI, A1111, Forge", ending="-fp16.safetensors"),
    ExportFormat(name="peft", programs="PEFT", ending="-fp16.zip"),
)


def open_folder(folder: Path, options: Options, say: Say, *, follows: bool) -> tuple[RunDir, bool]:
    """The run folder of the LoRAs in `folder`, with those in it that are whole, and whether these are all.

    follows: others may come, so that none need be there yet.

    Raises:
        DarkroomError: with every problem and its cure; nothing has changed.
    """
    problems: list[DarkroomError] = []

    def checked(check: Callable[[], Value]) -> Value | None:
        try:
            return check()
        except DarkroomError as error:
            problems.append(error)
            return None

    checked(lambda: require_place(options))
    given = options
    options, former = former_run.choose(folder, options)
    contents = checked(lambda: listing.contents_of(folder, options, former, follows=follows))
    numbered = (
        checked(lambda: _numbered(folder, contents.loras, follows=follows)) if contents and contents.loras else None
    )
    problems += _missing(options)
    checked(lambda: _require_profile(options))
    if contents is None and not (options.base or options.references or options.prompts):
        raise RunFolderError(
            f"{folder} is not a run folder, and {problems[0]}",
            "give a folder that holds run.json and config.toml, such as those in runs/, or one of LoRAs "
            "(docs/any-lora.md)",
        )
    counts = options.references and (given.references or given.train_pictures or former is None)
    num_references = checked(lambda: pictures.count(options.references) if counts and options.references else 0)
    if options.base:
        checked(lambda: base_model.identify(options.base))
    if contents and options.base and not problems:
        checked(lambda: fitting.require_some(folder, contents.loras, options.base, follows=follows))
    _raise(problems)
    assert contents
    assert num_references is not None
    for sentence in listing.about(folder, contents, numbered, follows=follows):
        say(sentence)
    if not options.references and not options.train_pictures:
        say(
            "neither --references nor --train-pictures is given: no metric ranks the LoRAs. Look at the pictures, and "
            "vote on the dashboard's page Vote to choose"
        )
    if former:
        run = _go_on(folder, given, options, former, num_references, say)
    else:
        for sentence in _named(folder, given, options):
            say(sentence)
        run = _begin(folder, options, num_references, contents, numbered, say)
    bringing = Bringing(run, say, said=set(numbered.said) if numbered else set())
    bringing.bring(contents)
    return run, not bringing.unsettled


def _named(folder: Path, given: Options, options: Options) -> Iterator[str]:
    """How a new run is called, where it is not the folder's name."""
    usual = run_of(folder, given)
    if lost_letters(folder, given):
        yield (
            f"{folder.absolute().name} has letters that the name of a run cannot have: this one is called "
            f"{options.name}; --name renames it"
        )
    elif not given.new and options.name != usual:
        yield f"{options.output / usual} is another run: this one is called {options.name}; --name renames it"


def _raise(problems: list[DarkroomError]) -> None:
    """One error of all."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "".join(f"\n       {problem}" + (f"; {problem.hint}" if problem.hint else "") for problem in problems)
        raise ConfigError(f"{len(problems)} problems:{lines}", "see docs/any-lora.md for every option")


def _numbered(folder: Path, loras: Collection[Found], *, follows: bool) -> Numbered:
    return listing.require_some_step(folder, numbering.number([*loras], taking.same), follows=follows)


def _missing(options: Options) -> Iterator[ConfigError]:
    """What the command needs and does not say."""
    if not options.base:
        yield ConfigError("--base is missing", "give the base model that the LoRAs are trained on")
    if not options.references and not options.prompts:
        yield ConfigError(
            "neither --references nor --prompts is given",
            "give --references FOLDER, real pictures with captions that were not trained on, or --prompts FILE, best "
            "with --train-pictures FOLDER",
        )
    if options.prompts and not options.prompts.is_file():
        yield ConfigError(f"--prompts {options.prompts} is no file", "give a text file with one prompt in each line")


def _require_profile(options: Options) -> None:
    """Most profiles compare with what was trained on, whether there are references or not, and some with several."""
    profiles.require_profile(options.profile)
    if not options.profile:
        return
    profile = profiles.PROFILES[options.profile]
    if options.train_pictures:
        _require_pictures(options.train_pictures, options.profile, profile.least_training_pictures)
        return
    needing = sum(weight for name, weight in profile.with_reference.items() if name in profile.without_reference)
    if 2 * needing > sum(profile.with_reference.values()):
        raise ConfigError(
            f"--profile {options.profile} compares with the pictures that were trained on",
            "give --train-pictures FOLDER as well",
        )


def _require_pictures(place: Path, name: str, least: int) -> None:
    count = len(sources.read(place, ScanReport())) if least else 0
    if count < least:
        raise ConfigError(
            f"--profile {name} needs {least} pictures that were trained on, --train-pictures {place} holds {count}",
            "add pictures that were trained on, or choose another profile",
        )


def _data(folder: Path, options: Options) -> Path | str:
    """The data set of the run; `none` where prompts are all there is.

    Where references and training pictures are given, its links are made here.
    """
    if options.references and options.train_pictures:
        place = options.output.resolve() / ".cache" / "pictures" / run_of(folder, options)
        pictures.linked(place, options.references, options.train_pictures)
        return place
    return options.references or options.train_pictures or NO_PICTURES


def _begin(
    folder: Path, options: Options, num_references: int, contents: Contents, numbered: Numbered | None, say: Say
) -> RunDir:
    config = config_of(folder, options, _data(folder, options), num_references)
    imported = Imported(
        folder=str(folder.resolve()),
        pattern=options.pattern,
        trainer=contents.trainer,
        unit=numbered.unit if numbered else "step",
        copies=options.copies,
    )
    return open_or_create(config, _importing(imported), Resume(), say, lambda: None)


def _go_on(folder: Path, given: Options, options: Options, former: Former, num_references: int, say: Say) -> RunDir:
    """given: what the command says; options: with what the run remembers."""
    links = pictures.links(Path(former.config.data.path))
    data = _data(folder, options) if given.references or given.train_pictures else None
    try:
        config = continued(replace(given, name=options.name), former.config, data, num_references)
        fresh = config_of(folder, options, config.data.path, config.data.num_validation)
        allowed = setting_changes.differences(former.config, config).keys() & rules_of(config).keys()
        resume = Resume(allow_change=tuple(sorted(allowed)))
        run = open_or_create(config, _importing(former.imported), resume, say, lambda: None)
    except OtherSettingsError as error:
        pictures.link_again(links)
        command = new_folder_command(former.run.path, shlex.quote(str(folder)))
        raise RunFolderError(
            str(error),
            f"go on without them: `{command}`; or evaluate all again with them: "
            f"`{former_run.command_of_new(folder, options)}`",
        ) from None
    except DarkroomError:
        pictures.link_again(links)
        raise
    if kept := former_run.kept(given, former, fresh, config):
        say(f"{run.path} goes on with its own settings where the command gives none: {kept}")
    former_run.adopt(former, folder, given, say)
    return run


def _importing(imported: Imported) -> Task:
    """The task, but that a new run takes its snapshots from elsewhere."""

    def plan(config: Config, say: Say) -> Plan:
        return replace(task.plan(config, say, pictures.described), imported=imported, exports=EXPORTS)

    return cast("Task", SimpleNamespace(**{**vars(task), "plan": plan}))
