"""A served dashboard and the system's Chromium; without Chromium these tests are skipped."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, ViewportSize, expect, sync_playwright

from examples.fake_run.evaluations import publish_evaluation
from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from examples.fake_run.states import write_so_far
from examples.fake_run.verdict import rebuild_tables
from shared.launch.listener import listen
from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir, open_run

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_SECONDS = 60  # for a machine that is busy with something else; a quiet one needs one or two

OFFLINE = "net::ERR_INTERNET_DISCONNECTED"
"""Said only where a test has cut the connection."""
PROBES = re.compile(r"/\w+/_stcore/")  # Streamlit's own, when a page is opened by its address: is the app in a folder?
# Plotly's own: it finishes drawing a chart that the page has removed meanwhile (react-plotly.js issue 140, harmless)
REMOVED_WHILE_DRAWN = re.compile(r"of undefined \(reading '_(rehover|redrag|previousSelections|hoversubplot)'\)")

STATUS = "[data-testid=stApp] .darkroom-bar .status[data-tone]"
"""What the bar says of the run, once it has an answer and Streamlit is there."""

TALL: ViewportSize = {"width": 1400, "height": 1900}
"""Shows the charts too, which stand below the first screen; charts out of sight are not drawn."""

OpenPage = Callable[..., Page]
ColorScheme = Literal["light", "dark"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium of the system."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        expect.set_options(timeout=1000 * PATIENCE_SECONDS)
        yield found
        found.close()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with one finished run, `done`."""
    folder = tmp_path_factory.mktemp("runs")
    write_history(create(folder / "done", steps=300, snapshot_steps=50))
    return folder


@pytest.fixture(scope="session")
def server(runs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The dashboard over `runs`; its address is `address_of(server)`."""
    with serve(runs) as process:
        yield process


@dataclass
class Tabs:
    """Pages that one test after the other looks at.

    A fresh one costs eight seconds of a core: Chromium compiles the app anew, the server compresses it anew.
    """

    browser: Browser
    free: list[Page] = field(default_factory=list[Page])
    complaints: list[str] = field(default_factory=list[str])
    """What the browser complained of since it was last asked."""

    def take(self) -> Page:
        """One that nobody looks at."""
        return self.free.pop() if self.free else self.fresh()

    def fresh(self, **options: object) -> Page:
        """One that nobody has looked at; `options` are those of `Browser.new_context`."""
        page = self.browser.new_context(**options).new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.on("console", self._note)
        page.on("pageerror", self._note_exception)
        return page

    def give_back(self, page: Page, address: str) -> None:
        """Leave the page; nothing of it is there for the next test: no storage, cookie or place of the mouse."""
        try:
            page.mouse.move(0, 0)
            page.goto(f"{address}/_stcore/health")
            page.evaluate("localStorage.clear(); sessionStorage.clear()")
            page.context.clear_cookies()
        except Error:
            page.context.close()
        else:
            self.free.append(page)

    def _note(self, message: ConsoleMessage) -> None:
        if (
            message.type == "error"
            and OFFLINE not in message.text
            and not PROBES.search(message.location.get("url", ""))
        ):
            self.complaints.append(message.text)

    def _note_exception(self, error: Error) -> None:
        if not REMOVED_WHILE_DRAWN.search(str(error)):
            self.complaints.append(str(error))


@pytest.fixture(scope="session")
def tabs(browser: Browser) -> Tabs:
    """The pages of all tests."""
    return Tabs(browser)


@pytest.fixture
def open_page(tabs: Tabs, server: subprocess.Popen[bytes]) -> Iterator[OpenPage]:
    """Opens the page of a run; the test fails if the browser complained of anything.

    `is_fresh` asks for a page that no later test gets, because the test sets what cannot be taken back; so do options
    of `Browser.new_context`.
    """
    address, lent, owned = address_of(server), list[Page](), list[Page]()

    def open_(
        run_name: str,
        page_name: str = "",
        query: str = "",
        *,
        viewport: ViewportSize = TALL,
        color_scheme: ColorScheme = "light",
        is_fresh: bool = False,
        **context_options: object,
    ) -> Page:
        if is_fresh or context_options:
            page = tabs.fresh(viewport=viewport, **context_options)
            owned.append(page)
        else:
            page = tabs.take()
            lent.append(page)
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=color_scheme)
        page.goto(f"{address}/{page_name}?run={run_name}{query}")
        page.wait_for_selector(STATUS)
        return page

    yield open_
    for page in owned:
        page.context.close()
    complaints = list(tabs.complaints)
    for page in lent:
        tabs.give_back(page, address)
    tabs.complaints.clear()
    assert not complaints


@pytest.fixture(scope="module")
def training(runs: Path) -> Iterator[RunDir]:
    """One run that goes on while all tests of a module look."""
    with live_run(runs, "training") as run:
        yield run


@contextmanager
def live_run(runs: Path, name: str, *options: str) -> Iterator[RunDir]:
    """A fake run that trains while the test looks; its first snapshot is evaluated already."""
    if not (runs / name).exists():
        begin(create(runs / name, steps=20_000, snapshot_steps=50))
    command = [sys.executable, "-m", "examples.fake_run", str(runs / name), "--live", "--step-seconds", "0.05"]
    process = subprocess.Popen([*command, "--evaluation-seconds", "1", *options], cwd=ROOT)
    try:
        run = open_run(runs / name)
        wait_until(lambda: trains(run, process.pid))
        yield run
    finally:
        process.kill()
        process.wait()


def begin(fake: FakeRun) -> None:
    """Train up to the first snapshot and evaluate it."""
    for step in (0, *write_so_far(fake, fake.snapshot_steps)):
        publish_evaluation(fake, step)
    rebuild_tables(fake)


def trains(run: RunDir, pid: int) -> bool:
    """Whether the process trains the run by now."""
    status = read_status(run, "trainer")
    return status is not None and status.pid == pid and status.state == "training"


def last_drawn_step(page: Page, figure: int = 0) -> int:
    """The newest step that a figure shows."""
    node = page.locator(".darkroom-figure.js-plotly-plot").nth(figure)
    return node.evaluate("(node) => Math.max(...node._fullData[0].x)")


def wait_for_ticks(page: Page, count: int, figure: int = 0) -> None:
    """Until new steps have been drawn so many times; figure 1 shows them whatever part is looked at."""
    for _ in range(count):
        step = last_drawn_step(page, figure)
        wait_until(lambda step=step: last_drawn_step(page, figure) > step)


def wait_for_answers(page: Page, count: int) -> None:
    """Until the page has asked so often what is new: every other second of a run at work, else every 15 seconds."""
    for _ in range(count):
        page.wait_for_event("response", lambda response: "/screen/" in response.url)


@contextmanager
def serve(
    runs: Path,
    port: int = 0,
    trusted_hosts: tuple[str, ...] = (),
    frame_ancestors: tuple[str, ...] = (),
    base_path: str = "",
    **environment: str,
) -> Generator[subprocess.Popen[bytes]]:
    """A dashboard process, healthy on entry, gone on exit."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        listener = listen("127.0.0.1", port, trusted_hosts, base_path, frame_ancestors)
    process = listener.start({**os.environ, **environment, "PYTHONPATH": str(ROOT), "DARKROOM_RUNS": str(runs)})
    process.port = listener.port  # type: ignore[attr-defined]
    listener.close()
    try:
        wait_until(lambda: is_healthy(address_of(process)))
        yield process
    finally:
        process.kill()
        process.wait()


def address_of(process: subprocess.Popen[bytes]) -> str:
    return f"http://127.0.0.1:{process.port}"  # type: ignore[attr-defined]


def is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health") as answer:
            return answer.read() == b"ok"
    except (urllib.error.URLError, ConnectionError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
