"""`python docs/make_screenshot.py RUN [PAGE …]`: photograph pages of the dashboard, light and dark, with Chromium.

Every page if none is named. Writes images/dashboard-<page>-<scheme>.webp. Other runs beside RUN appear on the Compare
page; the Data page shows where the data set lies.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.launch.listener import listen
from shared.launch.supervisor import child_environment, wait_until_healthy
from shared.run_folder.run_dir import RunDir, open_run

IMAGES = Path(__file__).parent / "images"
HOST = "127.0.0.1"
WIDTH = 1440
HEIGHTS = {
    "overview": 900,
    "pictures": 1000,
    "vote": 900,
    "runs": 360,
    "snapshots": 860,
    "compare": 1640,
    "logs": 820,
    "config": 900,
    "data": 1000,
    "system": 1000,
}
READY = {
    "overview": ".pick.first .right .above",
    "pictures": ".cards .above",
    "vote": ".darkroom-vote .side img",
    "runs": ".card img",
    "snapshots": ".st-key-snapshot",
    "compare": ".cards .above",
    "logs": ".st-key-log",
    "config": ".darkroom-sheet td",
    "data": ".darkroom-dataset .pair img",
    "system": "[data-testid=stDataFrame]",
}
QUALITY = 82


def shoot(run: RunDir, pages: Collection[str]) -> None:
    """Serve the run, photograph each page once it is drawn."""
    listener = listen(HOST, 8601)
    process = listener.start(child_environment(run))
    try:
        assert wait_until_healthy(listener.local_url, seconds=60)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for name in pages:
                for scheme in ("light", "dark"):
                    photograph(browser, listener.local_url, run.path.name, name, scheme)
            for name in {"overview", "pictures", "vote"} & {*pages}:
                photograph(browser, listener.local_url, run.path.name, name, "phone")
            browser.close()
    finally:
        process.terminate()
        process.wait()


def photograph(browser: Browser, address: str, run_name: str, name: str, scheme: str) -> None:
    """One page in one scheme; `phone` is a light one, 390 pixels wide."""
    width, height = (390, 844) if scheme == "phone" else (WIDTH, HEIGHTS[name])
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page.set_default_timeout(60_000)
    path = "" if name == "overview" else name
    page.goto(f"{address}/{path}?run={run_name}")
    page.locator(READY[name]).first.wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)  # tables are drawn on a canvas, which nothing tells of
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(IMAGES / f"dashboard-{name}-{scheme}.webp", quality=QUALITY, method=6)
    page.close()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    shoot(open_run(Path(sys.argv[1])), sys.argv[2:] or HEIGHTS)
