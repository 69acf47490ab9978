"""`run.py verdict`: which snapshot to ship, computed again."""

from __future__ import annotations

import subprocess
from typing import Annotated

import typer

from shared.errors import ConfigError, exit_code_of
from shared.launch.commands.options import RunPath
from shared.launch.supervisor import child_environment, python_module
from shared.run_folder.run_dir import open_run


def verdict(
    run: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    weights: Annotated[str, typer.Option(help="Other weights of the composite, as ONE_LOSS=0.5,OTHER_LOSS=0.")] = "",
    prefer: Annotated[str, typer.Option(help="In place of evaluation.prefer: best or earliest.")] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Also write metrics.csv and best.json, as an evaluator does.")
    ] = False,
) -> None:
    """Recompute which snapshot to ship, from the published numbers of every picture and from votes.

    Nothing is written without --write.

    Exit codes: 0; 3 where nothing can be compared yet, because step 0 or every snapshot has no evaluation; 4 where
    every snapshot fails a guard or shows a sign of overfitting: none can be recommended; 2 wrong folder or option.
    """

    def body() -> int:
        if prefer not in ("", "best", "earliest"):
            raise ConfigError(f"--prefer is {prefer}, which is no preference", "give best or earliest")
        options = [*(["--json"] if as_json else []), *(["--write"] if write else [])]
        options += [
            part for name, value in (("--weights", weights), ("--prefer", prefer)) if value for part in (name, value)
        ]
        command = python_module("evaluator.replay", open_run(run).path, *options)
        return subprocess.run(command, env=child_environment(None), stdin=subprocess.DEVNULL, check=False).returncode

    raise typer.Exit(exit_code_of(body))
