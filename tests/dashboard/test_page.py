"""The page itself, before it connects."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.server.page import PATHS, page_routes

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"


def test_every_page_begins_with_the_script_that_asks_whether_it_may_connect() -> None:
    visitor = TestClient(Starlette(routes=list(page_routes())))
    for path in PATHS:
        text = visitor.get(f"/{path}").text
        assert text.index("fetch(`admission") < text.index("</head>") < text.index('<div id="root">')
        assert "页面正在等待 WebSocket 连接" in text, "the script has its hint in every language"
    assert visitor.get("/favicon.png").status_code == 404, "Streamlit's own files stay its own"


def test_the_pages_are_those_of_the_navigation() -> None:
    shell = (DASHBOARD / "shell.py").read_text(encoding="utf-8")
    names = re.findall(r'^        "(\w+)": say\(', shell, re.MULTILINE)
    named = [{"overview": "", "settings": "config"}.get(name, name) for name in names]
    assert tuple(named) == PATHS
