"""How a run of another program's LoRAs is made or gone on with: its data set, its task, what it may take and what not.

What only `--list` asks, `require_begins` and `require_goes_on`, leaves no trace.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from shared.config.path_settings import NO_PICTURES
from shared.config.schema import POCKET, Config, rules_of
from shared.data import dataset
from shared.data.split.near_duplicates import Thumbprints
from shared.errors import DarkroomError, DataError, RunFolderError
from shared.files.digests import Digests
from shared.files.publication import new_folder_command
from shared.launch import setting_changes
from shared.launch.resume import Resume, open_or_create, require_continuable
from shared.launch.setting_changes import OtherSettingsError
from shared.launch.task import Plan, Say, Task
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.run_record import Imported
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import task
from tasks.text_to_image.foreign.command import former as former_run
from tasks.text_to_image.foreign.command import pictures
from tasks.text_to_image.foreign.command.former import Former
from tasks.text_to_image.foreign.command.settings import Options, config_of, continued, run_of

EXPORTS = (
    ExportFormat(name="diffusers", programs="diffusers", ending="-fp16.safetensors"),
    ExportFormat(name="kohya", programs="ComfyUI, A1111, Forge", ending="-fp16.safetensors"),
    ExportFormat(name="peft", programs="PEFT", ending="-fp16.zip"),
)


def begin(folder: Path, options: Options, num_references: int, imported: Imported, say: Say) -> RunDir:
    """A new run."""
    place = _place_of_links(folder, options)
    config = config_of(folder, options, _data(options, place), num_references)
    with _naming(place):
        return open_or_create(config, _importing(imported), Resume(), _spoken(say, place), lambda: None)


def require_begins(folder: Path, options: Options, num_references: int, say: Say) -> None:
    """Whether a new run can be made of the pictures that are given.

    say: told what was noticed about them.

    Raises:
        DarkroomError: it cannot.
    """
    with _for_now() as place:
        data = _data(options, place)
        if data == NO_PICTURES:
            return
        config = config_of(folder, replace(options, base=options.base or POCKET), data, num_references)
        with _naming(place):
            pairs = dataset.scan(config)
        digest, thumbprint = Digests(dataset.digests_path(config)), Thumbprints(dataset.thumbprints_path(config))
        pictures.described(config, pairs, digest, thumbprint, say)


def go_on(folder: Path, given: Options, options: Options, former: Former, num_references: int, say: Say) -> RunDir:
    """given: what the command says; options: with what the run remembers."""
    place = Path(former.config.data.path)
    links = pictures.links(place)
    try:
        with _refusing(folder, given, options, former):
            data = _data(options, _place_of_links(folder, options)) if _has_pictures(given) else None
            config = continued(replace(given, name=options.name), former.config, data, num_references)
            fresh = config_of(folder, options, config.data.path, config.data.num_validation)
            resume = Resume(allow_change=_allowed(former, config))
            told = _spoken(say, place)
            run = open_or_create(config, _importing(former.imported), resume, told, lambda: None)
    except DarkroomError:
        pictures.link_again(links)
        raise
    if kept := former_run.kept(given, former, fresh, config):
        say(f"{run.path} goes on with its own settings where the command gives none: {kept}")
    former_run.adopt(former, folder, given, say)
    return run


def require_goes_on(folder: Path, given: Options, options: Options, former: Former, num_references: int) -> None:
    """Whether `go_on` could.

    Raises:
        DarkroomError: it could not.
    """
    with _for_now() as place, _refusing(folder, given, options, former), _naming(place):
        data = _data(options, place) if _has_pictures(given) else None
        config = continued(replace(given, name=options.name), former.config, data, num_references)
        require_continuable(former.run, config, cast("Task", task), _allowed(former, config))


def _allowed(former: Former, config: Config) -> tuple[str, ...]:
    """Every setting that differs: its rule alone decides whether it may."""
    return tuple(sorted(setting_changes.differences(former.config, config).keys() & rules_of(config).keys()))


def _has_pictures(given: Options) -> bool:
    return bool(given.references or given.train_pictures)


@contextmanager
def _refusing(folder: Path, given: Options, options: Options, former: Former) -> Generator[None]:
    """Say of what a run cannot take which option it was, and how to go on without it."""
    command = new_folder_command(former.run.path, shlex.quote(str(folder)))
    again = former_run.command_of_new(folder, options)
    cure = f"go on without them: `{command}`; or evaluate all again with them: `{again}`"
    had = former_run.pictures_of(former.config)
    try:
        with _naming(Path(former.config.data.path)):
            yield
    except OtherSettingsError as error:
        raise RunFolderError(str(error), cure) from None
    except DataError as error:
        others = {name: place for name in had if (place := getattr(given, name)) and place.resolve() != had[name]}
        if not others:
            raise
        named, were = former_run.said(others), former_run.said(had) or "none"
        details = "".join(f"\n{line}" for line in str(error).splitlines()[1:])
        raise RunFolderError(
            f"{former.run.path} was made with other pictures than {named}: its own are {were}{details}", cure
        ) from None


@contextmanager
def _naming(place: Path) -> Generator[None]:
    """Name the user's folders in errors about a data set, and not the links to them."""
    try:
        yield
    except DataError as error:
        raise DataError(pictures.named(str(error), place), pictures.named(error.hint, place)) from None


def _spoken(say: Say, place: Path) -> Say:
    return lambda text: say(pictures.named(text, place))


@contextmanager
def _for_now() -> Generator[Path]:
    """A place for links that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder).resolve() / "pictures"


def _place_of_links(folder: Path, options: Options) -> Path:
    return options.output.resolve() / ".cache" / "pictures" / run_of(folder, options)


def _data(options: Options, place: Path) -> Path | str:
    """The data set of the run; `none` where prompts are all there is.

    place: where the links are made if references and training pictures are given.
    """
    if options.references and options.train_pictures:
        pictures.linked(place, options.references, options.train_pictures)
        return place
    return options.references or options.train_pictures or NO_PICTURES


def _importing(imported: Imported) -> Task:
    """The task, but that a new run takes its snapshots from elsewhere."""

    def plan(config: Config, say: Say) -> Plan:
        return replace(task.plan(config, say, pictures.described), imported=imported, exports=EXPORTS)

    return cast("Task", SimpleNamespace(**{**vars(task), "plan": plan}))
