"""`python docs/make_screenshot.py RUN`: write images/dashboard.png from a run, with the system's Chromium."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.rundir import RunDir, open_run
from shared.supervisor import ROOT, child_environment, dashboard_command, free_port, wait_until_healthy

TARGET = Path(__file__).parent / "images" / "dashboard.png"
HOST = "127.0.0.1"
VIEWPORT = {"width": 1400, "height": 1500}


def shoot(run: RunDir, target: Path) -> None:
    """Serve the run, wait until charts and pictures are there, photograph the page."""
    port = free_port(HOST, 8601)
    process = subprocess.Popen(
        dashboard_command(HOST, port), stdin=subprocess.PIPE, env=child_environment(run), cwd=ROOT
    )
    try:
        assert wait_until_healthy(f"http://{HOST}:{port}", seconds=60)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport=VIEWPORT)
            page.set_default_timeout(60_000)
            page.goto(f"http://{HOST}:{port}/?run={run.path.name}")
            page.locator(".darkroom-figure .main-svg").first.wait_for()
            page.locator(".cell img").first.wait_for()
            page.wait_for_load_state("networkidle")
            page.screenshot(path=target)
            browser.close()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    shoot(open_run(Path(sys.argv[1])), Path(sys.argv[2]) if len(sys.argv) > 2 else TARGET)
