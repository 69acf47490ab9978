"""A folder that appears whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.files.new_folder import new_folder


def fill(target: Path, name: str) -> None:
    with new_folder(target) as staging:
        staging.mkdir()
        (staging / name).write_text("")
        assert not target.exists()
        if name == "half":
            raise ValueError(name)


def test_it_appears_when_all_is_written_and_what_an_error_left_is_cleared(tmp_path: Path) -> None:
    target = tmp_path / "pictures"
    with pytest.raises(ValueError, match="half"):
        fill(target, "half")
    assert not target.exists()
    fill(target, "whole")
    assert [path.name for path in target.iterdir()] == ["whole"]
    assert list(tmp_path.iterdir()) == [target]
