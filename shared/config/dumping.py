"""A run's settings as TOML."""

from __future__ import annotations

import tomlkit

from shared.config.schema import Config, sections


def dump_config(config: Config) -> str:
    """The resolved configuration as TOML that `load_config` reads back to an equal tree."""
    tree = config.model_dump(mode="json", exclude_none=True)
    for table, model in sections(type(config)).items():
        for key, field in model.model_fields.items():
            if field.default is not None and config.value(f"{table}.{key}") is None:
                tree[table][key] = False  # absent would mean its default
    return tomlkit.dumps(tree)
