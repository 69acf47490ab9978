"""The table of snapshots: sorted by numbers, opened with the keyboard, and steady while it is drawn."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser


def test_snapshots_are_sorted_by_numbers_and_opened_with_the_keyboard(open_page: OpenPage) -> None:
    page = open_page("done", "snapshots")
    table = page.locator(".darkroom-snapshots")
    openers = table.locator("tbody .opener")
    expect(openers).to_have_count(6)
    values = table.locator("tbody tr > :nth-child(4) .value")
    for way in ("ascending", "descending"):  # of a composite the lowest is the best, and comes first
        table.get_by_role("button", name="Composite").click()
        expect(table.locator(f"[aria-sort={way}]")).to_have_text("Composite")
        shown = [text for text in values.all_inner_texts() if text]
        assert shown == sorted(shown, key=lambda text: float(text.replace("−", "-")), reverse=way == "descending")
        assert openers.last.inner_text() == "250", "it could not be evaluated, so it has no number"
    page.wait_for_url("**order=-composite*")
    table.get_by_role("button", name="Open step 100").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".snapshot-head h2")).to_have_text("Step 100")
    page.wait_for_url("**step=100*")


def test_arrows_go_on_from_the_row_that_was_clicked(open_page: OpenPage) -> None:
    page = open_page("done", "snapshots", "&order=step")
    table = page.locator(".darkroom-snapshots")
    table.locator("tbody tr", has=page.get_by_role("button", name="Open step 150")).locator(".won").click()
    expect(page.locator(".snapshot-head h2")).to_have_text("Step 150")
    page.keyboard.press("ArrowDown")
    expect(table.get_by_role("button", name="Open step 200")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".snapshot-head h2")).to_have_text("Step 200")
    expect(table.get_by_role("button", name="Open step 200")).to_be_focused()
    assert page.locator("[data-testid=stMain]").evaluate("(main) => main.scrollTop") == 0


def test_what_is_known_of_a_snapshot_scrolls_inside_its_border(open_page: OpenPage) -> None:
    page = open_page("done", "snapshots", viewport={"width": 1440, "height": 900})
    page.locator(".snapshot-head h2").wait_for()
    page.get_by_role("button", name="Save note").focus()
    box, end = page.locator(".st-key-snapshot"), page.locator(".st-key-snapshot > :last-child")
    end.scroll_into_view_if_needed()
    border, last = box.bounding_box(), end.bounding_box()
    assert border
    assert last
    assert last["y"] + last["height"] <= border["y"] + border["height"] <= 900
