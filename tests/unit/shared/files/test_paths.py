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


def test_a_folder_of_links_to_folders_is_named_by_these(tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    assert paths.behind_links(str(linked)) == str(linked)
    for name in ("a", "b"):
        (linked / name).symlink_to(tmp_path / f"{name} itself")
    assert paths.behind_links(str(linked)) == f"{tmp_path / 'a itself'} and {tmp_path / 'b itself'}"
    (tmp_path / "file").touch()
    (linked / "c").symlink_to(tmp_path / "file")
    assert paths.behind_links(str(linked)) == str(linked)
    assert paths.behind_links("hub:none") == "hub:none"


def test_run_py_finds_a_folder_below_the_home_folder(tmp_path: Path, warm: Warm) -> None:
    program = warm.start("run", "check", "~/runs/none", environment={"HOME": str(tmp_path)})
    assert program.wait() == 2
    assert f"{tmp_path}/runs/none is not a run folder" in program.stderr()
