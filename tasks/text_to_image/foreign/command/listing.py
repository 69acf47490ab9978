"""What a folder of LoRAs holds, in words: before it is evaluated, or with `--list` instead."""

from __future__ import annotations

import contextlib
import glob
import shlex
from collections.abc import Iterable
from pathlib import Path

from shared.errors import ConfigError
from shared.files.publication import new_folder_command
from shared.launch.task import Say
from shared.run_folder.averages import label
from shared.run_folder.file_to_ship import why_not_shippable
from shared.run_folder.run_dir import steps_in
from tasks.text_to_image.foreign.command import checks, continuing
from tasks.text_to_image.foreign.command import former as former_run
from tasks.text_to_image.foreign.command.checks import Checks
from tasks.text_to_image.foreign.command.former import Former
from tasks.text_to_image.foreign.command.settings import Options, require_place
from tasks.text_to_image.foreign.files import fitting, numbering
from tasks.text_to_image.foreign.files.found import Contents, Search
from tasks.text_to_image.foreign.files.numbering import Numbered
from tasks.text_to_image.foreign.snapshots import taking


def show(folder: Path, options: Options, say: Say) -> None:
    """Say what would be evaluated, in which run and as which step. Nothing is written.

    Raises:
        DarkroomError: what prevents it, as far as it can be told without the other options.
    """
    checked = Checks()
    given = options
    options, former = former_run.choose(folder, options)
    checked(lambda: require_place(options))
    contents = checked(lambda: contents_of(folder, options, former, follows=False))
    numbered = checked(lambda: _numbered(folder, contents)) if contents else None
    if contents and numbered:
        for sentence in about(folder, contents, numbered, follows=False):
            say(sentence)
    num_references = checks.inputs(checked, folder, given, options, former)
    if contents and options.base:
        checked(lambda: fitting.require_some(folder, contents.loras, options.base, follows=False))
    checked.refuse()
    assert numbered
    if given.prompts:
        say(f"prompts of {given.prompts}: {checks.num_prompts(given, options.trigger_word)}")
    if given.references:
        say(f"references in {given.references}: {num_references}")
    if former is None:
        if moved := former_run.of_moved(folder, options):
            say(f"{moved.path} has these files, from a folder that is gone: --name {moved.path.name} goes on with it")
        if num_references or options.prompts:
            continuing.require_begins(folder, options, num_references, say)
        say(f"they would become the run {options.output / options.name}; nothing has been created")
        return
    continuing.require_goes_on(folder, given, options, former, num_references)
    _show_former(former, numbered, say)


def _show_former(former: Former, numbered: Numbered, say: Say) -> None:
    """How far a run has come that would go on, and what of it has changed."""
    known = {file: step for step, file in taking.taken(former.run).items()}
    evaluated = [one for one in numbered.loras.values() if known.get(one.label) in steps_in(former.run.evaluations)]
    count = f"{len(evaluated)} of {len(numbered.loras)}"
    say(f"{former.run.path} would go on: {count} have a result; --list changes nothing")
    if changed := [one.label for one in evaluated if taking.changed(former.run, one, known[one.label])]:
        say(f"changed since the evaluation: {numbering.some(changed)}; the results are of what they were")
    best = former.run.read_best()
    if best and (why_not := why_not_shippable(former.run, best.step)):
        say(f"the best, {former.run.read_record().unit} {label(best.step)}, cannot be shipped: {why_not}")


def _numbered(folder: Path, contents: Contents) -> Numbered:
    return require_some_step(folder, numbering.number([*contents.loras], taking.same), follows=False)


def contents_of(folder: Path, options: Options, former: Former | None, *, follows: bool) -> Contents:
    """What lies in a folder; follows: it may be empty.

    Raises:
        ConfigError: it cannot be read, or holds no LoRA.
    """
    if folder.is_file():
        files = shlex.join([str(folder.parent), "--files", glob.escape(folder.name)])
        raise ConfigError(f"{folder} is a file", f"give its folder, and the file by --files: `run.py evaluate {files}`")
    try:
        contents = Search(folder, options.pattern).look()
    except OSError as error:
        cure = "give the folder of LoRA files"
        if follows and not folder.exists():
            cure += f"; if your trainer will make it later: `mkdir -p {shlex.quote(str(folder))}` first"
        if former:
            cure += f"; if it was moved: `{new_folder_command(former.run.path)}`"
        raise ConfigError(f"{folder} cannot be read: {error.strerror}", cure) from None
    if contents.loras or (follows and not contents.pickles):
        return contents
    if contents.pickles:
        raise ConfigError(
            f"{folder} holds nothing but {', '.join(contents.pickles[:5])}: a pickle can run any code when it is read, "
            "only safetensors are read",
            "save LoRAs as .safetensors: kohya's --save_model_as=safetensors; convert these with a program you trust",
        )
    named = "" if options.pattern == former_run.ANY else f" whose name is like {options.pattern}"
    if named and (loras := Search(folder).look().loras):
        example = shlex.quote(f"{glob.escape(loras[0].name.stem)}*")
        there = numbering.some([one.label for one in loras])
        raise ConfigError(f"{folder} holds no LoRA{named}, but {there}", f"correct --files, such as --files {example}")
    cure = "give the folder where a trainer saves LoRAs"
    if below := _with_loras(folder, options.pattern):
        cure += f", such as {' or '.join(shlex.quote(str(path)) for path in below[:3])}"
    some = ", ".join((*contents.broken, *contents.others)[:3] or sorted(path.name for path in folder.iterdir())[:5])
    if not some:
        raise ConfigError(f"{folder} is empty", f"{cure}, or add --follow to wait for them")
    raise ConfigError(f"{folder} holds no LoRA{named}, but {some}", cure)


def require_some_step(folder: Path, numbered: Numbered, *, follows: bool) -> Numbered:
    """What was numbered; follows: it may be nothing yet.

    Raises:
        ConfigError: all were saved before the first step.
    """
    if numbered.loras or follows:
        return numbered
    raise ConfigError(f"{folder} holds nothing to evaluate: {'; '.join(numbered.said)}", "give LoRAs saved later")


def _with_loras(folder: Path, pattern: str) -> list[Path]:
    """Folders of a folder that hold LoRAs themselves."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        with contextlib.suppress(OSError):
            if path.is_dir() and Search(path, pattern).look().loras:
                found.append(path)
    return found


def about(folder: Path, contents: Contents, numbered: Numbered | None, *, follows: bool) -> Iterable[str]:
    """What was found, before anything is drawn."""
    if numbered and not numbered.loras:
        yield from numbered.said
    elif numbered:
        by = f" of {contents.trainer}" if contents.trainer else ""
        count = "1 LoRA" if len(numbered.loras) == 1 else f"{len(numbered.loras)} LoRAs"
        yield f"{count}{by} in {folder.resolve()}:"
        width = max(len(str(step)) for step in numbered.loras)
        for step, one in numbered.loras.items():
            epoch = one.name.epoch or one.facts.epoch
            also = f", epoch {epoch}" if epoch and numbered.unit == "step" else ""
            broken = f" ({'waits: ' if follows else ''}it {one.fault})" if one.fault else ""
            yield f"  {numbered.unit} {step:{width}}{also}: {one.label}{broken}"
        yield from numbered.said
    if contents.others:
        yield f"no LoRA, and left out: {', '.join(contents.others)}"
    if contents.broken:
        yield f"left out, because a file is missing: {', '.join(contents.broken)}"
    if contents.pickles:
        named = ", ".join(contents.pickles)
        yield f"left out, because a pickle can run any code when it is read: {named}; save LoRAs as .safetensors"
