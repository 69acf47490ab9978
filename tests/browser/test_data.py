"""The data set in a real browser: captions edited, duplicates found, a hundred tags replaced, undone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from examples.fake_run.history import write_history
from examples.fake_run.run import create
from tests.browser.conftest import OpenPage
from tests.data_run import HELD_OUT, HOSTILE, LEFT_OUT, give_data

pytestmark = pytest.mark.browser

COUNT = 103


@pytest.fixture(scope="module")
def folder(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = create(runs / "with-data", steps=100, snapshot_steps=50)
    write_history(fake)
    return give_data(fake, tmp_path_factory.mktemp("set") / "data", COUNT)


def test_captions_are_edited_duplicates_found_a_hundred_tags_replaced_and_all_undone(
    open_page: OpenPage, folder: Path
) -> None:
    before = {file.name: file.read_bytes() for file in folder.glob("*.txt")}
    page = open_page("with-data", "data")
    pairs, said = page.locator(".darkroom-dataset .pair"), page.locator(".darkroom-dataset .said")
    expect(pairs).to_have_count(48)
    expect(page.get_by_label("Caption of p001")).to_have_value(HOSTILE)

    text = page.get_by_label("Caption of p002")
    text.fill("a kimono on a stand")
    expect(said).to_contain_text("Not saved: 1")
    text.press("Control+Enter")
    expect(said).to_contain_text("Saved.")
    assert (folder / "p002.txt").read_text() == "a kimono on a stand"

    page.get_by_label("Show", exact=True).select_option("alike")
    expect(pairs).to_have_count(2)
    expect(pairs.nth(0)).to_contain_text(f"looks like {LEFT_OUT}")
    page.locator(f"[data-id={HELD_OUT}] .look").click()
    expect(page.locator("dialog.large img:visible")).to_have_count(2)
    page.keyboard.press("ArrowRight")
    expect(page.locator("dialog.large h2")).to_have_text(LEFT_OUT)
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Replace tags").click()
    page.get_by_label("Find", exact=True).fill("studio")
    page.get_by_label("Replace by").fill("outside")
    page.get_by_role("button", name="Replace in 101 captions").click()
    expect(said).to_contain_text("101 captions changed.")
    assert sum("outside" in file.read_text() for file in folder.glob("*.txt")) == 101

    said.get_by_role("button", name="Undo").click()
    expect(said).to_contain_text("Undone.")
    page.get_by_role("button", name="Changes").click()
    page.get_by_role("button", name="Undo: p002").click()
    expect(page.get_by_role("button", name="Redo")).to_have_count(2)
    assert {file.name: file.read_bytes() for file in folder.glob("*.txt")} == before
