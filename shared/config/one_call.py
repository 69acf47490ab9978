"""Settings that an evaluator may take for one call: what it computes stays the same, only time and memory differ."""

from __future__ import annotations

from collections.abc import Iterable

from shared.errors import ConfigError

FOR_ONE_CALL = ("evaluation.blocks_to_swap", "evaluation.order", "evaluation.rescan_seconds")


def split(settings: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of settings as `section.key=value`, those for one call, and the others."""
    own: list[str] = []
    others: list[str] = []
    for setting in settings:
        (own if setting.partition("=")[0].strip() in FOR_ONE_CALL else others).append(setting)
    return own, others


def require(settings: Iterable[str]) -> list[str]:
    """The settings, if each is for one call.

    Raises:
        ConfigError: some are not.
    """
    own, others = split(settings)
    if others:
        raise ConfigError(
            f"{', '.join(others)}: an evaluator takes only {', '.join(FOR_ONE_CALL)} for one call",
            "give other settings to `python run.py evaluate` or `python run.py train`, which check them",
        )
    return own
