"""The base model of a run, as strangers can get it."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import metadata_load, try_to_load_from_cache

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def hub_id(place: str, given: str) -> str:
    """What was given, else the place if it is no path of this disk; empty: it has no address that we know."""
    return given or (place if HUB_ID.fullmatch(place) and not Path(place).exists() else "")


def linked(name: str, address: str) -> str:
    """In Markdown."""
    return f"[{address}](https://huggingface.co/{address})" if address else f"`{name}`"


def licence(place: str, address: str) -> str:
    """As its model card has it, if that lies on this disk; else empty. place: what the run has loaded."""
    cached = try_to_load_from_cache(address, "README.md") if address else None
    for card in (Path(place) / "README.md", cached):
        if isinstance(card, (str, Path)) and Path(card).is_file():
            found = (metadata_load(card) or {}).get("license")
            if isinstance(found, str):
                return found
    return ""


def cautions(name: str, address: str) -> tuple[str, ...]:
    """For the person who publishes."""
    if address:
        return ()
    lost = f"the base model {name} has no address, so nobody who reads the card can get it"
    return (f"{lost}: give its hub id as --base-model owner/name",)
