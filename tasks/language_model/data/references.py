"""The held-out examples of a run, as they were written: evaluators need nothing else of the data set.

They are published once, in the order in which they are evaluated; see `shared.data.references`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from shared.config.schema import Config
from shared.data.references import first, further, missing
from shared.errors import RunFolderError
from shared.files.json_text import parse_json
from shared.files.publication import publish, verify
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.language_model.data.examples import Example, parse

FILE = "examples.jsonl"


def publish_missing(run: RunDir, config: Config, examples: Callable[[], Iterable[Example]]) -> None:
    """Publish what is missing. examples: called to read the data set if something is.

    Raises:
        DataError: a held-out example is gone.
    """
    record = run.read_record()
    wanted = {run.references: first(config, record), run.further_references: further(config, record)}
    for folder, chosen in missing(config, wanted, examples, "examples", "examples"):
        lines = [json.dumps({"id": one.id, **one.record}, ensure_ascii=False) for one in chosen]

        def write(stage: Path, lines: list[str] = lines) -> None:
            (stage / FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

        details = {"ids": [one.id for one in chosen]}
        publish(run.staging, folder, Manifest(kind="references", run_id=record.run_id, step=0, details=details), write)


def read(folder: Path) -> list[Example]:
    """Those of a published folder.

    Raises:
        RunFolderError: it is missing or damaged.
    """
    verify(folder)
    found: list[Example] = []
    for line in (folder / FILE).read_text(encoding="utf-8").split("\n"):
        if line:
            record = parse_json(line)
            example, fault = parse(record)
            if example is None:
                raise RunFolderError(f"{folder / FILE}: {fault}", "restore it from a copy of the run")
            found.append(replace(example, id=record["id"]))
    return found
