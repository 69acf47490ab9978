"""A page of another port that shows the dashboard in a frame, or embeds its pictures."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import STATUS, address_of, serve, wait_until

pytestmark = pytest.mark.browser

PICTURE = "pictures/done/references/kimono/crimson-0.png"


@contextmanager
def another_site() -> Generator[tuple[str, list[str]]]:
    """Its address, and what it answers with: a list of one text."""
    bodies = [""]

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(bodies[0].encode())

        def log_message(self, *_: object) -> None:
            """Nothing to the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
        server.shutdown()


def test_only_a_site_that_is_named_shows_the_dashboard_in_a_frame(
    browser: Browser, server: subprocess.Popen[bytes], runs: Path
) -> None:
    with another_site() as (site, bodies), serve(runs, frame_ancestors=(site,)) as opened:
        context = browser.new_context()
        page = context.new_page()
        bodies[0] = "".join(f'<iframe src="{address_of(one)}/?run=done"></iframe>' for one in (server, opened))
        bodies[0] += f'<img src="{address_of(server)}/{PICTURE}">'
        page.goto(site)
        frames = page.frame_locator("iframe")
        frames.nth(1).locator(STATUS).wait_for(timeout=60_000)
        assert frames.nth(0).locator(STATUS).count() == 0
        assert page.frames[1].url.startswith("chrome-error"), "the browser refuses it"
        wait_until(lambda: page.locator("img").evaluate("(image) => image.complete"))
        assert page.locator("img").evaluate("(image) => image.naturalWidth") == 0, "nobody embeds its pictures"
        context.close()
