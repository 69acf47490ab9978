"""`run.py caption`: captions by a model."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.errors import exit_code_of
from shared.launch.attended.foreground import foreground
from shared.launch.supervisor import child_environment, python_module


def caption(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="A data set, as data.path names it.")],
    model: Annotated[str, typer.Option(help="Folder or hub id of a Florence-2, a BLIP or a tagger.")],
) -> None:
    """Write captions for pictures that have none, with a model on this machine; every change can be undone.

    Further options: --all (also pictures that have a caption), --runs, --device, --threshold (of a tagger, 0.35). Exit
    codes: 0; 2 wrong data set, or a run trains on it; 3 the model cannot be loaded.
    """

    def body() -> int:
        command = python_module("tasks.captioning", data, "--model", model, *context.args)
        return foreground(command, child_environment(None))

    raise typer.Exit(exit_code_of(body))
