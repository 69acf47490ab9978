"""`run.py evaluate FOLDER`: the LoRAs of a folder, evaluated to the end."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from shared.launch.attended.evaluated import EVALUATED, NOTHING_TO_DO, code_of_work, num_results
from shared.launch.attended.say import say
from shared.launch.attended.supervised import supervise
from shared.launch.fleet import Fleet
from shared.launch.supervisor import python_module
from shared.launch.terminal import summarise
from shared.run_folder.pending import left_to_evaluate
from tasks.text_to_image.foreign.command.folder_run import open_folder
from tasks.text_to_image.foreign.command.settings import Options

IMPORTER = f"{__package__}.importer"
"""The program that takes what comes later."""


def evaluate(
    folder: Path, options: Options, *, follows: bool, patience: float, with_dashboard: bool, fleet: Fleet
) -> int:
    """The exit code. patience: minutes without another file after which `follows` ends; 0: never."""
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        say(text)

    run, has_all = open_folder(folder, options, tell, follows=follows)
    if has_all and not follows and not left_to_evaluate(run):
        say(f"{run.path}: {EVALUATED[3]}")
        summarise(run, Console(highlight=False))
        return NOTHING_TO_DO
    importer = python_module(IMPORTER, run.path, "--patience", patience, *(["--follow"] if follows else []))
    before = num_results(run)
    code = supervise(run, run.read_config(), with_dashboard=with_dashboard, importer=importer, fleet=fleet, said=said)
    return code or code_of_work(run, before)
