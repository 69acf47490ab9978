"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.config.schema import RunConfig

DEFAULT_TASK = str(RunConfig.model_fields["task"].default)
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as section.key=value.", show_default=False)]
New = Annotated[bool, typer.Option("--new", help="Start another run beside an existing one of the same name.")]
AllowChange = Annotated[
    list[str] | None, typer.Option(metavar="KEY", help="Resume with another value of this setting. Repeatable.")
]
TaskName = Annotated[str, typer.Option("--task", help="What is learnt, as `run.task` names it.")]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="CLUSTER",
        help="A cluster of Ray: ray (one on this machine, for this command), ray://HOST:10001, or HOST:6379.",
    ),
]
RunPath = Annotated[Path, typer.Argument(help="A run folder, such as runs/demo.")]
