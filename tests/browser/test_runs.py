"""All runs: found, opened, compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from examples.fake_run.history import write_history
from examples.fake_run.run import create
from tests.browser.conftest import OpenPage

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
