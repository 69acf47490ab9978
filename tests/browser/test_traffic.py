"""What a page that is looked at costs: bytes for each tick, drawings, points of a window."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, pairwise
from pathlib import Path
from statistics import median

import pytest
from playwright.sync_api import Page, Response, WebSocket, expect

from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from shared.config.dumping import dump_config
from shared.files.replacing import replace_file
from shared.followers.alerts import LOW_DISK_BYTES
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, Value, write_rows
from tests.browser.conftest import (
    TALL,
    OpenPage,
    last_drawn_step,
    wait_for_answers,
    wait_for_ticks,
    wait_until,
)

pytestmark = pytest.mark.browser

BYTES_PER_CHART = 40_000  # packed
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


def test_zooming_brings_every_point_of_the_window(open_page: OpenPage, runs: Path) -> None:
    write_history(create(runs / "long", steps=20_000, snapshot_steps=10_000))
    figure = open_page("long").locator(".darkroom-figure.js-plotly-plot").first
    figure.wait_for()
    before = figure.evaluate("(node) => node._fullData[0].x.length")
    figure.evaluate("(node) => Plotly.relayout(node, {'xaxis.range': [10000, 10200]})")
    inside = "(node) => node._fullData[0].x.filter((step) => step >= 10000 && step <= 10200).length"
    wait_until(lambda: figure.evaluate(inside) >= 195)  # every 97th has no loss
    assert before <= 1700


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
        wait_for_answers(page, 1)  # a tick at least that sends the part
        figure.evaluate("(node) => node.emit('plotly_doubleclick')")
        wait_until(lambda: figure.evaluate(drawn) == whole)
    page.locator("[data-testid=stApp][data-test-connection-state=CONNECTED]").wait_for()


def test_new_steps_come_by_url_and_streamlit_sends_nothing(open_page: OpenPage, training: RunDir) -> None:
    frames, answers = list[int](), list[Response]()

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: frames.append(len(frame)))

    page = open_page("done")
    page.on("websocket", listen)
    page.goto(page.url.replace("run=done", f"run={training.path.name}"))
    page.wait_for_selector(".main-svg")
    wait_for_ticks(page, 1)
    frames.clear()
    page.on("response", lambda answer: answers.append(answer))
    wait_for_ticks(page, 2)
    assert sum(frames) < 100
    charts = [answer for answer in answers if "/figures/" in answer.url and answer.status == 200]
    assert charts
    assert max(int(answer.headers["content-length"]) for answer in charts) < BYTES_PER_CHART


def test_a_finished_page_asks_for_nothing_but_whether_there_is_news(open_page: OpenPage, runs: Path) -> None:
    if shutil.disk_usage(runs).free < LOW_DISK_BYTES:
        pytest.skip(
            "the page says how much is left of a disk that is nearly full: news whenever another program writes"
        )
    charts, wall = open_page("done"), open_page("done", "pictures", "&step=100")
    charts.locator(".darkroom-figure.js-plotly-plot").nth(1).wait_for()
    wall.locator(".cards .above").first.wait_for()
    frames, answers = list[int](), list[Response]()
    for page in (charts, wall):
        page.wait_for_load_state("networkidle")
        page.evaluate("dispatchEvent(new Event('online'))")  # which asks at once
        wait_for_answers(page, 1)
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.webSocketFrameReceived", lambda event: frames.append(len(event["response"]["payloadData"])))
        page.on("response", lambda answer: answers.append(answer))
    wait_for_answers(charts, 1)  # 15 seconds, in which the wall is drawn every third
    assert frames == []
    assert {(answer.status, answer.url.partition("?")[0].rpartition("/")[2]) for answer in answers} == {
        (304, "done.json")
    }


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
            wait_for_answers(page, 1)
            page.evaluate(COUNT_DRAWINGS)
    training, quality = page.evaluate("drawings")
    assert training >= 3
    assert quality == 0


@dataclass(frozen=True)
class FourCharts:
    """The page of a run with four charts, and what makes it grow by a step."""

    page: Page
    tick: Callable[[], None]

    def hide(self) -> int:
        """Scroll the charts out of sight; returns the last step they show."""
        self.page.set_viewport_size({"width": 1400, "height": 150})
        self.tick()
        return last_drawn_step(self.page)

    def show(self) -> None:
        """As it was before."""
        self.page.set_viewport_size(TALL)


@pytest.fixture
def four_charts(open_page: OpenPage, runs: Path) -> FourCharts:
    fake = create(runs / "four-charts", steps=3000, snapshot_steps=100)
    fake.run.train_csv.unlink(missing_ok=True)
    table = Appender(fake.run.train_csv, TRAIN_COLUMNS)
    write_rows(fake.run.train_csv, table.columns, [row_of_four_charts(fake, step) for step in range(1, 2001)])
    steps = count(2001)

    def tick() -> None:
        step = next(steps)
        table.append(row_of_four_charts(fake, step))
        expect(figures.last).to_have_attribute("aria-label", f"four-charts: training curves up to step {step}")

    page = open_page("four-charts", "", "&curves=open")
    figures = page.locator(".darkroom-figure.js-plotly-plot")
    expect(figures).to_have_count(2)
    charts = [figure.evaluate("(node) => node._fullLayout._subplots.cartesian.length") for figure in figures.all()]
    assert sum(charts) == 4
    return FourCharts(page, tick)


@pytest.mark.slow
def test_charts_out_of_sight_are_not_drawn_before_they_are_seen_again(four_charts: FourCharts) -> None:
    page = four_charts.page
    for _ in range(TICKS):
        four_charts.tick()
    assert last_drawn_step(page) > 2001
    drawn = four_charts.hide()
    for _ in range(TICKS):
        four_charts.tick()
    assert last_drawn_step(page) == drawn
    four_charts.show()
    wait_until(lambda: last_drawn_step(page) > drawn)


@pytest.mark.slow  # alone on the machine: it has a budget of time
def test_charts_cost_the_browser_little_and_nothing_while_out_of_sight(four_charts: FourCharts) -> None:
    page = four_charts.page
    page.evaluate(COUNT_LONG_TASKS)
    seen = seconds_per_tick(page, four_charts.tick)
    assert page.evaluate("window.longTasks") / 1000 / TICKS <= SECONDS_PER_TICK
    assert last_drawn_step(page) > 2001
    drawn = four_charts.hide()
    unseen = seconds_per_tick(page, four_charts.tick)
    assert last_drawn_step(page) == drawn
    assert seen - unseen <= SECONDS_PER_TICK


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
