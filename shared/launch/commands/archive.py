"""`run.py archive`: all snapshots and checkpoints of a run in one zip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.errors import exit_code_of, writing
from shared.launch import archive as archives
from shared.launch.attended.say import say
from shared.launch.commands.options import RunPath
from shared.run_folder.run_dir import open_run


def archive(
    run: RunPath,
    output: Annotated[
        Path | None, typer.Option(help="The zip to write; RUN/exports/<name>-all.zip when absent.")
    ] = None,
) -> None:
    """Put all snapshots and checkpoints of a run into one zip, each checked against its digests."""

    def body() -> int:
        opened = open_run(run)
        target = output.resolve() if output else opened.exports / f"{opened.path.name}-all.zip"
        with writing("--output", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            count = archives.write(opened, target, say)
        say(f"{count} snapshots and checkpoints: {target}")
        return 0

    raise typer.Exit(exit_code_of(body))
