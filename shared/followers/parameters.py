"""The settings of a run as trackers take them: one flat table."""

from __future__ import annotations

import json

from shared.config.schema import Config
from shared.run_folder.known_settings import known_settings
from shared.run_folder.run_dir import RunDir

Parameter = str | int | float | bool


def parameters(run: RunDir, config: Config) -> dict[str, Parameter]:
    """`train.learning_rate` → its value; what is not set is left out, lists and tables are JSON.

    What `run.json` says of data and base model is added.
    """
    record = run.read_record()
    found = {
        f"{table}.{key}": value if isinstance(value, str | int | float) else json.dumps(value)
        for table, values in known_settings(run, config).items()
        for key, value in values.items()
        if value is not None
    }
    facts: dict[str, Parameter] = {
        "data.num_images": record.dataset.num_images,
        "data.fingerprint": record.dataset.fingerprint,
        "data.num_held_out": len(record.dataset.held_out),
        **{f"model.{key}": value for key, value in record.base_model.items() if f"model.{key}" not in found},
    }
    return found | {name: value for name, value in facts.items() if value != ""}
