"""A run that is published to a folder, and the code of its card, as a reader pastes it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shared.run_folder.run_dir import RunDir
from tasks import publish


def published(run: RunDir, target: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    """Publish it; returns the card."""
    monkeypatch.setattr(sys, "argv", ["publish", str(run.path), "--to", str(target), *options])
    assert publish.main() == 0
    return (target / "README.md").read_text(encoding="utf-8")


def run_card(card: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Execute the code of a card in a folder."""
    monkeypatch.chdir(folder)
    code = card.partition("```python\n")[2].partition("```")[0]
    exec(compile(code, "card", "exec"), {})
