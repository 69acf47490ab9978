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
from dashboard.server.page import elsewhere_routes, page_routes
from examples.fake_run.run import FakeRun

DASHBOARD = Path(__file__).resolve().parents[3] / "dashboard"


@pytest.fixture
def visitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    return TestClient(Starlette(routes=list(page_routes())))


def given(text: str) -> dict[str, Any]:
    """What a page carries for the components that are drawn before Streamlit is there, by their names."""
    found = re.search(r'id="darkroom-given">(.*?)</script>', text)
    return {part["name"]: part["data"] for part in json.loads(found[1])["parts"]} if found else {}


@pytest.mark.usefixtures("finished")
def test_the_first_screen_does_not_wait_for_streamlit(visitor: TestClient) -> None:
    text = visitor.get("/?left=40&step=x", headers={"Accept-Language": "zh-CN"}).text
    assert text.index("/early.js") < text.index("static/js/index.")
    drawn = given(text)
    assert [*drawn] == ["screen", "bar"]
    assert drawn["bar"]["lang"] == "zh-Hans"
    assert (drawn["screen"]["run"], drawn["screen"]["left"], drawn["screen"]["right"]) == ("finished", 40, None)
    assert [page["name"] for page in drawn["bar"]["pages"]] == list(PATHS)


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("address", "name", "shown"),
    [
        (
            "pictures?left=40&rows=worst",
            "wall",
            {"choice": {"left": 40, "right": None, "sort": "worst", "prompt": None}},
        ),
        ("snapshots?step=40&order=won", "snapshots", {"step": 40, "order": "won"}),
        ("snapshots?step=41", "snapshots", {"step": 120, "order": ""}),
        ("vote", "vote", {}),
        ("data?find=red&page=2", "dataset", {"view": {"find": "red", "split": None, "only": None, "page": 2}}),
        ("logs?role=absent&at=last", "log", {"role": "trainer", "start": "last", "count": 200}),
        ("config", "sheet", {"name": "settings"}),
        ("system", "machine", {}),
    ],
)
def test_the_main_part_of_a_page_is_drawn_as_the_address_says(
    visitor: TestClient, address: str, name: str, shown: dict[str, Any]
) -> None:
    text = visitor.get(f"/{address}").text
    drawn = given(text)
    assert [*drawn] == [name, "bar"]
    assert drawn[name] | shown == drawn[name]
    assert text.index(f"/{name}.js") < text.index("static/js/index."), "asked for before Streamlit's"


def test_of_several_runs_all_are_drawn_first(visitor: TestClient, finished: FakeRun) -> None:
    shutil.copytree(finished.run.path, finished.run.path.with_name("second"))
    drawn = given(visitor.get("/?ticked=a,b").text)
    assert drawn["runs"]["view"]["ticked"] == ["a", "b"]
    assert drawn["bar"]["page"] == "runs"
    assert "screen" in given(visitor.get("/?run=second").text)
    compared = given(visitor.get("/compare?run=second").text)
    assert compared["sheet"]["name"] == "contest"
    assert [block["kind"] for block in compared["sheet"]["blocks"]][:2] == ["heading", "sentence"]
    assert [*given(visitor.get("/compare?run=second&compare=absent").text)] == ["bar"]


def test_what_only_python_can_tell_is_left_to_it(visitor: TestClient, finished: FakeRun) -> None:
    assert not given(visitor.get("/?run=absent").text)
    assert [*given(visitor.get("/compare?run=finished").text)] == ["bar"], "there is no other to compare with"
    shutil.rmtree(finished.run.snapshots)
    assert [*given(visitor.get("/snapshots?run=finished").text)] == ["bar"], "there is none to show"
    finished.run.config.write_text("[")
    assert [*given(visitor.get("/config?run=finished").text)] == ["bar"], "the panel says why"
    finished.run.record.write_text("{")
    assert not given(visitor.get("/?run=finished").text)


def test_every_page_begins_with_the_script_that_asks_whether_it_may_connect() -> None:
    visitor = TestClient(Starlette(routes=list(page_routes())))
    for path in PATHS.values():
        text = visitor.get(f"/{path}").text
        assert text.index("fetch(`admission") < text.index("</head>") < text.index('<div id="root">')
        assert "页面正在等待 WebSocket 连接" in text, "the script has its hint in every language"
    assert visitor.get("/favicon.png").status_code == 404, "Streamlit's own files stay its own"


def test_a_former_address_of_a_page_leads_to_it() -> None:
    visitor = TestClient(Starlette(routes=list(page_routes())), follow_redirects=False)
    answer = visitor.get("/samples?run=a%20b&step=40")
    assert (answer.status_code, answer.headers["location"]) == (303, "./pictures?run=a%20b&step=40")


def test_every_page_has_a_title_and_a_file() -> None:
    assert list(page_titles()) == list(PATHS)
    assert set(PATHS) == {file.stem for file in (DASHBOARD / "views").glob("[a-z]*.py")}


def test_the_address_of_no_page_leads_to_the_overview_with_its_question() -> None:
    visitor = TestClient(Starlette(routes=elsewhere_routes()), follow_redirects=False)
    for wrong, right in {"/overview?run=a": "./?run=a", "/nothing": "./", "/runs/done?step=5": "../?step=5"}.items():
        answer = visitor.get(wrong)
        assert (answer.status_code, answer.headers["location"]) == (303, right)
    for streamlits in ("/_stcore/health", "/nothing/_stcore/health", "/static/js/index.js", "/media/picture", "/a.png"):
        assert visitor.get(streamlits).status_code == 404
