"""The settings of a run as they are shown to people and trackers.

Of another trainer's LoRAs only what is known: where they come from, what they tell of their training, and how they are
evaluated. Our own settings of training, which no run of theirs has followed, are left out. So are those of a LoRA where
`train.what` is something else.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import tomlkit

from shared.config.dumping import dump_config
from shared.config.schema import Config
from shared.errors import RunFolderError
from shared.files.publication import read_manifest
from shared.run_folder.run_dir import RunDir, steps_in

Settings = dict[str, dict[str, Any]]
"""Table → setting → value, as JSON has it."""
TABLES_OF_TRAINING = frozenset({"lora", "train", "stop"})
OF_TRAINING = frozenset(
    {
        "data.train_size",
        "data.masks",
        "data.sources",
        "data.regularization_path",
        "data.random_flip",
        "data.caption_dropout",
        "data.shuffle_tags",
        "data.tag_dropout",
        "data.keep_tags",
        "model.training_adapter",
        "model.quantization",
        "model.blocks_to_swap",
    }
)
OF_A_LORA = frozenset(
    {
        "model.training_adapter",
        "train.lora_plus_ratio",
        "train.text_encoder_learning_rate",
        "evaluation.strengths",
    }
)
"""Beside the table of a LoRA, what means nothing where `train.what` is something else."""
FACTS = {
    "rank": "lora.rank",
    "lora_alpha": "lora.lora_alpha",
    "set_learning_rate": "train.learning_rate",
    "max_train_steps": "train.max_train_steps",
    "base_model": "imported.base_model",
}
"""What the manifest of such a snapshot tells → what setting it is."""
MEANINGS = {
    "imported.folder": "Where the LoRAs lie.",
    "imported.trainer": "The program that wrote them, as far as they tell.",
    "imported.base_model": "The base model that they were trained on, by the name that they tell.",
}


def known_settings(run: RunDir, config: Config) -> Settings:
    """config: the run's."""
    settings: Settings = config.model_dump(mode="json")
    imported = run.read_record().imported
    if imported is None:
        settings = _without(settings, frozenset(), {"train.what"}) if _tuning(config) else settings
        return settings if trains_a_lora(config) else _without(settings, {"lora"}, OF_A_LORA)
    kept = _without(settings, TABLES_OF_TRAINING, OF_TRAINING)
    kept["imported"] = {"folder": imported.folder} | ({"trainer": imported.trainer} if imported.trainer else {})
    for setting, value in _facts(run).items():
        table, _, key = setting.partition(".")
        kept.setdefault(table, {})[key] = value
    return {table: kept[table] for table in (*settings, "imported") if table in kept}


def trains_a_lora(config: Config) -> bool:
    """A task whose own table has `tuning` says so there, the others by `train.what`."""
    return (_tuning(config) or config.train.what) == "lora"


def _tuning(config: Config) -> str:
    return str(config.own.model_dump().get("tuning", "")) if config.own else ""


def is_of_training(setting: str) -> bool:
    """Whether another trainer's LoRAs have it only where they tell it."""
    return setting in OF_TRAINING or setting.partition(".")[0] in TABLES_OF_TRAINING


def known_toml(run: RunDir, config: Config) -> str:
    """As TOML."""
    if run.read_record().imported is None and trains_a_lora(config):
        return dump_config(config)
    settings = known_settings(run, config).items()
    return tomlkit.dumps(
        {table: {key: value for key, value in values.items() if value is not None} for table, values in settings}
    )


def _without(settings: Settings, tables: Set[str], keys: Set[str]) -> Settings:
    return {
        table: {key: value for key, value in values.items() if f"{table}.{key}" not in keys}
        for table, values in settings.items()
        if table not in tables
    }


def _facts(run: RunDir) -> dict[str, Any]:
    """By setting: of the newest snapshot, whose training the others are of, too."""
    try:
        manifest = read_manifest(run.snapshot(max(steps_in(run.snapshots), default=0)))
    except RunFolderError:
        return {}
    details = manifest.details if manifest else {}
    return {setting: details[name] for name, setting in FACTS.items() if name in details}
