"""The export of tasks whose snapshots are folders that other libraries load as they are: one zip of the folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shared.errors import ConfigError, RunFolderError, writing
from shared.files.publication import MANIFEST, verify
from shared.files.zipped import zip_folder
from shared.run_folder import averages
from shared.run_folder.file_to_ship import chosen_step
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.run_dir import RunDir, open_run


def main(form: ExportFormat, program: str) -> int:
    """Zip a snapshot and print the path of the archive. program: the module that is run.

    Raises:
        ConfigError: another format, or a precision, is asked for.
        RunFolderError: there is no such snapshot, it is damaged, or the target exists.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--step", default="best", help="`best`, the step of a snapshot, or 750-900 for an average")
    parser.add_argument("--format", default=form.name, help=f"{form.name} ({form.programs})")
    parser.add_argument("--output", type=Path, help="file that ends in .zip, or an existing folder")
    parser.add_argument("--dtype", default="", help="of other tasks")
    arguments = parser.parse_args()
    if arguments.format != form.name:
        raise ConfigError(f"--format is {arguments.format}", f"give --format {form.name}, or leave it out")
    if arguments.dtype:
        raise ConfigError(f"--dtype is {arguments.dtype}: snapshots are given as they were evaluated", "leave it out")
    run = open_run(arguments.run)
    step = chosen_step(run, arguments.step)
    usual = run.exports / f"{run.path.name}-{averages.file_stem(step)}-{form.name}{form.ending}"
    target = _target(arguments.output, usual)
    with writing("--output", target):
        write(run, step, target)
    sys.stdout.write(f"{run.read_record().unit} {averages.label(step)} as {form.name}: {target}\n")
    return 0


def write(run: RunDir, step: int, target: Path) -> None:
    """The files of a snapshot in an archive, whole or not at all.

    Raises:
        RunFolderError: the snapshot is damaged, or the target exists.
    """
    if target.exists():
        raise RunFolderError(f"{target} exists", f"give another --output, or move {target} away")
    folder = run.snapshot(step)
    verify(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    zip_folder(folder, target, without={MANIFEST})


def _target(output: Path | None, usual: Path) -> Path:
    if output is None:
        return usual
    if output.is_dir():
        return output / usual.name
    return output if output.suffix == usual.suffix else output.with_name(f"{output.name}{usual.suffix}")
