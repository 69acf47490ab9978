"""Does a page that is left open for long grow, in the server or in the browser?

    python benchmarks/soak.py --minutes 10

A fake run trains, the dashboard serves it, Chromium looks at its overview. Prints a table: one line for every tenth of
the time. Garbage is collected before the browser is measured, so that what is left is held by something.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from playwright.sync_api import CDPSession, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.launch.listener import listen
from shared.launch.supervisor import ROOT, child_environment, wait_until_healthy
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows

HOST = "127.0.0.1"
TITLES = (
    "| minutes | steps | server MiB | server CPU, s | page CPU, s | heap MiB | DOM nodes | listeners | charts | MB |"
)
LINES = 10
STEP_SECONDS, SNAPSHOT_STEPS, EVALUATION_SECONDS = 0.2, 100, 10


@dataclass(frozen=True)
class Sample:
    """What is held at one moment."""

    minutes: float
    steps: int
    server_mib: float
    server_cpu_seconds: float
    page_cpu_seconds: float
    heap_mib: float
    nodes: int
    listeners: int
    charts: int
    megabytes_received: float


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Generator[subprocess.Popen[bytes]]:
    """A program for as long as the block lasts."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def measure(page: Page, session: CDPSession, server: psutil.Process, run: RunDir, received: list[int]) -> Sample:
    """Server and browser now; `received` are the sizes of all frames so far."""
    session.send("HeapProfiler.collectGarbage")
    counted, heap = session.send("Memory.getDOMCounters"), session.send("Runtime.getHeapUsage")
    metrics, cpu = session.send("Performance.getMetrics")["metrics"], server.cpu_times()
    return Sample(
        minutes=0.0,
        steps=len(read_rows(run.train_csv)),
        server_mib=server.memory_info().rss / 2**20,
        server_cpu_seconds=cpu.user + cpu.system,
        page_cpu_seconds=next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"),
        heap_mib=heap["usedSize"] / 2**20,
        nodes=counted["nodes"],
        listeners=counted["jsEventListeners"],
        charts=page.locator(".darkroom-figure.js-plotly-plot").count(),
        megabytes_received=sum(received) / 1e6,
    )


def watch(address: str, server: psutil.Process, run: RunDir, minutes: float) -> tuple[list[Sample], list[str]]:
    """Look at the page for so long; what was measured, and what the browser complained of."""
    complaints: list[str] = []
    received: list[int] = []
    samples: list[Sample] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))) and None
        )
        page.goto(address)
        page.locator(".darkroom-figure.js-plotly-plot").nth(1).wait_for(timeout=120_000)
        session, start = page.context.new_cdp_session(page), time.monotonic()
        session.send("Performance.enable", {"timeDomain": "threadTicks"})  # work, not waiting for a processor
        for line in range(LINES + 1):
            page.wait_for_timeout(1000 * max(0.0, start + 60 * minutes * line / LINES - time.monotonic()))
            sample = measure(page, session, server, run, received)
            samples.append(Sample(**{**vars(sample), "minutes": (time.monotonic() - start) / 60}))
            print(row(samples[-1]), flush=True)
        browser.close()
    return samples, complaints


def row(sample: Sample) -> str:
    """A line of the table."""
    return (
        f"| {sample.minutes:.1f} | {sample.steps} | {sample.server_mib:.0f} | {sample.server_cpu_seconds:.1f} "
        f"| {sample.page_cpu_seconds:.1f} "
        f"| {sample.heap_mib:.1f} | {sample.nodes} | {sample.listeners} | {sample.charts} "
        f"| {sample.megabytes_received:.1f} |"
    )


def main() -> None:
    """Start everything, watch, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to look")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        run, listener = RunDir(Path(folder) / "soak"), listen(HOST, 8700)
        environment = child_environment(run)
        paced = ("--step-seconds", STEP_SECONDS, "--evaluation-seconds", EVALUATION_SECONDS, "--steps", 100_000)
        fake = [
            sys.executable,
            "-m",
            "examples.fake_run",
            run.path,
            "--live",
            *paced,
            "--snapshot-steps",
            SNAPSHOT_STEPS,
        ]
        training = subprocess.Popen([*map(str, fake)], cwd=ROOT, env=environment, stdin=subprocess.PIPE)
        with running(training), running(listener.start(environment)) as server:
            while not run.best.exists():
                time.sleep(0.2)
            assert wait_until_healthy(listener.local_url, seconds=60)
            print(TITLES)
            print("| --- " * TITLES.count("| ") + "|")
            _, complaints = watch(f"{listener.local_url}/?run=soak", psutil.Process(server.pid), run, minutes)
            print(f"\nconsole errors: {complaints or 'none'}")


if __name__ == "__main__":
    main()
