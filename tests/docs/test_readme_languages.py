"""README in three languages: the same parts, commands, links and pictures in each."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

NAMES = {"README.md": "English", "README.zh-Hans.md": "简体中文", "README.zh-Hant.md": "繁體中文"}
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
ONLY_ENGLISH = re.compile(r"```\nrun\.py  .*?```\n", re.DOTALL)
"""The commented tree; the others lead to it."""


def text_of(name: str) -> str:
    return ONLY_ENGLISH.sub("", (ROOT / name).read_text(encoding="utf-8"))


def levels(text: str) -> list[int]:
    return [
        len(marks) for marks in re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    ]


def inline(text: str) -> set[str]:
    """Code within sentences."""
    sentences = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return {" ".join(code.split()) for code in re.findall(r"`([^`]+)`", sentences)}


@pytest.mark.parametrize("name", [*NAMES][1:])
def test_a_translation_has_the_same_headings_commands_pictures_and_links(name: str) -> None:
    text = text_of(name)
    assert levels(text) == levels(ENGLISH)
    blocks = [re.findall(r"```(\w*)\n(.+?)```", one, re.DOTALL) for one in (text, text_of("README.md"))]
    assert blocks[0] == blocks[1], "commands and code are the same"
    rows = [re.findall(r"^\| `(run\.py [a-z]+)", one, re.MULTILINE) for one in (text, ENGLISH)]
    assert rows[0] == rows[1]
    assert len(rows[0]) > 10
    links = [set(re.findall(r"\]\(([^)]+)\)", one)) - NAMES.keys() for one in (text, ENGLISH)]
    assert links[0] - {"README.md#how-it-is-built", "README.md#how-fast-it-is"} <= links[1]
    assert len(links[0]) > 20
    assert inline(text) <= inline(ENGLISH), "it names nothing that the other does not name"


@pytest.mark.parametrize("name", NAMES)
def test_every_readme_begins_with_a_link_to_the_others(name: str) -> None:
    line = (ROOT / name).read_text(encoding="utf-8").splitlines()[2]
    said = [f"**{word}**" if other == name else f"[{word}]({other})" for other, word in NAMES.items()]
    assert line == " · ".join(said)


def test_the_translations_are_in_the_script_that_they_say() -> None:
    simplified, traditional = (text_of(name) for name in [*NAMES][1:])
    assert set("训练评图仪设关载运发") & set(traditional) == set()
    assert set("訓練評圖儀設關載運發") & set(simplified) == set()
    assert len(re.findall(r"[\u4e00-\u9fff]", simplified)) > 1000 < len(re.findall(r"[\u4e00-\u9fff]", traditional))
