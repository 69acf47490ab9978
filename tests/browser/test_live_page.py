"""The live page in a real browser: what no unit test can see."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, expect

from shared.run_folder import requests
from tests.browser.conftest import OpenPage, address_of, last_drawn_step, live_run, serve, wait_for_ticks, wait_until

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
COLORS = """(node, style) => [
  getComputedStyle(node)[style],
  getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor,
]"""


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
        wait_for_ticks(page, 4, figure=1)
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
            page.locator(".st-key-stop_training button").click()
            expect(page.locator(".st-key-confirm_stop button")).to_be_visible()
        assert requests.requests(run) == []
        first.locator(".st-key-confirm_stop button").click(click_count=3)
        expect(second.locator(".chain")).to_contain_text("stopped")
        for page in (first, second):
            expect(page.locator(".chain li.reached")).to_have_count(4)
            expect(page.locator(".st-key-stop_training button")).to_be_disabled()
            expect(page.locator(".st-key-confirm_stop")).to_have_count(0)
            expect(page.locator(".facts")).to_contain_text("stopped")
        assert [request.by for request in requests.requests(run)] == ["dashboard"]


def test_a_trainer_that_is_silent_dies_and_is_resumed_is_told_at_every_turn(open_page: OpenPage, runs: Path) -> None:
    with live_run(runs, "mortal", "--ignore-stop") as run:
        page = open_page("mortal")
        page.locator(".st-key-stop_training button").click()
        page.locator(".st-key-confirm_stop button").click()
        expect(page.get_by_text("The trainer has not answered")).to_be_visible()
        assert len(requests.requests(run)) == 1
        wait_for_ticks(page, 1)
    expect(page.get_by_text("ended without answering the request")).to_be_visible()
    expect(page.locator(".facts .bad")).to_have_count(2)  # trainer and evaluator
    expect(page.locator(".alerts")).to_contain_text("exited unexpectedly")
    expect(page.locator(".st-key-stop_training button")).to_be_disabled()
    with live_run(runs, "mortal"):
        expect(page.locator(".facts .bad")).to_have_count(0)
        expect(page.locator(".chain")).to_have_count(0)
        expect(page.locator(".st-key-stop_training button")).to_be_enabled()
        wait_for_ticks(page, 2)
        assert page.locator(".darkroom-figure").first.evaluate(RUNS_FORWARD)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_themes(open_page: OpenPage, scheme: str) -> None:
    page = open_page("done", "", color_scheme=scheme)
    page.wait_for_selector(".main-svg .annotation-text")
    for selector, style in ((".fact dd", "color"), (".annotation-text", "fill"), (".prompt", "color")):
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
        page.wait_for_selector(".facts")
        assert process.stdin
        process.stdin.close()
        process.wait(timeout=60)
        page.close()
