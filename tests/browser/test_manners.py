"""What a person may rely on at every page: addresses, phones, languages, interruptions, little traffic."""

from __future__ import annotations

import http.client
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count, pairwise
from pathlib import Path
from statistics import median

import pytest
from playwright.sync_api import Browser, Page, WebSocket, expect

from examples.fake_run import FakeRun, create, write_history
from shared.config.dumping import dump_config
from shared.run_folder import requests
from shared.run_folder.records import replace_file
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, Value, write_rows
from tests.browser.conftest import (
    OpenPage,
    address_of,
    free_port,
    last_drawn_step,
    live_run,
    serve,
    wait_for_seconds_told,
    wait_for_ticks,
    wait_until,
)

pytestmark = pytest.mark.browser

PAGES = ["", "samples", "snapshots", "compare", "logs", "config", "system"]
BYTES_PER_TICK = 150_000
SECONDS_PER_TICK = 0.1  # for drawing four charts; about as much again, in short tasks, is Streamlit's
TICKS = 5
COUNT_LONG_TASKS = """() => {
    window.longTasks = 0
    const count = (list) => list.getEntries().forEach((task) => { window.longTasks += task.duration })
    new PerformanceObserver(count).observe({entryTypes: ["longtask"]})
}"""
"""In milliseconds; a task is long from 50 on: that much somebody feels."""
COUNT_DRAWINGS = """() => {
  window.drawings = [0, 0]
  const charts = document.querySelectorAll(".js-plotly-plot")
  charts.forEach((chart, number) => chart.on("plotly_afterplot", () => drawings[number]++))
}"""


@pytest.fixture(scope="module")
def training(runs: Path) -> Iterator[RunDir]:
    """One run that goes on while all tests of this module look."""
    with live_run(runs, "training") as run:
        yield run


@pytest.mark.parametrize("name", [*PAGES[:3], *(pytest.param(name, marks=pytest.mark.slow) for name in PAGES[3:])])
def test_a_phone_needs_no_sideways_scrolling(open_page: OpenPage, name: str) -> None:
    page = open_page("done", name, viewport={"width": 390, "height": 844})
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    if not name:
        page.wait_for_selector(".main-svg")
        page.locator(".over").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390


def test_an_address_says_run_axis_smoothing_and_scales_on_every_page(open_page: OpenPage) -> None:
    page = open_page("done", "", "&x=epoch&smoothing=100&scales=log-y")
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
    page.wait_for_url("**/samples?*step=100*")
    expect(page.locator(".shown")).to_contain_text("step 100")


def test_zooming_brings_every_point_of_the_window(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    command = ["examples/fake_run.py", str(folder / "long"), "--steps", "100000", "--snapshot-steps", "50000"]
    subprocess.run([sys.executable, *command], check=True)
    with serve(folder) as process:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(address_of(process))
        figure = page.locator(".darkroom-figure.js-plotly-plot").first
        figure.wait_for(timeout=60_000)
        before = figure.evaluate("(node) => node._fullData[0].x.length")
        figure.evaluate("(node) => Plotly.relayout(node, {'xaxis.range': [10000, 10200]})")
        inside = "(node) => node._fullData[0].x.filter((step) => step >= 10000 && step <= 10200).length"
        wait_until(lambda: figure.evaluate(inside) >= 195)  # every 97th has no loss
        assert before <= 1700
        page.close()


@pytest.mark.slow
def test_looking_closer_and_back_breaks_no_connection(open_page: OpenPage) -> None:
    page = open_page("done")
    figure = page.locator(".darkroom-figure.js-plotly-plot").first
    figure.wait_for()
    drawn = "(node) => node._fullData[0].x.length"
    whole = figure.evaluate(drawn)
    for _ in range(2):
        figure.evaluate("(node) => Plotly.relayout(node, {'xaxis.range': [100, 120]})")
        wait_until(lambda: figure.evaluate(drawn) < whole)
        wait_for_seconds_told(page, 3)  # a tick at least that sends the part
        figure.evaluate("(node) => node.emit('plotly_doubleclick')")
        wait_until(lambda: figure.evaluate(drawn) == whole)
    page.locator("[data-testid=stApp][data-test-connection-state=CONNECTED]").wait_for()


def test_a_tick_costs_little_traffic(open_page: OpenPage, training: RunDir) -> None:
    received: list[int] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: received.append(len(frame)))

    page = open_page("done")
    page.on("websocket", listen)
    page.goto(page.url.replace("run=done", f"run={training.path.name}"))
    page.wait_for_selector(".main-svg")
    wait_for_ticks(page, 1)
    received.clear()
    wait_for_ticks(page, 2)
    assert sum(received) / 2 < 2 * BYTES_PER_TICK  # what is drawn may lag one tick behind what came
    assert max(received) < BYTES_PER_TICK


@pytest.mark.slow
def test_a_figure_that_nothing_new_came_for_is_not_drawn_again(open_page: OpenPage, runs: Path) -> None:
    fake = create(runs / "unevaluated", steps=300, snapshot_steps=100)
    write_history(fake)
    train = fake.config.train.model_copy(update={"max_train_steps": 1000})
    replace_file(fake.run.config, dump_config(fake.config.model_copy(update={"train": train})).encode())
    table = Appender(fake.run.train_csv, TRAIN_COLUMNS)
    page = open_page("unevaluated")
    page.locator(".darkroom-figure.js-plotly-plot").nth(1).wait_for()
    for step in range(301, 305):
        table.append(fake.training_row(step, datetime.now(UTC), 0.4))
        wait_until(lambda step=step: last_drawn_step(page) == step)
        if step == 301:  # with it the axis of both grew, to 310
            wait_for_seconds_told(page, 3)
            page.evaluate(COUNT_DRAWINGS)
    training, quality = page.evaluate("drawings")
    assert training >= 3
    assert quality == 0


def test_charts_cost_the_browser_little_and_nothing_while_out_of_sight(open_page: OpenPage, runs: Path) -> None:
    fake = create(runs / "four-charts", steps=3000, snapshot_steps=100)
    table = Appender(fake.run.train_csv, TRAIN_COLUMNS)
    write_rows(fake.run.train_csv, table.columns, [row_of_four_charts(fake, step) for step in range(1, 2001)])
    steps = count(2001)

    def tick() -> None:
        step = next(steps)
        table.append(row_of_four_charts(fake, step))
        expect(page.locator(".facts")).to_contain_text(f"{step:,} / 3,000")

    page = open_page("four-charts")
    figure = page.locator(".darkroom-figure.js-plotly-plot")
    figure.wait_for()
    assert figure.evaluate("(node) => node._fullLayout._subplots.cartesian.length") == 4
    page.evaluate(COUNT_LONG_TASKS)
    seen = seconds_per_tick(page, tick)
    assert page.evaluate("window.longTasks") / 1000 / TICKS <= SECONDS_PER_TICK
    assert last_drawn_step(page) > 2001
    page.set_viewport_size({"width": 1400, "height": 150})
    tick()
    drawn = last_drawn_step(page)
    unseen = seconds_per_tick(page, tick)
    assert last_drawn_step(page) == drawn
    assert seen - unseen <= SECONDS_PER_TICK
    page.set_viewport_size({"width": 1400, "height": 900})
    wait_until(lambda: last_drawn_step(page) > drawn)


def seconds_per_tick(page: Page, tick: Callable[[], None]) -> float:
    """Processor time of the page's main thread from one tick to the next, the median of four."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # work, not waiting for a processor
    spent: list[float] = []
    for _ in range(TICKS):
        tick()
        metrics = session.send("Performance.getMetrics")["metrics"]
        spent.append(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))
    session.detach()
    return median(later - earlier for earlier, later in pairwise(spent))


def row_of_four_charts(fake: FakeRun, step: int) -> dict[str, Value]:
    """What makes charts of loss, learning rate, gradient norm and speed."""
    row = fake.training_row(step, datetime.now(UTC), 0.4)
    return {**row, "process_rss_mib": None}


def test_pictures_of_ones_own_prompts_are_asked_for_and_come(open_page: OpenPage, training: RunDir) -> None:
    page = open_page(training.path.name, "snapshots", "&step=50")
    page.locator("[class*=st-key-prompts_] textarea").fill("a green coat\na hat")
    page.get_by_role("button", name="Draw with these prompts").click()
    pictures = page.locator(".drawings img")
    expect(pictures).to_have_count(2)
    pictures.last.scroll_into_view_if_needed()
    wait_until(lambda: pictures.last.evaluate("(image) => image.complete && image.naturalWidth") == 64)
    expect(page.locator(".drawings figcaption").last).to_contain_text("a hat")
    assert page.locator(".drawings a").first.get_attribute("target") == "_blank"
    expect(page.locator(".chain", has_text="evaluation request")).to_contain_text("drawn")


def test_what_somebody_types_and_opens_survives_ticks(open_page: OpenPage, training: RunDir) -> None:
    page = open_page(training.path.name, "snapshots")
    note = page.locator("[class*=st-key-note_] textarea")
    note.click()
    page.keyboard.type("soft edge")
    wait_for_seconds_told(page, 1)
    page.keyboard.type("s")
    assert note.input_value() == "soft edges"
    page.get_by_text("On the command line").click()
    expect(page.get_by_text("--format kohya")).to_be_visible()
    wait_for_seconds_told(page, 3)
    expect(page.get_by_text("--format kohya")).to_be_visible()
    page.get_by_role("link", name="Overview").click()
    page.wait_for_selector(".main-svg")
    page.locator(".st-key-run input").click()
    options = page.get_by_role("option")
    options.first.wait_for()
    wait_for_ticks(page, 2)
    assert options.count() >= 2
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop = 300")
    top = "document.querySelector('.darkroom-figure').getBoundingClientRect().top"
    before_ticks = page.evaluate(top)
    wait_for_ticks(page, 2)
    assert page.evaluate(top) == pytest.approx(before_ticks, abs=2)  # though lines above came or went


def test_an_enlarged_picture_stays_while_snapshots_arrive(open_page: OpenPage, training: RunDir) -> None:
    page = open_page(training.path.name, "samples", "&step=0")
    page.locator(".wall .frame").nth(1).click()
    expect(page.locator("dialog")).to_be_visible()
    newest = page.locator(".wall .head").nth(3).inner_text()
    wait_until(lambda: page.locator(".wall .head").nth(3).inner_text() != newest)
    expect(page.locator("dialog")).to_be_visible()


@pytest.mark.slow
def test_the_page_recovers_after_being_offline(open_page: OpenPage, training: RunDir) -> None:
    page = open_page(training.path.name)
    page.wait_for_selector(".main-svg")
    step = last_drawn_step(page)
    page.context.set_offline(True)
    page.wait_for_timeout(1500)
    page.context.set_offline(False)
    wait_until(lambda: last_drawn_step(page) > step)


@pytest.mark.slow
def test_the_page_recovers_when_the_server_was_started_again(browser: Browser, runs: Path, training: RunDir) -> None:
    port = free_port()
    page = browser.new_page()
    with serve(runs, port) as process:
        page.goto(f"{address_of(process)}/?run={training.path.name}")
        page.locator(".main-svg").first.wait_for(timeout=60_000)
        step = last_drawn_step(page)
    with serve(runs, port):
        wait_until(lambda: last_drawn_step(page) > step)
    page.close()


def test_ten_clicks_on_stop_make_one_request(open_page: OpenPage, runs: Path) -> None:
    with live_run(runs, "hammered", "--ignore-stop") as run:
        page = open_page("hammered")
        page.locator(".st-key-stop_training button").click()
        confirm = page.locator(".st-key-confirm_stop button")
        confirm.wait_for()
        for _ in range(10):
            confirm.evaluate_all("(buttons) => buttons.forEach((button) => button.click())")
            page.wait_for_timeout(random.uniform(0, 300))
        expect(page.locator(".chain")).to_contain_text("requested")
        assert len(requests.requests(run)) == 1


@pytest.mark.slow
def test_a_run_is_paused_photographed_and_goes_on(open_page: OpenPage, runs: Path) -> None:
    with live_run(runs, "held") as run:
        page = open_page("held")
        page.locator(".st-key-request_pause button:enabled").click()
        expect(page.locator(".facts")).to_contain_text("paused")
        page.locator(".st-key-request_resume button:enabled").click()
        expect(page.locator(".facts")).to_contain_text("training")
        published = set(run.published_snapshots())
        page.locator(".st-key-request_snapshot-now button:enabled").click()
        (request,) = wait_for_request(run)
        wait_until(lambda: requests.read_answer(run, request).done is not None)
        wait_until(lambda: requests.read_answer(run, request).step in set(run.published_snapshots()) - published)
        expect(page.locator(".chain", has_text="snapshot request")).to_contain_text("published")


def wait_for_request(run: RunDir) -> list[requests.Request]:
    wait_until(lambda: bool(requests.requests(run, "snapshot-now")))
    return requests.requests(run, "snapshot-now")


def test_a_chinese_browser_is_spoken_to_in_chinese(open_page: OpenPage) -> None:
    page = open_page("done", "logs", locale="zh-TW")
    expect(page.locator(".facts")).to_contain_text("訓練程式")
    expect(page.get_by_role("link", name="總覽")).to_be_visible()
    page = open_page("done", "samples", "&lang=en", locale="zh-CN")
    expect(page.locator(".legend")).to_contain_text("Under each picture")


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
        page.locator(".facts").wait_for(timeout=60_000)
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
