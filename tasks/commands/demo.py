"""`run.py demo`: an embedded model and its data."""

from __future__ import annotations

import subprocess
from typing import Annotated

import typer

import tasks
from shared.config.loading import load_config
from shared.errors import exit_code_of
from shared.launch.attended import trained
from shared.launch.commands.options import AllowChange, New, Overrides
from shared.launch.resume import Resume
from shared.launch.supervisor import ROOT, child_environment, python_module


def demo(
    overrides: Overrides = None,
    new: New = False,
    allow_change: AllowChange = None,
    task: Annotated[str, typer.Option("--task", help=f"Which one: {', '.join(tasks.DEMOS)}.")] = next(
        iter(tasks.DEMOS)
    ),
    family: Annotated[str, typer.Option(help="`flow`: another embedded model learns, by flow matching.")] = "",
) -> None:
    """Teach an embedded miniature model a garment it has never seen; needs no GPU and no download.

    --family flow: the same with a transformer that learns by flow matching, as Z-Image, FLUX and Qwen-Image do.
    --task digits: teach a network to read handwritten digits. --task language: teach a small language model, which is
    trained first, how the functions of Python and numpy are called.
    --task kanji: teach a denoiser, from scratch, to draw kanji from their meanings.
    """

    def body() -> int:
        file, writer = tasks.demo(task, family)
        config = load_config(ROOT / file, overrides, tasks.settings)
        written = subprocess.run(python_module(writer, config.data.path), env=child_environment(None), check=False)
        if written.returncode:  # it has said why
            return written.returncode
        config = load_config(ROOT / file, overrides, tasks.settings)  # names what has just been written, too
        resume = Resume(new=new, allow_change=tuple(allow_change or ()))
        return trained.train(config, tasks.find(config.run.task), resume)

    raise typer.Exit(exit_code_of(body))
