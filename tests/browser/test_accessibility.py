"""axe-core finds nothing serious on any page of a finished, a live and a failed run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, ViewportSize
from starlette.datastructures import Headers

from dashboard import report
from dashboard.data.reader import RunReader
from dashboard.server.auth import no_token, refusal
from examples.fake_run.run import create
from examples.fake_run.states import in_the_middle, write_failure
from shared.run_folder.run_dir import open_run
from tests.browser.conftest import PATIENCE_SECONDS, STATUS, ColorScheme, address_of

pytestmark = pytest.mark.browser

Look = tuple[ViewportSize, ColorScheme]

PAGES = ("", "pictures", "vote", "snapshots", "compare", "data", "logs", "config", "system", "runs")
WIDE, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)
CHANGING = ("", "snapshots", "logs", "system")
"""Pages that look otherwise while a run is at work, or after it failed."""
LIGHT: Look = (WIDE, "light")
DARK: Look = (PHONE, "dark")
GRAVE = ("serious", "critical")
READY = "[data-testid=stApp][data-test-script-state=notRunning]:not(:has([data-stale=true]))"
THEME_IS = """(scheme) => {
  const app = document.querySelector("[data-testid=stApp]")
  return !app || getComputedStyle(app).colorScheme === scheme
}"""
RUN_AXE = "axe.run(document, { resultTypes: ['violations'] })"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One for all of them."""
    context = browser.new_context(viewport=WIDE, bypass_csp=True, reduced_motion="reduce")
    context.add_init_script(AXE_SCRIPT)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    yield page
    context.close()


@pytest.fixture(scope="module", autouse=True)
def _states(runs: Path) -> Iterator[None]:
    """Beside the finished run `done`."""
    write_failure(create(runs / "out-of-memory", steps=300, snapshot_steps=100))
    with in_the_middle(create(runs / "half-way", steps=300, snapshot_steps=50)):
        yield


def findings(page: Page) -> set[str]:
    """What is serious or critical."""
    results: dict[str, Any] = page.evaluate(RUN_AXE)
    grave = [found for found in results["violations"] if found["impact"] in GRAVE]
    return {f"{found['id']}: {node['html'][:160]} {reasons(node)}" for found in grave for node in found["nodes"]}


def reasons(node: dict[str, Any]) -> str:
    return " ".join(check["message"] for check in (*node["any"], *node["all"], *node["none"]))


def findings_in(page: Page, *looks: Look) -> set[str]:
    """Of the page as it is in each of them."""
    found: set[str] = set()
    for size, scheme in looks:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(THEME_IS, arg=scheme)
        found |= findings(page)
    return found


@pytest.mark.parametrize(
    ("run", "pages", "looks"),
    [("done", PAGES, (LIGHT, DARK)), ("half-way", CHANGING, (DARK,)), ("out-of-memory", CHANGING, (LIGHT,))],
)
def test_no_page_has_a_serious_finding(
    page: Page, server: subprocess.Popen[bytes], run: str, pages: tuple[str, ...], looks: tuple[Look, ...]
) -> None:
    found: dict[str, set[str]] = {}
    for name in pages:
        page.goto(f"{address_of(server)}/{name}?run={run}")
        page.wait_for_selector(STATUS)
        page.wait_for_selector(READY)
        found[name] = findings_in(page, *looks)
    assert found == {name: set() for name in pages}


def test_the_report_and_the_page_without_a_token_have_no_serious_finding(page: Page, runs: Path) -> None:
    run = open_run(runs / "done")
    texts = {"report": report.render(RunReader(run, run.read_record().run_id))}
    texts["no token"] = bytes(refusal(Headers({"accept": "text/html"}), 401, *no_token()).body).decode()
    for text in texts.values():
        page.set_content(text)
        assert findings_in(page, LIGHT, DARK) == set()
