"""The page itself, before it connects."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.pages import PATHS, page_titles
from dashboard.server.page import page_routes

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"


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
