"""A served dashboard and the system's Chromium; without Chromium these tests are skipped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from examples.fake_run import create, write_history

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_SECONDS = 60  # for a machine that is busy with something else; a quiet one needs one or two

OpenPage = Callable[..., Page]


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


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with one finished run, `done`."""
    folder = tmp_path_factory.mktemp("runs")
    write_history(create(folder / "done", steps=300, snapshot_steps=50))
    return folder


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The dashboard over `runs`; its address is `address_of(server)`."""
    with serve(runs) as process:
        yield process


@pytest.fixture
def open_page(browser: Browser, server: subprocess.Popen[bytes]) -> Iterator[OpenPage]:
    """Opens the page of a run in a fresh browser context; the test fails if the browser complained of anything."""
    complaints: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def open_(run_name: str, **context_options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **context_options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address_of(server)}/?run={run_name}")
        page.wait_for_selector(".facts")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints


@contextmanager
def serve(runs: Path, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    """A dashboard process on a free port, healthy on entry, gone on exit."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", "--server.port", str(port)]
    inherited = os.environ | {"PYTHONPATH": str(ROOT), "DARKROOM_RUNS": str(runs)} | environment
    process = subprocess.Popen(command, cwd=ROOT, env=inherited, stdin=subprocess.PIPE)
    process.port = port  # type: ignore[attr-defined]
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
