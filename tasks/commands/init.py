"""`run.py init`: a config for a data set."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

import tasks
from shared.errors import exit_code_of
from shared.launch.attended.say import say


def init(
    dataset: Annotated[
        Path,
        typer.Argument(help="Folder of captioned pictures, or of a folder for each class; or JSON Lines of examples."),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Base model: a folder, a .safetensors file, a hub id, or pocket; when absent, Stable Diffusion 1.5, "
            "and for classes random weights."
        ),
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Where to write; <data set>.toml when absent.")] = None,
    trigger_word: Annotated[
        str, typer.Option(help="Put before every caption; the caption of pictures that have none.")
    ] = "",
    prompts: Annotated[
        Path | None, typer.Option(help="File of prompts of your own, by which snapshots are evaluated.")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="What is learnt: garment, person, character, style or object; proposed when absent.")
    ] = "",
    class_word: Annotated[
        str, typer.Option(help="What kind of thing it is, such as dress or woman; taken from captions when absent.")
    ] = "",
    what: Annotated[
        str, typer.Option(help="What is trained, as `train.what` names it: lora, full or scratch; lora when absent.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    task: Annotated[
        str, typer.Option("--task", help="What is learnt, as `run.task` names it; proposed when absent.")
    ] = "",
) -> None:
    """Look at pictures, model and hardware, and write a config with the reason for every value."""

    def body() -> int:
        name, why = (task, "") if task else tasks.suited(dataset)
        if why:
            say(f"task: {name}: {why} (--task says another)")
        program = importlib.import_module(tasks.command(name, "init"))
        return program.init(
            dataset, model, output, trigger_word.strip(), prompts, profile.strip(), class_word, what, force=force
        )

    raise typer.Exit(exit_code_of(body))
