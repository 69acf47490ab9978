"""A family's name, and what it calls its denoiser, stand in its own file: whoever adds one opens no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.text_to_image.families.known import FAMILIES
from tests.conftest import ROOT

ROOMS = ("shared", "trainer", "evaluator", "dashboard", "tasks")
OWN = ROOT / "tasks" / "text_to_image" / "families"
DENOISERS = {family.denoiser for family in FAMILIES.values()}
NAMES = {*DENOISERS, *FAMILIES}
TITLES = tuple(family.title for family in FAMILIES.values())
OTHERWISE_MEANT = {("shared/config/targets.py", "transformer")}
"""The preset of `lora.target_modules`."""


def texts(file: Path) -> Iterator[str]:
    """Every text of a module that is no docstring."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described:
            yield node.value


def is_named(text: str) -> bool:
    parts = tuple(f"{name}." for name in DENOISERS)
    return text in NAMES or text.startswith(parts) or any(title in text for title in TITLES)


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_but_a_familys_own_names_a_family_or_a_denoiser(room: str) -> None:
    files = [file for file in (ROOT / room).rglob("*.py") if OWN not in file.parents]
    found = {(file.relative_to(ROOT).as_posix(), text) for file in files for text in texts(file) if is_named(text)}
    assert files
    assert found <= OTHERWISE_MEANT


def test_what_is_looked_for_is_found_in_the_familys_own_files() -> None:
    found = {text for file in OWN.rglob("*.py") for text in texts(file) if is_named(text)}
    assert found >= {"unet", "transformer", "z-image", "SDXL"}
