"""A prompt asked for in the dashboard names its source by a prompt of the run."""

from __future__ import annotations

import pytest

from shared.data.asked_prompt import split, with_source


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("turn it red", ("turn it red", "")),
        ("turn it red --ci coats/3", ("turn it red", "coats/3")),
        ("turn it red --ci prompts.txt:2", ("turn it red", "prompts.txt:2")),
        ("a --cinema", ("a --cinema", "")),
        ("turn it red --ci", ("turn it red", "")),
    ],
)
def test_text_and_source_are_told_apart(prompt: str, expected: tuple[str, str]) -> None:
    assert split(prompt) == expected


def test_the_chosen_source_is_that_of_lines_which_name_none() -> None:
    assert with_source("turn it red", "coats/3") == "turn it red --ci coats/3"
    assert with_source("turn it red --ci coats/4", "coats/3") == "turn it red --ci coats/4"
