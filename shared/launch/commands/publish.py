"""`run.py publish`: a snapshot with its model card."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.errors import exit_code_of
from shared.launch.attended.foreground import foreground
from shared.launch.commands.options import RunPath
from shared.launch.supervisor import child_environment, python_module
from shared.run_folder.run_dir import open_run


def publish(
    context: typer.Context,
    run: RunPath,
    to: Annotated[
        str,
        typer.Option(
            help="owner/name: a repository of the hub; a folder; or a .zip of weights, pictures and a description, as "
            "Civitai takes them.",
            show_default=False,
        ),
    ],
) -> None:
    """Write a snapshot with its model card: weights for other programs, figures, pictures, how to load it.

    To the hub nothing is sent without --yes: the card is shown instead. Options: --yes, --private, --step N, --license
    ID, --base-model owner/name (where the run has loaded it from this disk), --with-references (show the real pictures,
    too).
    """

    def body() -> int:
        command = python_module("tasks.publish", open_run(run).path, f"--to={to}", *context.args)
        return foreground(command, child_environment(None))

    raise typer.Exit(exit_code_of(body))
