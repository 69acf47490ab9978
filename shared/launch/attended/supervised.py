"""A run from its first program to its end, shown in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from shared.config.schema import Config
from shared.followers.webhook import Webhook
from shared.launch import parent_watch, power, shutdown
from shared.launch.attended.say import say
from shared.launch.fleet import Fleet
from shared.launch.supervisor import Supervisor
from shared.launch.terminal import Terminal, summarise
from shared.run_folder.run_dir import RunDir


def supervise(
    run: RunDir,
    config: Config,
    sentences: Sequence[str] = (),
    *,
    with_evaluator: bool = True,
    with_dashboard: bool = True,
    importer: list[str] | None = None,
    fleet: Fleet | None = None,
    trains_on: str = "",
    said: Sequence[str] = (),
) -> int:
    """Run the programs of a run to its end.

    sentences: said at the start. importer: in place of the trainer. said: what a program need not say again.
    """
    parent_watch.watch()  # a sweep may have started this `run.py`
    shutdown.end_display(run, say)
    say(f"run folder: {run.path}")
    with Terminal(run, said) as terminal:
        shown = power.of_run(run, config)
        for sentence in (*([shown.caution() or shown.sentence()] if with_evaluator else []), *sentences):
            terminal.say(sentence)
        webhook = Webhook(config.run.webhook, run, terminal.say) if config.run.webhook else None

        def on_evaluated(code: int) -> None:
            summarise(run, terminal.console)
            if webhook:
                webhook.end(code)

        supervisor = Supervisor(
            run,
            config,
            say=terminal.say,
            render=terminal.render,
            on_evaluated=on_evaluated,
            importer=importer,
            fleet=fleet or Fleet(),
            trains_on=trains_on,
            with_evaluator=with_evaluator,
            with_dashboard=with_dashboard,
            linger=sys.stdin.isatty() and terminal.console.is_terminal,
        )
        return supervisor.supervise()
