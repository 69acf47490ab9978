"""`run.py evaluate`: snapshots of a run, or LoRAs of another trainer."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

import tasks
from shared.cluster import address
from shared.config import one_call
from shared.errors import ConfigError, ModelError, exit_code_of
from shared.errors import report as report_error
from shared.launch.attended import evaluated
from shared.launch.attended.say import say
from shared.launch.commands.options import DEFAULT_TASK, New, On
from shared.launch.fleet import Fleet
from shared.launch.left import left
from shared.launch.resume import adopt_places
from shared.run_folder.run_dir import open_run

LORAS = "LoRAs of another trainer"
"""The help panel of options that a run folder does not need."""


def evaluate(
    run: Annotated[
        Path, typer.Argument(help="A run folder, or a folder where another trainer saves LoRAs.", metavar="FOLDER")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Of a run folder: where the same data set or model lies by now, as data.path=… or model.path=…, and "
            "what holds for this call only: evaluation.blocks_to_swap, order and rescan_seconds. Of LoRAs: settings as "
            "section.key=value.",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--once", help="Wait for new snapshots until stopped.")] = False,
    base: Annotated[str, typer.Option("--base", help="Base model of the LoRAs.", rich_help_panel=LORAS)] = "",
    references: Annotated[
        Path | None,
        typer.Option(help="Real pictures with captions that were not trained on.", rich_help_panel=LORAS),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="File of prompts of your own.", rich_help_panel=LORAS)] = None,
    train_pictures: Annotated[
        Path | None, typer.Option(help="What the LoRAs were trained on.", rich_help_panel=LORAS)
    ] = None,
    trigger_word: Annotated[str, typer.Option(help="The word it was trained with.", rich_help_panel=LORAS)] = "",
    profile: Annotated[str, typer.Option(help="What was trained: evaluation.profile.", rich_help_panel=LORAS)] = "",
    output: Annotated[Path, typer.Option(help="Folder of run folders.", rich_help_panel=LORAS)] = Path("runs"),
    name: Annotated[str, typer.Option(help="Of the run; the folder's.", rich_help_panel=LORAS)] = "",
    files: Annotated[
        str, typer.Option(help="Which files of the folder, such as 'dress*'.", rich_help_panel=LORAS)
    ] = "*",
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files, which a trainer may delete.", rich_help_panel=LORAS)
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, help="End --follow after so many minutes; 0: never.", rich_help_panel=LORAS)
    ] = 0.0,
    new: New = False,
    only_list: Annotated[bool, typer.Option("--list", help="Say what would be evaluated, and change nothing.")] = False,
    dashboard: Annotated[bool, typer.Option(help="Serve the dashboard.", rich_help_panel=LORAS)] = True,
    on: On = "",
    evaluators: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --on: how many; when absent, one for each GPU, or two for each machine without."
        ),
    ] = None,
) -> None:
    """Evaluate the snapshots of a run that have no result yet, or the LoRAs that another trainer saves in a folder.

    Any number of these may share the work on a run folder. LoRAs become a run folder of their own; nothing is written
    beside them.

    With --on, evaluators on the machines of a cluster of Ray share it.

    Exit codes, of --once and of --follow: 0 everything is evaluated, 3 nothing was left to do, 4 try again (something
    is left, another evaluator is still at work, or memory did not suffice), 5 it will not work before someone mends the
    model or the device, 2 wrong folder, setting or data set. A file that cannot be read counts as evaluated: its result
    says why it failed.
    """
    options = {
        "base": base, "references": references, "prompts": prompts, "train_pictures": train_pictures,
        "trigger_word": trigger_word, "profile": profile, "output": output, "name": name, "pattern": files,
        "copies": copy, "new": new, "overrides": tuple(settings or ()),
    }  # fmt: skip

    fleet = Fleet(on, evaluators)

    def of_loras() -> int:
        foreign = importlib.import_module(tasks.command(DEFAULT_TASK, "foreign"))
        if only_list:
            foreign.show_folder(run, say, **options)
            return 0
        return foreign.evaluate_folder(
            run, follows=follow, patience=patience, with_dashboard=dashboard, fleet=fleet, **options
        )

    def body() -> int:
        if evaluators and not on:
            raise ConfigError("--evaluators is of a cluster", "give --on, too; or start this command several times")
        if on:
            address.parse(on)  # refuses what is none
        if not (run / "run.json").is_file():
            return of_loras()
        opened = open_run(run)
        if only_list:
            rest = left(opened)
            say(f"{opened.path}: {f'not evaluated: {rest}' if rest else 'nothing is left to evaluate'}")
            return 0
        try:
            for_this_call, others = one_call.split(settings or ())
            opened.read_config(for_this_call)  # refuses values that are wrong
            config = opened.read_config(others)
            adopt_places(opened, config, tasks.find(config.run.task), say)
        except ModelError as error:
            report_error(error)
            return evaluated.CANNOT_EVALUATE
        return evaluated.evaluate(opened, for_this_call, follows=follow, fleet=fleet)

    raise typer.Exit(exit_code_of(body))
