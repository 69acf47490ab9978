"""What a page of the dashboard costs who looks at it: time, bytes, work of the browser, shifts; and whether it grows.

    python benchmarks/page.py                                             every page, live and finished
    python benchmarks/page.py --minutes 10                                one live page for so long: does it grow?
    python benchmarks/page.py --tensorboard PYTHON                        TensorBoard too; PYTHON can import it
    python benchmarks/page.py --output benchmarks/reports/page_2-core-cpu_202611.md    writes its tables there

A fake run trains, two have finished, the dashboard serves all, Chromium looks; on Compare the finished ones stand
beside one another. Every time is the median of `--repeats`, each in a fresh browser without a cache. The load of the
machine stands beside each line: above one process for each core, times mean little.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from playwright.sync_api import Browser, CDPSession, Error, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.launch.listener import listen
from shared.launch.supervisor import ROOT, child_environment, wait_until_healthy
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows

CONTENT = {
    "runs": ".darkroom-runs .card",
    "": ".darkroom-screen.drawn .answer h1",
    "pictures": ".darkroom-frame img.above",
    "snapshots": ".darkroom-snapshots tbody tr",
    "compare": ".contest h2",
    "logs": ".darkroom-log pre, [data-testid=stAlert]",
    "config": ".settings tbody tr",
    "system": ".darkroom-machine tbody tr",
}
"""What a person came for, by the page's path."""
NAMES = {"": "overview"}
RUNS = {"live": "run=live", "finished": "run=finished&compare=second"}
"""As the address names them."""
AIMS = "first content < 1.5 s, switch < 0.7 s, shift < 0.1, main thread < 10 %, in < 1 kB/s finished and < 15 kB/s live"
TITLES = ("page", "run", "first content, s", "switch, s", "in, kB/s", "out, kB/s", "main thread, %", "shift")
FURTHER = ("long tasks at load, ms", "long tasks a minute", "load at it, MB", "machine's load")
GROWTH = (
    "minutes",
    "steps",
    "server MiB",
    "server CPU, s",
    "page CPU, s",
    "heap MiB",
    "DOM nodes",
    "listeners",
    "MB in",
)
LINES = 10
SETTLE_SECONDS = 12
VIEW = {"width": 1440, "height": 900}
WATCH = """(() => {
  window.shift = 0
  window.longTasks = []
  const on = (type, take) => {
    const observer = new PerformanceObserver((list) => list.getEntries().forEach(take))
    observer.observe({ type, buffered: true })
  }
  on("layout-shift", (entry) => { if (!entry.hadRecentInput) window.shift += entry.value })
  on("longtask", (entry) => window.longTasks.push(entry.duration))
  const isSeen = (node) => {
    const box = node.getBoundingClientRect()
    return box.width > 0 && box.height > 0 && box.top < innerHeight
  }
  const inShadows = (selector) =>
    [...document.querySelectorAll("*")].flatMap(({ shadowRoot }) => [...(shadowRoot?.querySelectorAll(selector) ?? [])])
  window.found = (selector) => {
    const nodes = [...document.querySelectorAll(selector)]
    return (nodes.length ? nodes : inShadows(selector)).filter(isSeen)
  }
  window.when = (selector) => new Promise((resolve, reject) => {
    const start = performance.now()
    const look = () => {
      if (found(selector).length) return resolve(performance.now())
      if (performance.now() - start > 60000) return reject(new Error(`nothing like ${selector} was seen`))
      requestAnimationFrame(look)
    }
    look()
  })
})()"""
SWITCH = """async ([name, wanted]) => {
  const start = performance.now()
  const before = found(wanted)
  document.querySelector(`.st-key-page_${name} a`).click()
  while (before.some((node) => node.isConnected) && performance.now() - start < 60000) {
    await new Promise(requestAnimationFrame)
  }
  return (await when(wanted)) - start
}"""


@dataclass
class Wire:
    """Bytes of everything a page has received and sent since `clear`."""

    received: float = 0.0
    sent: float = 0.0

    def clear(self) -> None:
        """Count from zero."""
        self.received = self.sent = 0.0

    def listen(self, session: CDPSession) -> None:
        """Frames as they are, answers with their headers as they came, requests with theirs."""
        session.send("Network.enable")
        session.on("Network.webSocketFrameReceived", lambda event: self._take(received=size_of_frame(event)))
        session.on("Network.webSocketFrameSent", lambda event: self._take(sent=size_of_frame(event)))
        session.on("Network.dataReceived", lambda event: self._take(received=event["encodedDataLength"]))
        session.on("Network.responseReceivedExtraInfo", lambda event: self._take(received=size_of_headers(event)))
        session.on("Network.requestWillBeSentExtraInfo", lambda event: self._take(sent=size_of_headers(event)))

    def _take(self, received: float = 0.0, sent: float = 0.0) -> None:
        self.received += received
        self.sent += sent


def size_of_frame(event: dict[str, Any]) -> float:
    """Binary frames arrive as base64."""
    frame = event["response"]
    return len(frame["payloadData"]) * (0.75 if frame["opcode"] == 2 else 1)


def size_of_headers(event: dict[str, Any]) -> float:
    """As they stood on the wire, or what they would take there."""
    return len(event.get("headersText", "")) or sum(
        len(name) + len(value) + 4 for name, value in event["headers"].items()
    )


@dataclass
class Cost:
    """Of one page; times in seconds, each in every repeat."""

    first: list[float] = field(default_factory=list)
    switch: list[float] = field(default_factory=list)
    received: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    shift: list[float] = field(default_factory=list)
    long_at_load: list[float] = field(default_factory=list)
    long_later: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)

    def row(self, page: str, run: str) -> str:
        """A line of the table."""
        cells = (
            middle(self.first, ".2f"),
            middle(self.switch, ".2f"),
            middle(self.received, ".2f"),
            middle(self.sent, ".2f"),
            middle(self.busy, ".1f"),
            middle(self.shift, ".3f"),
            middle(self.long_at_load, ".0f"),
            middle(self.long_later, ".1f"),
            middle(self.megabytes, ".2f"),
            middle(self.load, ".1f"),
        )
        return f"| {' | '.join((page, run, *cells))} |"


def middle(values: list[float], form: str) -> str:
    """The median; a dash where nothing was measured."""
    return format(median(values), form) if values else "–"


def header(titles: Iterable[str]) -> str:
    """The first two lines of a table."""
    titles = [*titles]
    return f"| {' | '.join(titles)} |\n{'| --- ' * len(titles)}|"


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Generator[subprocess.Popen[bytes]]:
    """A program for as long as the block lasts."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def busy_seconds(session: CDPSession) -> float:
    """Processor time of the page's main thread."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def look(browser: Browser, url: str, content: str, cost: Cost, seconds: float) -> None:
    """One visit: how long until there is content, then what it costs to stay."""
    context = browser.new_context(viewport=VIEW)
    page = context.new_page()
    page.add_init_script(WATCH)
    session, wire = context.new_cdp_session(page), Wire()
    wire.listen(session)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # work, not waiting for a processor
    page.goto(url, wait_until="commit", timeout=120_000)
    with suppress(Error):  # nothing was seen within a minute: no value
        cost.first.append(page.evaluate("(selector) => when(selector)", content) / 1000)
    page.wait_for_timeout(1000 * SETTLE_SECONDS)
    cost.shift.append(page.evaluate("window.shift"))
    cost.long_at_load.append(page.evaluate("window.longTasks.reduce((sum, one) => sum + one, 0)"))
    cost.megabytes.append(wire.received / 1e6)
    wire.clear()
    busy, began = busy_seconds(session), time.monotonic()
    page.evaluate("() => { window.longTasks = [] }")
    page.wait_for_timeout(1000 * seconds)
    took = time.monotonic() - began
    cost.received.append(wire.received / took / 1000)
    cost.sent.append(wire.sent / took / 1000)
    cost.busy.append(100 * (busy_seconds(session) - busy) / took)
    cost.long_later.append(60 * page.evaluate("window.longTasks.length") / took)
    cost.load.append(os.getloadavg()[0])
    context.close()


def switch(browser: Browser, address: str, query: str, costs: dict[str, Cost]) -> None:
    """To every page from the one before, as a person clicks through them, twice."""
    context = browser.new_context(viewport=VIEW)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(f"{address}/?{query}", timeout=120_000)
    page.evaluate("(selector) => when(selector)", CONTENT[""])
    page.wait_for_timeout(3000)
    for _ in range(2):
        for path in [*list(CONTENT)[2:], "runs", ""]:
            names = {"": "overview", "pictures": "samples", "config": "settings"}
            given = [names.get(path, path), CONTENT[path]]
            with suppress(Error):  # nothing was seen within a minute: no value
                costs[path].switch.append(page.evaluate(SWITCH, given) / 1000)
            page.wait_for_timeout(1500)
    context.close()


def measure_pages(browser: Browser, address: str, repeats: int, seconds: float, tell: Callable[[str], None]) -> None:
    """Every page of a live and of a finished run."""
    tell(f"Aims: {AIMS}.\n")
    tell(header((*TITLES, *FURTHER)))
    for run, query in RUNS.items():
        costs = {path: Cost() for path in CONTENT}
        for _ in range(repeats):
            switch(browser, address, query, costs)
        for path, cost in costs.items():
            for _ in range(repeats):
                look(browser, f"{address}/{path}?{query}", CONTENT[path], cost, seconds)
            tell(cost.row(NAMES.get(path, path), run))


def measure_tensorboard(
    browser: Browser, python: str, run: RunDir, repeats: int, seconds: float, tell: Callable[[str], None]
) -> None:
    """The same curves in TensorBoard's time series, with its own settings: it asks again every 30 seconds."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-c", WRITE_EVENTS, str(run.train_csv), folder], check=True)
        port = free_port()
        command = [python, "-m", "tensorboard.main", "--logdir", folder, "--port", str(port), "--reload_interval", "5"]
        url = f"http://127.0.0.1:{port}"
        with running(subprocess.Popen([*command, "--load_fast=false"], stderr=subprocess.DEVNULL)):
            wait_for(url)
            cost = Cost()
            for _ in range(repeats):
                look(
                    browser,
                    f"{url}/#timeseries",
                    "card-view scalar-card-component svg, scalar-card svg, line-chart",
                    cost,
                    seconds,
                )
        tell(cost.row("TensorBoard, time series", "finished"))


WRITE_EVENTS = """
import csv, sys
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
writer = EventFileWriter(sys.argv[2])
for row in csv.DictReader(open(sys.argv[1])):
    values = []
    for name in ("loss", "learning_rate", "grad_norm", "samples_per_second"):
        if row.get(name):
            values.append(Summary.Value(tag=name, simple_value=float(row[name])))
    writer.add_event(Event(step=int(row["step"]), wall_time=0, summary=Summary(value=values)))
writer.close()
"""


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str) -> None:
    """Until somebody answers there."""
    for _ in range(600):
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise TimeoutError(url)


def measure_growth(
    browser: Browser, address: str, server: psutil.Process, run: RunDir, minutes: float, tell: Callable[[str], None]
) -> None:
    """One live overview with all its curves, for so long; garbage is collected before each line."""
    context = browser.new_context(viewport={"width": 1440, "height": 1900})
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    session, wire = context.new_cdp_session(page), Wire()
    wire.listen(session)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(f"{address}/?run={run.path.name}&curves=open", timeout=120_000)
    page.locator(".darkroom-figure.js-plotly-plot").nth(3).wait_for(timeout=120_000)
    page.wait_for_timeout(1000 * SETTLE_SECONDS)
    tell(header((*GROWTH, "machine's load")))
    begun = time.monotonic()
    for line in range(LINES + 1):
        page.wait_for_timeout(1000 * max(0.0, begun + 60 * minutes * line / LINES - time.monotonic()))
        tell(growth_row(page, session, server, run, wire, (time.monotonic() - begun) / 60))
    tell(f"\nErrors in the console: {complaints or 'none'}.")
    context.close()


def growth_row(page: Page, session: CDPSession, server: psutil.Process, run: RunDir, wire: Wire, minutes: float) -> str:
    """A line of the table."""
    page.evaluate("0")
    session.send("HeapProfiler.collectGarbage")
    counted, heap = session.send("Memory.getDOMCounters"), session.send("Runtime.getHeapUsage")
    cpu = server.cpu_times()
    return (
        f"| {minutes:.1f} | {len(read_rows(run.train_csv))} | {server.memory_info().rss / 2**20:.0f} "
        f"| {cpu.user + cpu.system:.1f} | {busy_seconds(session):.1f} | {heap['usedSize'] / 2**20:.1f} "
        f"| {counted['nodes']} | {counted['jsEventListeners']} | {wire.received / 1e6:.2f} | {os.getloadavg()[0]:.1f} |"
    )


def fake(run: Path, *options: str) -> list[str]:
    """The command that invents a run."""
    return [sys.executable, "-m", "examples.fake_run", str(run), *options]


def title() -> str:
    """What was measured, when, with what."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("streamlit", "plotly", "playwright"))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return f"{datetime.now(UTC):%d %B %Y}, commit {commit}; {os.cpu_count()} cores, {versions}.\n"


def main() -> None:
    """Start everything, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="visits of each page")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to stay on each, after it has settled")
    parser.add_argument("--minutes", type=float, default=0.0, help="only whether a live page grows, for so long")
    parser.add_argument("--tensorboard", default="", help="a Python that can import tensorboard, to compare with")
    parser.add_argument("--output", type=Path, help="append what is printed to this file")
    options = parser.parse_args()

    def tell(text: str) -> None:
        print(text, flush=True)
        if options.output:
            with options.output.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        runs, environment = Path(folder), child_environment(RunDir(Path(folder) / "live"))
        for name in ("finished", "second"):
            subprocess.run(fake(runs / name, "--steps", "1000", "--snapshot-steps", "50"), cwd=ROOT, check=True)
        live = fake(
            runs / "live", "--live", "--steps", "100000", "--snapshot-steps", "100", "--evaluation-seconds", "10"
        )
        stack.enter_context(running(subprocess.Popen(live, cwd=ROOT, env=environment, stdin=subprocess.PIPE)))
        listener = listen("127.0.0.1", 0)
        server = stack.enter_context(running(listener.start(environment)))
        while not RunDir(runs / "live").best.exists():
            time.sleep(0.2)
        assert wait_until_healthy(listener.local_url, seconds=60)
        playwright = stack.enter_context(sync_playwright())
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tell(title())
        if options.minutes:
            process = psutil.Process(server.pid)
            measure_growth(browser, listener.local_url, process, RunDir(runs / "live"), options.minutes, tell)
            return
        measure_pages(browser, listener.local_url, options.repeats, options.seconds, tell)
        if options.tensorboard:
            finished = RunDir(runs / "finished")
            measure_tensorboard(browser, options.tensorboard, finished, options.repeats, options.seconds, tell)


if __name__ == "__main__":
    main()
