from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from shared.config import access
from shared.launch.listener import listen
from shared.launch.token_file import NAME, kept_token


def test_a_token_outlasts_a_restart_and_only_its_owner_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(access.VARIABLE, raising=False)
    links: set[str] = set()
    for _ in range(2):
        with closing(listen("127.0.0.1", 0, ("gpu.example.org",), runs=tmp_path)) as held:
            links.add(held.admission.token)
    assert len(links) == 1
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_deleting_the_file_renews_the_token_and_the_environment_overrides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept_token(tmp_path)
    (tmp_path / NAME).unlink()
    assert kept_token(tmp_path) != before
    monkeypatch.setenv(access.VARIABLE, "mine")
    with closing(listen("127.0.0.1", 0, ("gpu.example.org",), runs=tmp_path)) as held:
        assert held.admission.token == "mine"


def test_where_only_this_machine_comes_in_no_token_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(access.VARIABLE, raising=False)
    with closing(listen("127.0.0.1", 0, runs=tmp_path)) as held:
        assert held.admission.token == ""
    assert list(tmp_path.iterdir()) == []


def test_dashboards_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: kept_token(tmp_path), range(64)))) == 1


def test_a_token_that_others_could_have_read_is_replaced(tmp_path: Path) -> None:
    before = kept_token(tmp_path)
    (tmp_path / NAME).chmod(0o644)
    after = kept_token(tmp_path)
    assert after != before
    assert kept_token(tmp_path) == after
    (tmp_path / NAME).write_text("\n")
    assert kept_token(tmp_path) not in ("", after)


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_whatever_lies_in_its_place_a_dashboard_starts_with_a_token(tmp_path: Path, kind: str) -> None:
    path, elsewhere = tmp_path / NAME, tmp_path / "elsewhere"
    elsewhere.write_text("a-token-that-somebody-knows\n")
    elsewhere.chmod(0o600)
    {"fifo": lambda: os.mkfifo(path), "link": lambda: path.symlink_to(elsewhere), "folder": path.mkdir}[kind]()
    assert len(kept_token(tmp_path)) == 32
    assert kept_token(tmp_path) != "a-token-that-somebody-knows"
