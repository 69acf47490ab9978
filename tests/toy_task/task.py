"""What commands ask before a program starts. No torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from shared.config.schema import Config
from shared.errors import DataError
from shared.files.publication import sha256
from shared.launch.task import Digest, Plan, Say
from shared.machine.disk import ResultBytes
from shared.machine.doctor import Finding
from shared.run_folder.records.run_record import DatasetRecord
from shared.run_folder.run_dir import RunDir
from tests.toy_task import numbers
from tests.toy_task.settings import Settings as Settings


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


def require_suitable(config: Config) -> None:
    pass


def require_same_data(run: RunDir, config: Config) -> None:
    numbers.read(config)
    if sha256(Path(config.data.path)) != run.read_record().dataset.fingerprint:
        raise DataError(
            f"{config.data.path} holds other numbers: it has changed since this run was made, or is another file",
            "restore it, or start a new run with --new",
        )


def moved_settings(run: RunDir, config: Config, changed: Collection[str]) -> set[str]:
    if "data.path" not in changed:
        return set()
    require_same_data(run, config)
    return {"data.path"}


def missing_paths(run: RunDir, config: Config) -> dict[str, str]:
    place = Path(config.data.path)
    return {} if place.is_file() else {"data.path": f"the file of numbers of {run.path} is not at {place}"}


def changed_content(run: RunDir, config: Config, digest: Digest) -> tuple[str, ...]:
    return ()


def identify(run: RunDir) -> dict[str, str]:
    return {}


def estimate_memory(config: Config, *, with_evaluator: bool) -> tuple[dict[str, Any] | None, list[str]]:
    return None, []


def describe_data(config: Config) -> list[str]:
    return []


def warnings(run: RunDir, config: Config) -> list[str]:
    return []


def result_bytes(config: Config) -> ResultBytes:
    return ResultBytes()


def doctor_checks() -> list[Finding]:
    return []
