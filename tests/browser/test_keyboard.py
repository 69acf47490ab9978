"""Everything that the first screen does is done with Tab, Enter, Space and the arrows, and the focus is always seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from examples.fake_run.run import create
from examples.fake_run.states import write_failure
from shared.run_folder import requests
from shared.run_folder.run_dir import RunDir
from tests.browser.conftest import OpenPage, live_run, wait_until

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1440, "height": 900}
MAX_PRESSES = 60
READY = "[data-testid=stApp][data-test-script-state=notRunning]"
FOCUSED = """() => {
  const node = document.activeElement
  const isRing = (one) => {
    const style = getComputedStyle(one)
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none"
  }
  const isSeen = isRing(node) || Boolean(node.closest(".frame") && isRing(node.closest(".frame")))
  return { name: node.className, text: node.textContent.trim().slice(0, 40), label: node.ariaLabel ?? "", isSeen }
}"""


@pytest.fixture(scope="module")
def at_work(runs: Path) -> Iterator[RunDir]:
    """A run that trains, and one that has something to alert of."""
    write_failure(create(runs / "broken", steps=300, snapshot_steps=100))
    with live_run(runs, "at-work") as run:
        yield run


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus; everything on the way shows that it has it."""
    wanted = page.locator(selector).first
    for _ in range(MAX_PRESSES):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        assert at["isSeen"] or "stMain" in at["name"] or not at["name"], f"the focus is not seen: {at}"
        if wanted.evaluate("(node) => node === document.activeElement"):
            return
    raise AssertionError(f"{selector} is not reached with Tab")


def from_the_top(page: Page, selector: str) -> None:
    """As `tab_to`, from the beginning of the page."""
    page.evaluate("document.activeElement.blur()")
    tab_to(page, selector)


def test_the_bar_of_a_run_at_work_needs_no_mouse(open_page: OpenPage, at_work: RunDir) -> None:
    page = open_page("at-work", viewport=DESKTOP)
    page.locator(".darkroom-screen.drawn").wait_for()
    tab_to(page, "header .pause")
    page.keyboard.press("Space")
    wait_until(lambda: bool(requests.requests(at_work, "pause")))
    expect(page.locator("header .resume")).to_be_enabled()
    from_the_top(page, "header .resume")
    page.keyboard.press("Enter")
    expect(page.locator("header .pause")).to_be_enabled()
    from_the_top(page, "header .more")
    page.keyboard.press("Enter")
    tab_to(page, ".menu .snapshot")
    page.keyboard.press("Escape")
    expect(page.locator(".menu")).to_be_hidden()
    from_the_top(page, "header .stop")
    page.keyboard.press("Enter")
    tab_to(page, ".cancel-stop")
    page.keyboard.press("Space")
    expect(page.locator(".stop-panel")).to_be_hidden()
    from_the_top(page, "header .stop")
    page.keyboard.press("Enter")
    tab_to(page, ".confirm-stop")
    page.keyboard.press("Enter")
    wait_until(lambda: bool(requests.requests(at_work, "stop")))


def test_runs_alerts_and_pages_are_chosen_without_a_mouse(open_page: OpenPage, at_work: RunDir) -> None:
    page = open_page("broken", viewport=DESKTOP)
    page.locator(".darkroom-screen.drawn").wait_for()
    tab_to(page, "header .chip")
    page.keyboard.press("Enter")
    expect(page.locator(".alerts li").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".alerts li").first).to_be_hidden()
    from_the_top(page, "header .run")
    page.keyboard.press("Enter")
    page.locator(".runs a").first.wait_for()
    tab_to(page, ".runs a[href='?run=done']")
    page.keyboard.press("Enter")
    page.wait_for_url("**run=done*")
    page.locator(READY).wait_for()
    from_the_top(page, "nav a[href^='logs']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/logs?run=done*")


def test_pictures_snapshots_and_downloads_need_no_mouse(open_page: OpenPage) -> None:
    page = open_page("done", viewport=DESKTOP)
    page.locator(".darkroom-screen.drawn").wait_for()
    tab_to(page, ".downloads .others a:visible")
    with page.expect_download():
        page.keyboard.press("Enter")
    tab_to(page, ".why summary")
    page.keyboard.press("Enter")
    expect(page.locator(".why p")).to_be_visible()
    tab_to(page, ".kinds [role=radio]")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".kinds [aria-checked=true]")).to_have_text("worst")
    tab_to(page, ".wipe-toggle")
    page.keyboard.press("Space")
    tab_to(page, ".pick.first .right .divider")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".picks")).to_have_attribute("data-wipe", "51")
    tab_to(page, ".filmstrip .cell[tabindex='0']")
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+Space")
    expect(page.locator(".filmstrip .cell").nth(3)).to_have_class("cell is-left")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.locator(".filmstrip .cell").nth(2)).to_have_attribute("aria-pressed", "true")
    from_the_top(page, ".pictures .all")
    page.keyboard.press("Enter")
    page.wait_for_url("**/pictures?*")
