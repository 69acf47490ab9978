"""What a task tells of a snapshot that is to be published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Form = Literal["hub", "folder", "zip"]
"""A repository of the hub; a folder like one; a zip of weights, pictures and a description, as Civitai takes them."""


@dataclass(frozen=True)
class Request:
    """What a person has asked for."""

    form: Form
    name: str
    """Of the files, and of the repository's last part."""
    place: str
    """What code gives to load it: the hub's id, or `.` in the folder itself."""
    strength: float = 1.0
    """At which it is to be used."""
    base_model: str = ""
    """The hub id of the base model, where the run has loaded it from this disk; empty: not given."""


@dataclass(frozen=True)
class Weights:
    """Files with what was learnt."""

    names: tuple[str, ...]
    """As they will be called; a folder's name ends in `/`."""
    readers: str
    """Who reads them: `diffusers`."""
    write: Callable[[Path], None]
    """Fills a folder with these files. It loads what it needs."""


@dataclass(frozen=True)
class Part:
    """A part of the card."""

    title: str
    text: str
    """Markdown, without headings of the first two levels."""


@dataclass(frozen=True)
class Publication:
    """What the card says beside what is told of every run."""

    summary: str
    """One sentence: what it is, for which base model."""
    weights: tuple[Weights, ...]
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """What must be known to use it: name → Markdown. The strength is told apart."""
    usage: tuple[Part, ...] = ()
    """How to load it, by program."""
    training: Mapping[str, str] = field(default_factory=dict[str, str])
    """How it was trained: name → value."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The hub's: `library_name`, `pipeline_tag`, `tags`, `base_model` …"""
    licence: str = ""
    """That of the base model, as the hub spells it, where its files tell; empty: unknown."""
    has_strength: bool = False
    """Whether it can be used at another strength than 1."""
    cautions: tuple[str, ...] = ()
    """For the person who publishes it, in whole sentences with cures; not in the card."""
