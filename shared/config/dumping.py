"""A run's settings as TOML."""

from __future__ import annotations

import tomlkit

from shared.config.schema import Config


def dump_config(config: Config) -> str:
    """The resolved configuration as TOML that `load_config` reads back to an equal tree."""
    tree = config.model_dump(mode="json", exclude_none=True)
    for key in ("snr_gamma", "max_grad_norm"):
        tree["train"].setdefault(key, False)  # absent would mean its default
    return tomlkit.dumps(tree)
