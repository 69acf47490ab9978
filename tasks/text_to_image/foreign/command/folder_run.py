"""The run folder for the LoRAs of another program: made, or taken up again where it was.

Everything is checked first; every problem is told in one message, and nothing is written then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from shared.errors import RunFolderError
from shared.launch.task import Say
from shared.run_folder.records.run_record import Imported
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.foreign.command import checks, continuing, listing
from tasks.text_to_image.foreign.command import former as former_run
from tasks.text_to_image.foreign.command.checks import Checks
from tasks.text_to_image.foreign.command.settings import Options, lost_letters, require_place, run_of
from tasks.text_to_image.foreign.files import fitting, numbering
from tasks.text_to_image.foreign.files.found import Contents, Found
from tasks.text_to_image.foreign.files.numbering import Numbered
from tasks.text_to_image.foreign.snapshots import taking
from tasks.text_to_image.foreign.snapshots.bringing import Bringing
from tasks.text_to_image.models import base_model


def open_folder(folder: Path, options: Options, say: Say, *, follows: bool) -> tuple[RunDir, bool]:
    """The run folder of the LoRAs in `folder`, with those in it that are whole, and whether these are all.

    follows: others may come, so that none need be there yet.

    Raises:
        DarkroomError: with every problem and its cure; nothing has changed.
    """
    checked = Checks()
    given = options
    options, former = former_run.choose(folder, options)
    checked(lambda: require_place(options))
    contents = checked(lambda: listing.contents_of(folder, options, former, follows=follows))
    numbered = (
        checked(lambda: _numbered(folder, contents.loras, follows=follows)) if contents and contents.loras else None
    )
    moved = former_run.of_moved(folder, options) if contents and former is None and not options.base else None
    checked.problems += checks.missing(options, moved)
    if contents is None and not folder.is_file() and not (options.base or options.references or options.prompts):
        raise RunFolderError(
            f"{folder} is not a run folder, and {checked.problems[0]}",
            "give a folder that holds run.json and config.toml, such as those in runs/, or one of LoRAs "
            "(docs/any-lora.md)",
        )
    num_references = checks.inputs(checked, folder, given, options, former)
    if options.base:
        checked(lambda: base_model.identify(options.base))
    if contents and options.base and not checked.problems:
        checked(lambda: fitting.require_some(folder, contents.loras, options.base, follows=follows))
    checked.refuse()
    assert contents
    for sentence in listing.about(folder, contents, numbered, follows=follows):
        say(sentence)
    if not options.references and not options.train_pictures:
        say(
            "neither --references nor --train-pictures is given: no metric ranks the LoRAs. Look at the pictures, and "
            "vote on the dashboard's page Vote to choose"
        )
    if former:
        run = continuing.go_on(folder, given, options, former, num_references, say)
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


def _numbered(folder: Path, loras: Collection[Found], *, follows: bool) -> Numbered:
    return listing.require_some_step(folder, numbering.number([*loras], taking.same), follows=follows)


def _begin(
    folder: Path, options: Options, num_references: int, contents: Contents, numbered: Numbered | None, say: Say
) -> RunDir:
    imported = Imported(
        folder=str(folder.resolve()),
        pattern=options.pattern,
        trainer=contents.trainer,
        unit=numbered.unit if numbered else "step",
        copies=options.copies,
    )
    return continuing.begin(folder, options, num_references, imported, say)
