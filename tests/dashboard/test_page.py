"""The page itself, before it connects."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.pages import PATHS, page_titles
from dashboard.server.page import page_routes
from examples.fake_run.run import FakeRun

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"


@pytest.fixture
def visitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    return TestClient(Starlette(routes=list(page_routes())))


def given(text: str) -> dict[str, Any]:
    """What a page carries for the components that are drawn before Streamlit is there."""
    found = re.search(r'id="darkroom-given">(.*?)</script>', text)
    return json.loads(found[1]) if found else {}


@pytest.mark.usefixtures("finished")
def test_the_first_screen_does_not_wait_for_streamlit(visitor: TestClient) -> None:
    text = visitor.get("/?left=40&step=x", headers={"Accept-Language": "zh-CN"}).text
    assert text.index("/early.js") < text.index("static/js/index.")
    drawn = given(text)
    assert [*drawn] == ["lang", "screen", "bar"]
    assert drawn["lang"] == "zh-Hans"
    assert (drawn["screen"]["run"], drawn["screen"]["left"], drawn["screen"]["right"]) == ("finished", 40, None)
    assert [page["name"] for page in drawn["bar"]["pages"]] == list(PATHS)


def test_of_several_runs_all_are_drawn_first(visitor: TestClient, finished: FakeRun) -> None:
    shutil.copytree(finished.run.path, finished.run.path.with_name("second"))
    drawn = given(visitor.get("/?ticked=a,b").text)
    assert drawn["runs"]["view"]["ticked"] == ["a", "b"]
    assert drawn["bar"]["page"] == "runs"
    assert "screen" in given(visitor.get("/?run=second").text)


def test_what_only_python_can_tell_is_left_to_it(visitor: TestClient, finished: FakeRun) -> None:
    assert not given(visitor.get("/?run=absent").text)
    assert not given(visitor.get("/config?run=finished").text), "its content is Streamlit's"
    finished.run.record.write_text("{")
    assert not given(visitor.get("/?run=finished").text)


def test_every_page_begins_with_the_script_that_asks_whether_it_may_connect() -> None:
    visitor = TestClient(Starlette(routes=list(page_routes())))
    for path in PATHS.values():
        text = visitor.get(f"/{path}").text
        assert text.index("fetch(`admission") < text.index("</head>") < text.index('<div id="root">')
        assert "页面正在等待 WebSocket 连接" in text, "the script has its hint in every language"
    assert visitor.get("/favicon.png").status_code == 404, "Streamlit's own files stay its own"


def test_every_page_has_a_title_and_a_file() -> None:
    assert list(page_titles()) == list(PATHS)
    assert set(PATHS) == {file.stem for file in (DASHBOARD / "views").glob("[a-z]*.py")}
