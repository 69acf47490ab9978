"""What is served, to whom, and whether it can be read."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import (
    STATUS,
    OpenPage,
    address_of,
    serve,
    wait_until,
)

pytestmark = pytest.mark.browser

COLORS = """(node, style) => [
  getComputedStyle(node)[style],
  getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor,
]"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_themes(open_page: OpenPage, scheme: str) -> None:
    page = open_page("done", "", color_scheme=scheme)
    page.wait_for_selector(".main-svg .annotation-text")
    selectors = (".answer h1", "color"), (".parts span", "color"), (".annotation-text", "fill"), (".prompt b", "color")
    for selector, style in selectors:
        node = page.locator(selector).first
        node.wait_for()
        wait_until(lambda node=node, style=style: contrast(*node.evaluate(COLORS, style)) > 7)


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two `rgb(…)` colours."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    if not color.startswith("rgb"):  # a node that a redraw has just replaced has no style
        return 0.5
    channels = [int(value) / 255 for value in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_no_picture_from_outside_the_runs_folder_is_served(
    server: subprocess.Popen[bytes], runs: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes((runs / "done" / "references" / "kimono" / "crimson-0.png").read_bytes())
    (runs / "done" / "escape.png").symlink_to(secret)
    (runs / "away").symlink_to(tmp_path)
    depth = "../" * len(runs.parts)
    refused = [
        "done/train.csv",
        "done/run.json",
        "done/escape.png",
        "away/secret.png",
        f"{depth}{secret}",
        f"done/{depth.replace('/', '%2f')}{str(secret)[1:]}",
        f"%2e%2e/{tmp_path.name}/secret.png",
        "done/references/kimono",
        "done/absent.png",
        "done/%00.png",
    ]
    assert status_of(server, "done/references/kimono/crimson-0.png") == 200
    assert [status_of(server, path) for path in refused] == [pytest.approx(404, abs=4)] * len(refused)


def status_of(server: subprocess.Popen[bytes], path: str) -> int:
    try:
        with urllib.request.urlopen(f"{address_of(server)}/pictures/{path}") as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_it_listens_on_the_loopback_only(server: subprocess.Popen[bytes]) -> None:
    sockets = psutil.Process(server.pid).net_connections("inet")
    assert {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_it_ends_when_its_supervisor_is_gone_even_while_watched(browser: Browser, runs: Path) -> None:
    with serve(runs, DARKROOM_PARENT_PIPE="1") as process:
        page = browser.new_page()
        page.goto(address_of(process))
        page.wait_for_selector(STATUS)
        assert process.stdin
        process.stdin.close()
        process.wait(timeout=60)
        page.close()
