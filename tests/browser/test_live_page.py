"""The live page in a real browser: what no unit test can see."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from shared.run_folder import requests
from shared.run_folder.times import parse_time
from tests.browser.conftest import STATUS, OpenPage, last_drawn_step, live_run, wait_for_ticks, wait_until

pytestmark = pytest.mark.browser

WATCH_FRAMES = """() => {
  window.blankFrames = 0
  window.removedCharts = 0
  const hasChart = (node) => node.matches?.(".js-plotly-plot") || node.querySelector?.(".js-plotly-plot")
  new MutationObserver((changes) => {
    for (const change of changes) removedCharts += [...change.removedNodes].filter(hasChart).length
  }).observe(document.body, { childList: true, subtree: true })
  const isBlank = (chart) => chart.clientHeight < 100 || !chart.querySelector(".main-svg")
  const look = () => {
    const charts = [...document.querySelectorAll(".darkroom-figure")]
    if (charts.length < 2 || charts.some(isBlank)) blankFrames++
    requestAnimationFrame(look)
  }
  look()
}"""
VIEW = """(node) => ({
  range: node._fullLayout.xaxis.range.map((end) => Math.round(end * 1000)),
  visible: node._fullData.filter((trace) => trace.showlegend).map((trace) => trace.visible),
  marked: node.dataset.mark,
})"""
RUNS_FORWARD = """(node) => node._fullData[0].x.every((step, place, all) => !(step < all[place - 1]))"""


def test_zoom_and_legend_survive_live_data_without_a_blank_frame(open_page: OpenPage, runs: Path) -> None:
    with live_run(runs, "zoomed"):
        page = open_page("zoomed")
        charts = page.locator(".darkroom-figure.js-plotly-plot")
        expect(charts).to_have_count(2)
        page.evaluate(WATCH_FRAMES)
        training, quality = charts.nth(0), charts.nth(1)
        training.evaluate("(node) => { node.dataset.mark = 'same' }")
        area = training.locator(".nsewdrag").first.bounding_box()
        assert area
        page.mouse.move(area["x"] + 0.3 * area["width"], area["y"] + 60)
        page.mouse.down()
        page.mouse.move(area["x"] + 0.5 * area["width"], area["y"] + 62, steps=4)
        step = last_drawn_step(page, figure=1)
        wait_until(lambda: last_drawn_step(page, figure=1) > step)  # data arrives while the zoom box is being drawn
        page.mouse.move(area["x"] + 0.6 * area["width"], area["y"] + 62, steps=4)
        page.mouse.up()
        training.locator(".legendtoggle").first.click()
        page.wait_for_function("document.querySelector('.darkroom-figure')._fullData[0].visible === 'legendonly'")
        before, other = training.evaluate(VIEW), quality.evaluate(VIEW)
        wait_for_ticks(page, 2, figure=1)
        assert training.evaluate(VIEW) == before
        assert before["marked"] == "same"
        assert before["visible"][0] == "legendonly"
        assert quality.evaluate(VIEW)["range"] == other["range"] == before["range"]
        assert page.evaluate("[blankFrames, removedCharts]") == [0, 0]

        page.mouse.dblclick(area["x"] + 200, area["y"] + 60)
        wait_until(lambda: training.evaluate(VIEW)["range"][0] == quality.evaluate(VIEW)["range"][0] < 0)


def test_two_viewers_pressing_stop_make_one_request_and_see_it_through(open_page: OpenPage, runs: Path) -> None:
    with live_run(runs, "stopped") as run:
        first, second = open_page("stopped"), open_page("stopped")
        for page in (first, second):
            page.locator("header .stop").click()
            expect(page.locator(".confirm-stop")).to_be_visible()
        assert requests.requests(run) == []
        first.locator(".confirm-stop").click(click_count=3)
        expect(second.locator(".chain")).to_contain_text("stopped")
        for page in (first, second):
            expect(page.locator(".chain li.reached")).to_have_count(4)
            expect(page.locator("header .stop")).to_be_hidden()
            expect(page.locator(".confirm-stop")).to_be_hidden()
            expect(page.locator(STATUS)).to_contain_text("Stopped")
        assert [request.by for request in requests.requests(run)] == ["dashboard"]


def test_a_trainer_that_is_silent_dies_and_is_resumed_is_told_at_every_turn(open_page: OpenPage, runs: Path) -> None:
    with live_run(runs, "mortal", "--ignore-stop") as run:
        page = open_page("mortal")
        page.locator("header .stop").click()
        page.locator(".confirm-stop").click()
        wait_until(lambda: bool(requests.requests(run)))
        (request,) = requests.requests(run)
        earlier = parse_time(request.created) - timedelta(minutes=1)
        request.model_copy(update={"created": earlier.isoformat()}).write(run.control / f"{request.id}.json")
        expect(page.get_by_text("The trainer has not answered")).to_be_visible()
        assert len(requests.requests(run)) == 1
        wait_for_ticks(page, 1)
    expect(page.get_by_text("ended without answering the request")).to_be_visible()
    expect(page.locator(f"{STATUS}[data-tone=bad]")).to_be_visible()
    page.locator("header .chip").click()
    expect(page.locator(".alerts")).to_contain_text("exited unexpectedly")
    expect(page.locator("header .stop")).to_be_hidden()
    with live_run(runs, "mortal"):
        expect(page.locator(f"{STATUS}[data-tone=bad]")).to_have_count(0)
        expect(page.locator(".chain")).to_have_count(0)
        expect(page.locator("header .stop")).to_be_enabled()
        wait_for_ticks(page, 2)
        assert page.locator(".darkroom-figure").first.evaluate(RUNS_FORWARD)
