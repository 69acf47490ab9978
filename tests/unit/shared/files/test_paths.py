"""`~` on the command line, and what cannot be a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.files import paths
from tests.conftest import Warm


def test_words_of_the_command_line_have_the_home_folder_where_the_shell_left_a_tilde(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.expand_argument("~/pics") == "/home/me/pics"
    assert paths.expand_argument("--output=~/a.toml") == "--output=/home/me/a.toml"
    for word in ("--new", "a~b", "data.trigger_word=~x", "x/~/y", "~nobody-of-this-name/x"):
        assert paths.expand_argument(word) == word


def test_run_py_finds_a_folder_below_the_home_folder(tmp_path: Path, warm: Warm) -> None:
    program = warm.start("run", "check", "~/runs/none", environment={"HOME": str(tmp_path)})
    assert program.wait() == 2
    assert f"{tmp_path}/runs/none is not a run folder" in program.stderr()
