"""Arguments that say nothing, as a shell leaves them where a variable is not set."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from run import app


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["copy", "runs/dress", ""], "the argument after runs/dress is empty"),
        (["report", "runs/dress", "--output", ""], "the argument after --output is empty"),
        (["publish", "", "--to="], "the argument after publish is empty; --to is empty"),
        ([""], "the first argument is empty"),
    ],
)
def test_an_empty_argument_is_refused_rather_than_taken_for_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {told}\nhint: give a value, or leave it out;")
    assert list(tmp_path.iterdir()) == []
