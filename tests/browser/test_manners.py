"""What a person may rely on at every page: addresses, phones, languages, names, tokens."""

from __future__ import annotations

import http.client
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from examples.fake_run.run import create
from examples.fake_run.states import write_failure
from tests.browser.conftest import STATUS, OpenPage, address_of, serve

pytestmark = pytest.mark.browser

PAGES = ["", "runs", "pictures", "vote", "snapshots", "compare", "data", "logs", "config", "system"]


@pytest.mark.parametrize("name", [*PAGES[:3], *(pytest.param(name, marks=pytest.mark.slow) for name in PAGES[3:])])
def test_a_phone_needs_no_sideways_scrolling(open_page: OpenPage, name: str) -> None:
    page = open_page("done", name, viewport={"width": 390, "height": 844})
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    if not name:
        page.locator(".right .above").first.wait_for()
        page.locator(".darkroom-figure").first.scroll_into_view_if_needed()  # drawn only when it is seen
        page.wait_for_selector(".main-svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390


def test_an_address_says_run_axis_smoothing_and_scales_on_every_page(open_page: OpenPage) -> None:
    page = open_page("done", "", "&x=epoch&smoothing=100&scales=log-y&curves=open")
    figure = page.locator(".darkroom-figure.js-plotly-plot").first
    figure.wait_for()
    assert figure.evaluate("(node) => node._fullLayout.xaxis.title.text") == "epoch"
    assert figure.evaluate("(node) => node._fullLayout.yaxis.type") == "log"
    expect(page.locator(".st-key-smoothing")).to_contain_text("100 steps")
    page.get_by_role("link", name="Logs").click()
    page.wait_for_url("**/logs?*smoothing=100*")
    page.get_by_role("link", name="Overview").click()
    page.wait_for_url("**/?*x=epoch*")
    figure = page.locator(".darkroom-figure.js-plotly-plot").first
    assert figure.evaluate("(node) => node._fullLayout.xaxis.title.text") == "epoch"


def test_a_click_on_a_metrics_point_opens_its_pictures(open_page: OpenPage) -> None:
    page = open_page("done")
    point = page.locator(".darkroom-figure").nth(1).locator(".scatterlayer .trace .points path").nth(2)
    box = point.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url("**/pictures?*step=100*")
    expect(page.locator(".side.b select")).to_have_value("100")


def test_a_chinese_browser_is_spoken_to_in_chinese(open_page: OpenPage) -> None:
    page = open_page("done", "logs", locale="zh-TW")
    expect(page.get_by_role("link", name="總覽")).to_be_visible()
    page = open_page("done", "pictures", "&lang=en", locale="zh-CN")
    expect(page.locator(".sort")).to_contain_text("prompt order")


def test_every_page_has_names_for_what_it_shows(open_page: OpenPage) -> None:
    page = open_page("done")
    for figure in page.locator(".darkroom-figure.js-plotly-plot").all():
        assert "done" in (figure.get_attribute("aria-label") or "")
    nameless = "[...document.querySelectorAll('img')].filter((image) => image.src && !image.alt).length"
    assert page.evaluate(nameless) == 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")


def test_with_a_token_nothing_is_seen_without_it(browser: Browser, runs: Path) -> None:
    with serve(runs, DARKROOM_TOKEN="secret") as process:
        address = address_of(process)
        assert handshake(process) == 403
        context = browser.new_context()
        page = context.new_page()
        answer = page.goto(f"{address}/?run=done")
        assert answer
        assert answer.status == 401
        picture = f"{address}/pictures/done/references/kimono/crimson-0.png"
        assert context.request.get(picture).status == 401
        page.goto(f"{address}/?run=done&token=secret")
        page.locator(STATUS).wait_for(timeout=60_000)
        assert "token" not in page.url
        assert context.request.get(picture).status == 200
        context.close()


def test_foreign_pages_cannot_listen_in(server: subprocess.Popen[bytes]) -> None:
    assert handshake(server) == 101
    assert handshake(server, Origin="http://evil.example") == 403
    assert handshake(server, Host="evil.example") == 403


def handshake(server: subprocess.Popen[bytes], **headers: str) -> int:
    """The status with which a WebSocket is answered."""
    connection = http.client.HTTPConnection(address_of(server).removeprefix("http://"), timeout=10)
    wanted = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    try:
        connection.request("GET", "/_stcore/stream", headers=wanted)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_points_of_a_chart_are_reached_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("done")
    figure = page.locator(".darkroom-figure.js-plotly-plot").nth(1)
    figure.wait_for(state="attached")
    figure.scroll_into_view_if_needed()
    figure.focus()
    page.keyboard.press("Home")
    said = figure.locator("xpath=../p[contains(@class, 'darkroom-figure-said')]")
    expect(said).to_contain_text("composite")
    page.keyboard.press("End")
    expect(said).to_contain_text("300")
    page.keyboard.press("Enter")
    page.wait_for_url("**/pictures?*step=300*")


def test_an_alert_opens_the_log_at_its_error(open_page: OpenPage, runs: Path) -> None:
    fake = create(runs / "broken", steps=40, snapshot_steps=20)
    write_failure(fake)
    fake.run.logs.mkdir(exist_ok=True)
    before, at_the_end = ["error: the one before", "line 1", "line 2"], ["error: CUDA out of memory", "hint: less"]
    (fake.run.logs / "trainer.log").write_text("\n".join([*before, *at_the_end]))
    page = open_page("broken")
    page.locator("header .chip").click()
    page.locator(".alerts a").first.click()
    page.wait_for_url("**/logs?*at=last*")
    expect(page.locator(".st-key-log")).to_contain_text("error: CUDA out of memory")
    expect(page.locator(".st-key-log")).not_to_contain_text("line 2")
