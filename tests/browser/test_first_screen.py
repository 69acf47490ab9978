"""The first screen answers: what to ship, the pictures, every snapshot, all without scrolling."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, ViewportSize, expect

from examples.fake_run.history import write_history
from examples.fake_run.run import create
from shared.errors import TrainingError
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import RunDir
from tests.browser.conftest import (
    PATIENCE_SECONDS,
    STATUS,
    OpenPage,
    Tabs,
    address_of,
    live_run,
    wait_for_answers,
    wait_until,
)

pytestmark = pytest.mark.browser

DESKTOP, LARGE, PHONE = (1440, 900), (1920, 1080), (390, 844)
MAX_SHIFT = 0.05
COUNT_SHIFT = """() => {
  const observer = new PerformanceObserver(() => {})
  observer.observe({ type: "layout-shift", buffered: true })
  return observer.takeRecords().reduce((sum, entry) => sum + (entry.hadRecentInput ? 0 : entry.value), 0)
}"""
"""How far things have moved since the page was opened, as web vitals count it."""
PLACES = """() => [...document.querySelectorAll(".darkroom-bar nav a, .answer *, .pick .frame, .filmstrip .cell")]
  .filter((node) => node.getClientRects().length)
  .map((node) => [node.className, node.getBoundingClientRect()])
  .map(([name, { x, y, width, height }]) => [name, ...[x, y, width, height].map(Math.round)].join())
  .sort()"""
"""Where the pages, the verdict, the pictures and the snapshots stand."""
PLACES_OF = """(nodes) => nodes.map((node) => node.getBoundingClientRect())
  .map(({ x, y, width, height }) => [x, y, width, height].map(Math.round).join())"""
STREAMLIT = re.compile(r"/static/js/index\.[^.]+\.js")
EARLY = {
    "pictures": ".darkroom-wall .above",
    "logs": ".darkroom-log pre:not(:empty)",
    "config": ".settings tbody tr",
    "snapshots": ".darkroom-snapshots tbody tr",
}
"""Page → what is seen before Streamlit is there."""
HIDE = """(isHidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden })
  document.dispatchEvent(new Event("visibilitychange"))
}"""


@pytest.fixture(scope="module", autouse=True)
def _states(runs: Path) -> Iterator[None]:
    """Beside the finished run `done`: unproven, just begun, failed, at work."""
    for name in ("unproven", "failed"):
        write_history(create(runs / name, steps=300, snapshot_steps=100))
    best = runs / "unproven" / "best.json"
    long = {"cautions": [f"Something a person should know, number {one}." * 3 for one in range(12)]}
    best.write_text(json.dumps(json.loads(best.read_text()) | {"better_than_base": False, "confirmation": None} | long))
    with suppress(TrainingError), hold_role(RunDir(runs / "failed"), "trainer"):
        raise TrainingError("the loss was not finite")
    create(runs / "empty", steps=300, snapshot_steps=100)
    with live_run(runs, "at-work"):
        yield


@pytest.mark.parametrize("state", ["at-work", "done", "unproven", "empty", "failed"])
def test_the_answer_stands_in_the_first_viewport(open_page: OpenPage, state: str) -> None:
    page = open_page(state, viewport=size_of(DESKTOP))
    page.locator(".darkroom-screen.drawn").wait_for()
    for width, height in (DESKTOP, LARGE, PHONE):
        page.set_viewport_size(size_of((width, height)))
        wait_until(lambda width=width: all(part.is_visible() for part in parts(page, state, width)))
        wait_until(lambda width=width, height=height: not outside(parts(page, state, width), width, height))
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def parts(page: Page, state: str, width: int) -> list[Locator]:
    """What must be seen at once."""
    wanted = [page.locator(".answer h1"), page.locator(STATUS), page.locator(".filmstrip")]
    if state == "empty":
        return wanted
    frames = page.locator(".pick.first .right .frame" if width < 720 else ".pick:is(.first, .second) .frame")
    wanted += [frames.nth(place) for place in range(frames.count())]
    if state not in ("at-work", "unproven"):
        wanted.append(page.locator(".downloads .primary"))
    return wanted


def outside(wanted: list[Locator], width: int, height: int) -> list[str]:
    """Those of which not all is in the window."""
    boxes = {str(part): part.bounding_box() for part in wanted}
    return [
        name
        for name, box in boxes.items()
        if not box
        or min(box["x"], box["y"]) < 0
        or box["x"] + box["width"] > width
        or box["y"] + box["height"] > height
    ]


def test_a_phone_cuts_no_line_of_the_answer_and_opens_the_rest(open_page: OpenPage) -> None:
    page = open_page("unproven", viewport=size_of(PHONE))
    page.set_viewport_size(size_of((220, 700)))
    answer, more = page.locator(".answer"), page.locator(".answer .more")
    pieces = page.locator(":is(.sentence, .cautions li, .rows li)")

    def ends() -> list[float]:
        return pieces.evaluate_all("(nodes) => nodes.map((node) => node.getBoundingClientRect().bottom)")

    expect(more).to_be_visible()
    wait_until(lambda: 0 in ends())  # what does not fit is not there
    assert max(ends()) <= more.evaluate("(node) => node.getBoundingClientRect().top") + 1
    more.click()
    expect(more).to_have_attribute("aria-expanded", "true")
    assert 0 not in ends()
    assert answer.evaluate("(node) => node.scrollHeight <= node.clientHeight")
    more.click()


def test_a_long_verdict_leaves_cautions_out_and_opens_them(open_page: OpenPage) -> None:
    page = open_page("unproven", viewport=size_of(DESKTOP))
    cautions, more = page.locator(".cautions li"), page.locator(".answer .more")
    expect(more).to_be_visible()
    wanted = [
        page.locator(".answer h1"),
        cautions.first,
        page.locator(".downloads .primary"),
        page.locator(".why summary"),
    ]
    assert not outside(wanted, *DESKTOP)
    expect(cautions.last).to_be_hidden()
    more.click()
    expect(cautions.last).to_be_visible()
    assert page.locator(".darkroom-screen > .left").evaluate("(node) => node.scrollHeight <= node.clientHeight + 1"), (
        "the page scrolls"
    )
    more.click()
    expect(cautions.last).to_be_hidden()


def test_a_picture_that_cannot_be_shown_leaves_its_place_empty(open_page: OpenPage) -> None:
    page = open_page("done")
    image = page.locator(".filmstrip .cell img").first
    expect(image).to_be_visible()
    image.evaluate("(image) => (image.src = 'data:image/png,damaged')")
    expect(image).to_be_hidden()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_nothing_moves_while_the_page_is_drawn(open_page: OpenPage, size: tuple[int, int]) -> None:
    page = open_page("done", viewport=size_of(size))
    page.locator(".pick.first .right .above").wait_for()
    page.locator(".darkroom-figure").first.wait_for(state="attached")  # drawn only when it is seen
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    assert page.evaluate(COUNT_SHIFT) < MAX_SHIFT


def size_of(size: tuple[int, int]) -> ViewportSize:
    """As Playwright wants it."""
    return {"width": size[0], "height": size[1]}


def test_two_snapshots_are_chosen_with_the_keyboard_and_stand_in_the_address(open_page: OpenPage) -> None:
    page = open_page("done")
    strip = page.locator(".filmstrip .cell")
    page.locator(".filmstrip .cell[tabindex='0']").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+Enter")
    expect(strip.nth(2)).to_have_class("cell is-left")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(strip.nth(3)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".pick.first .right .head")).to_contain_text("150")
    page.wait_for_url("**/?*step=150*")
    assert "left=100" in page.url
    strip.nth(1).click()
    strip.nth(0).click(modifiers=["Shift"])
    expect(page.locator(".pick.first .right .head")).to_contain_text("50")


def test_every_button_of_the_bar_is_reached_with_the_keyboard(open_page: OpenPage) -> None:
    page = open_page("at-work", viewport=size_of(DESKTOP))
    page.locator("header .run").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".runs a").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".runs a").first).to_be_hidden()
    page.locator("header .stop").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".confirm-stop")).to_be_visible()
    page.locator(".cancel-stop").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".confirm-stop")).to_be_hidden()
    page.locator("header .more").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".menu .snapshot")).to_be_visible()


def test_pages_and_runs_are_changed_in_the_bar(open_page: OpenPage) -> None:
    page = open_page("done")
    page.get_by_role("link", name="Logs").click()
    page.wait_for_url("**/logs?run=done*")
    held: list[Route] = []
    page.route("**/screen/unproven.json*", lambda route: held.append(route))
    page.locator("header .run").click()
    page.locator(".runs a", has_text="unproven").click()
    page.wait_for_url("**/logs?run=unproven*")
    expect(page.locator("header .status")).to_have_text("")
    held[-1].continue_()
    expect(page.locator("header .status")).not_to_have_text("")
    page.unroute("**/screen/unproven.json*")
    expect(page.locator("header .run")).to_contain_text("unproven")
    link = page.get_by_role("link", name="Overview")
    assert link.get_attribute("href") == ".?run=unproven", "for a click with the middle button"


def test_a_hidden_tab_asks_nothing(open_page: OpenPage) -> None:
    page = open_page("at-work", is_fresh=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/screen/" in request.url else None)
    wait_for_answers(page, 1)
    page.evaluate(HIDE, True)
    asked.clear()
    page.clock.install()
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_response(lambda response: "/screen/" in response.url):
        page.evaluate(HIDE, False)


def test_a_phone_swipes_between_the_pictures(open_page: OpenPage) -> None:
    page = open_page("done", viewport=size_of(PHONE), has_touch=True)
    chosen = page.locator(".kinds [aria-checked=true]")
    expect(chosen).to_have_text("typical")
    page.locator(".picks").evaluate("(picks) => picks.scrollTo({ left: picks.clientWidth, behavior: 'instant' })")
    expect(chosen).to_have_text("worst")
    page.locator(".kinds button").first.click()
    wait_until(lambda: page.locator(".picks").evaluate("(picks) => picks.scrollLeft") == 0)
    small = "[...document.querySelectorAll('header button, nav a, .downloads .primary')]"
    heights = page.evaluate(f"{small}.filter((node) => node.offsetParent).map((node) => node.offsetHeight)")
    assert min(heights) >= 44


def hold(page: Page, held: Sequence[Route], count: int) -> None:
    """Wait until as many requests are held; only a call of Playwright's own lets it hand them over."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(held) < count:
        assert time.monotonic() < deadline, "Streamlit's script was not asked for"
        page.wait_for_timeout(20)


def test_the_answer_does_not_wait_for_streamlit_and_stays_where_it_is(
    tabs: Tabs, server: subprocess.Popen[bytes]
) -> None:
    page, held = tabs.fresh(viewport=size_of(DESKTOP)), list[Route]()
    page.route(STREAMLIT, lambda route: held.append(route))
    page.goto(f"{address_of(server)}/?run=done", wait_until="commit")
    hold(page, held, 1)
    early = page.locator("#darkroom-early")
    early.locator(".answer h1").wait_for()
    early.get_by_role("radio", name="worst").click()
    early.locator(".filmstrip .cell").nth(1).click()
    early.locator(".filmstrip .is-right").get_by_text("50").wait_for()
    before = page.evaluate(PLACES)
    held[0].continue_()
    page.locator(STATUS).wait_for()
    early.wait_for(state="detached")
    page.wait_for_url("**/?*step=50*")  # what was asked for meanwhile has come to Python
    expect(page.get_by_role("radio", name="worst")).to_have_attribute("aria-checked", "true")
    assert page.evaluate(PLACES) == before
    assert page.evaluate(COUNT_SHIFT) < MAX_SHIFT
    page.context.close()


def test_no_page_waits_for_streamlit_and_what_is_chosen_meanwhile_is_done(
    tabs: Tabs, server: subprocess.Popen[bytes]
) -> None:
    page, held = tabs.fresh(viewport=size_of(DESKTOP)), list[Route]()
    page.route(STREAMLIT, lambda route: held.append(route))
    for number, (name, content) in enumerate(EARLY.items(), start=1):
        page.goto(f"{address_of(server)}/{name}?run=done", wait_until="commit")
        hold(page, held, number)
        page.locator(f"#darkroom-early {content}").first.wait_for()
        assert page.locator("#darkroom-early nav [aria-current=page]").count() == 1
    rows = page.locator(".darkroom-snapshots tbody tr")
    page.get_by_role("button", name="prompts won").click()
    rows.filter(has_text="150").click()
    before = rows.evaluate_all(PLACES_OF)
    held[-1].continue_()
    page.locator(".st-key-snapshot h2").get_by_text("150").wait_for()
    page.wait_for_url("**/snapshots?*order=-won*")
    assert "step=150" in page.url
    assert rows.evaluate_all(PLACES_OF) == before
    assert page.evaluate(COUNT_SHIFT) < MAX_SHIFT
    page.context.close()


def test_a_run_that_cannot_be_shown_is_left_to_python(tabs: Tabs, server: subprocess.Popen[bytes]) -> None:
    page = tabs.fresh(viewport=size_of(DESKTOP))
    page.route("**/screen/done.json?*", lambda route: route.fulfill(status=500, json={"error": "Broken.", "hint": ""}))
    page.goto(f"{address_of(server)}/?run=done")
    page.locator("[data-testid=stApp] .darkroom-bar .trouble").wait_for()
    expect(page.locator("#darkroom-early")).to_have_count(0)
    page.context.close()
    tabs.complaints.clear()  # the browser tells of the 500


def test_every_sign_of_the_filmstrip_is_explained(open_page: OpenPage) -> None:
    page = open_page("done")
    page.locator(".filmstrip .signs").click()
    panel = page.locator(".signs-panel")
    expect(panel).to_be_visible()
    explained = set(panel.locator("b").all_text_contents())
    shown = page.locator(".filmstrip :is(b, .score, .note)").all_text_contents()
    signs = {sign for text in shown for sign in "▲=▼★⚠☆✓" if sign in text}
    assert signs
    assert signs <= explained
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
