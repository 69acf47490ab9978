"""What is wrong with the options of the command, as far as they are given; all of it is told in one message.

Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from shared.config.schema import POCKET, Config
from shared.data import dataset, prompt_file, sources
from shared.data.sources import ScanReport
from shared.errors import ConfigError, DarkroomError
from shared.files import paths
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import profiles
from tasks.text_to_image.foreign.command import pictures
from tasks.text_to_image.foreign.command.former import Former
from tasks.text_to_image.foreign.command.settings import Options, config_of

Value = TypeVar("Value")
NOT_KNOWN = 1_000_000
"""References of a command that names none: a number that refuses no setting."""


@dataclass
class Checks:
    """Call it with each check; `refuse` raises what they found."""

    problems: list[DarkroomError] = field(default_factory=list[DarkroomError])

    def __call__(self, check: Callable[[], Value]) -> Value | None:
        """What it returns; None where it finds a problem."""
        try:
            return check()
        except DarkroomError as error:
            self.problems.append(error)
            return None

    def refuse(self) -> None:
        """Raise one error of all problems, if there are any."""
        if len(self.problems) == 1:
            raise self.problems[0]
        if self.problems:
            lines = "".join(f"\n       {one}" + (f"; {one.hint}" if one.hint else "") for one in self.problems)
            raise ConfigError(f"{len(self.problems)} problems:{lines}", "see docs/any-lora.md for every option")


def inputs(checked: Checks, folder: Path, given: Options, options: Options, former: Former | None) -> int:
    """Check settings, prompts, pictures and profile; the number of references that the command gives.

    options: with what a run that is gone on with remembers.
    """
    checked(lambda: _require_profile(options))
    checked(lambda: num_prompts(given, options.trigger_word))
    references = options.references if former is None or given.references or given.train_pictures else None
    num_references = checked(lambda: pictures.count(references) if references else 0)
    if num_references is None:
        return 0
    if former is None:
        has_prompts = references or options.prompts
        known = options.profile if options.profile in profiles.PROFILES else ""
        fitting = replace(options, base=options.base or POCKET, profile=known)
        config = checked(lambda: config_of(folder, fitting, "", num_references if has_prompts else NOT_KNOWN))
    else:
        config = former.config
    if config:
        for place in {one.resolve(): one for one in (given.references, given.train_pictures) if one}.values():
            checked(lambda place=place: _require_readable(place, config, options))
    return num_references


def missing(options: Options, moved: RunDir | None = None) -> Iterator[ConfigError]:
    """What the command needs and does not say. moved: a run that has these files already."""
    if moved:
        name = moved.path.name
        yield ConfigError(
            f"--base is missing, and {moved.path} has these files", f"give --name {name} to go on with it"
        )
        return
    if not options.base:
        yield ConfigError("--base is missing", "give the base model that the LoRAs are trained on")
    if not options.references and not options.prompts:
        yield ConfigError(
            "neither --references nor --prompts is given",
            "give --references FOLDER, real pictures with captions that were not trained on, or --prompts FILE, best "
            "with --train-pictures FOLDER",
        )


def num_prompts(given: Options, trigger_word: str) -> int:
    """How many prompts the file has that the command names; 0: it names none.

    Raises:
        ConfigError: it cannot be read, or lines of it are wrong.
    """
    if not given.prompts:
        return 0
    place = Path(paths.expand(str(given.prompts)))
    if not place.is_file():
        raise ConfigError(f"--prompts {given.prompts} is no file", "give a text file with one prompt in each line")
    return len(prompt_file.read(place, trigger_word))


def _require_readable(place: Path, config: Config, options: Options) -> None:
    """Whether pictures can be used, under the names that the user knows.

    Raises:
        DataError: there are none, or some have no caption; each is named.
    """
    data = {"path": str(place), "trigger_word": options.trigger_word}
    dataset.scan(config.model_copy(update={"data": config.data.model_copy(update=data)}))


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
