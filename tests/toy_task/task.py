"""What commands ask before a program starts. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.config.schema import Config
from shared.errors import DataError
from shared.files.publication import sha256
from shared.launch.task import Plan, Say
from shared.run_folder.records import DatasetRecord
from shared.run_folder.run_dir import RunDir
from tests.toy_task import numbers


def plan(config: Config, say: Say) -> Plan:
    rows = numbers.read(config)
    held_out = numbers.held_out(rows, config)
    say(f"{len(rows)} rows, {len(held_out)} held out")
    described = DatasetRecord(
        path=config.data.path,
        num_images=len(rows),
        fingerprint=sha256(Path(config.data.path)),
        pass_length=len(rows) - len(held_out),
        held_out=tuple(held_out),
    )
    return Plan(described, fill=lambda run, config: None)


def require_same_data(run: RunDir, config: Config) -> None:
    if sha256(Path(config.data.path)) != run.read_record().dataset.fingerprint:
        raise DataError(f"{config.data.path} has changed since this run was made", "restore it")


def forecast(config: Config, *, with_evaluator: bool) -> tuple[dict[str, Any] | None, list[str]]:
    return None, []


def expectations(config: Config) -> list[str]:
    return []


def cautions(config: Config) -> list[str]:
    return []
