"""All runs: found, opened, compared."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import expect

from examples.fake_run.history import write_history
from examples.fake_run.run import create
from shared.job_queue.attempt import Attempt
from shared.job_queue.job import Job
from shared.job_queue.job_queue import NAME, JobQueue
from tests.browser.conftest import OpenPage, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", autouse=True)
def _second(runs: Path) -> None:
    """Another run beside the finished run `done`."""
    write_history(create(runs / "second", steps=200, snapshot_steps=100))


def test_runs_are_found_opened_and_compared(open_page: OpenPage) -> None:
    page = open_page("done", "runs")
    cards = page.locator(".darkroom-runs .card")
    expect(page.get_by_label("Choose done to compare")).to_be_visible()
    page.get_by_label("Filter by name").fill("second")
    expect(cards).to_have_count(1)
    cards.first.locator(".open").click()
    page.wait_for_url("**/?*run=second*")
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_label("Filter by name")).to_have_value("second")
    page.get_by_label("Filter by name").fill("")
    compare = page.locator(".darkroom-runs .compare")
    expect(compare).to_be_disabled()
    for name in ("done", "second"):
        page.get_by_label(f"Choose {name} to compare").check()
    compare.click()
    page.wait_for_url("**/compare?*run=done*")
    expect(page.locator(".contest h2")).to_be_visible()
    assert "ticked" not in page.url  # only the page of runs has it
    page.go_back()
    expect(page.get_by_label("Choose second to compare")).to_be_checked()


def job(run: Path, job_id: str, place: float) -> Job:
    return Job(id=job_id, place=place, config=run.with_suffix(".toml"), folder=run.parent, run=run)


def test_the_order_of_the_queue_is_changed_on_the_page(open_page: OpenPage, runs: Path) -> None:
    queue = JobQueue(runs / NAME)
    names = ("dress", "coat", "shoes")
    queue.add([partial(job, runs / name) for name in names], names)
    queue.write_attempt(Attempt(job_id="002-coat", number=3, outcome="failed", reason="no <b>finite</b> gradients"))

    def order() -> list[str]:
        return [entry.job.id for entry in queue.entries() if entry.state == "waiting"]

    page = open_page("done", "runs")
    page.get_by_role("button", name="Up").click()
    wait_until(lambda: order() == ["003-shoes", "001-dress"])
    page.get_by_text("1 ended").click()
    expect(page.get_by_text("failed: no <b>finite</b> gradients")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    wait_until(lambda: order() == ["003-shoes", "001-dress", "002-coat"])
    with queue.hold("003-shoes"):
        expect(page.get_by_text("003-shoes running")).to_be_visible()
        expect(page.get_by_role("button", name="Take out")).to_have_count(2)
    for count in (3, 2, 1):
        expect(page.get_by_role("button", name="Take out")).to_have_count(count)
        page.get_by_role("button", name="Take out").first.click()
    expect(page.get_by_role("heading", name="Queue")).to_have_count(0)
