"""The wall of pictures in a real browser: one slider, comparisons, zoom, keys, very little traffic."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from examples.fake_run.history import write_history
from examples.fake_run.run import create
from tasks.text_to_image.metrics import descriptions
from tests.browser.conftest import OpenPage, live_run, wait_for_answers, wait_until

pytestmark = pytest.mark.browser

SELECTED = "img.over[alt^='step ']"


def heads(page: Page) -> list[str]:
    return page.locator(".wall .card").first.locator(".head").all_inner_texts()


@pytest.fixture
def wall(open_page: OpenPage) -> Page:
    page = open_page("done", "samples", "&step=100")
    page.locator(".wall .over").first.wait_for()
    return page


def test_reference_base_chosen_and_newest_stand_in_one_row(wall: Page) -> None:
    assert heads(wall) == ["reference", "base, step 0", "step 100", "newest, step 300"]
    assert wall.locator(".wall .card").count() == 16
    cell = wall.locator(".wall .cell").nth(2)
    expect(cell.locator(".seed")).to_have_text("seed 1234")
    assert cell.locator(".numbers").inner_text().count("·") == 2


def test_a_copy_shows_the_training_picture_that_it_copies(open_page: OpenPage, runs: Path) -> None:
    write_history(create(runs / "copying", steps=40, snapshot_steps=20, descriptions=descriptions()))
    page = open_page("copying", "samples", "&step=40")
    alike = page.locator(".wall .lookalike")
    expect(alike.first).to_have_text("copy of: kimono/copied-7")
    assert alike.count() == 2
    wait_until(lambda: alike.first.locator("img").evaluate("(image) => image.naturalWidth") > 0)
    page.locator(".slider").press("Home")
    expect(alike.first).to_be_visible()  # the newest keeps it, the base model has none
    expect(page.locator(".wall .cell").nth(1).locator(".lookalike")).to_have_count(0)


def test_the_slider_walks_all_evaluated_steps_and_tells_the_address(wall: Page) -> None:
    slider = wall.locator(".slider")
    slider.focus()
    wall.keyboard.press("ArrowRight")
    wait_until(lambda: heads(wall)[2].startswith("step 150"))
    wall.wait_for_url("**step=150**")
    wall.keyboard.press("Home")
    wait_until(lambda: heads(wall)[2].startswith("step 0"))
    wall.keyboard.press("End")
    wait_until(lambda: len(heads(wall)) == 3)  # the newest is the chosen one


def test_a_choice_stays_while_snapshots_arrive(open_page: OpenPage, runs: Path) -> None:
    with live_run(runs, "growing") as run:
        page = open_page("growing", "samples", "&step=0")
        wait_until(lambda: len(heads(page)) == 4)
        newest = heads(page)[3]
        wait_until(lambda: heads(page)[3] != newest)
        assert heads(page)[2].startswith("step 0")
        assert run.path.name in page.url


def test_an_idle_page_fetches_no_picture_twice_and_shows_the_very_bytes(wall: Page, runs: Path) -> None:
    picture = wall.locator("img.over[alt^='base, step 0']").first
    wait_until(lambda: picture.evaluate("(image) => image.complete && image.naturalWidth") == 64)
    assert picture.evaluate("(image) => getComputedStyle(image).imageRendering") == "pixelated"
    shown = wall.request.get(picture.evaluate("(image) => image.src"))
    assert shown.body() == (runs / "done" / "evaluations" / "step-00000000" / "images" / "00-1234.png").read_bytes()
    wall.wait_for_load_state("networkidle")
    asked: list[str] = []
    wall.on("request", lambda request: asked.append(request.url))
    wait_for_answers(wall, 1)  # 15 seconds, in which the wall is drawn every third
    assert [url for url in asked if "/pictures/" in url or "/results/" in url] == []


def test_two_pictures_are_wiped_blinked_and_subtracted(wall: Page) -> None:
    frame = wall.locator(".wall .compared").first
    under, over = frame.locator(".under"), frame.locator(".over")
    wall.get_by_role("radio", name="wipe").click()
    box = frame.bounding_box()
    assert box
    wall.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    wait_until(lambda: over.evaluate("(image) => getComputedStyle(image).clipPath").startswith("inset(0px 0px 0px 2"))
    assert "base" in (under.get_attribute("alt") or "")
    wall.get_by_role("radio", name="reference").click()
    wait_until(lambda: "reference" in (under.get_attribute("alt") or ""))
    wall.get_by_role("radio", name="difference").click()
    wait_until(lambda: over.evaluate("(image) => getComputedStyle(image).mixBlendMode") == "difference")
    wall.get_by_role("radio", name="blink").click()
    wait_until(lambda: over.evaluate("(image) => getComputedStyle(image).animationName") == "blink")
    wall.get_by_role("radio", name="side by side").click()
    frame.focus()
    wall.keyboard.down(" ")
    wait_until(lambda: over.evaluate("(image) => getComputedStyle(image).visibility") == "hidden")
    wall.keyboard.up(" ")
    wait_until(lambda: over.evaluate("(image) => getComputedStyle(image).visibility") == "visible")


def test_zoom_and_pan_move_all_pictures_together(wall: Page) -> None:
    frame = wall.locator(".wall .frame").first
    box = frame.bounding_box()
    assert box
    for _ in range(3):
        wall.locator("[data-zoom=in]").click()
    wall.mouse.move(box["x"] + 60, box["y"] + 60)
    wall.mouse.down()
    wall.mouse.move(box["x"] + 100, box["y"] + 90, steps=4)
    wall.mouse.up()
    transforms = "(images) => [...new Set(images.map((image) => getComputedStyle(image).transform))]"
    (matrix,) = wall.locator(".wall img.over").evaluate_all(transforms)
    scale, *_, x, y = [float(part) for part in matrix[7:-1].split(",")]
    assert scale == pytest.approx(1.5**3)
    assert (x, y) == (pytest.approx(40, abs=1), pytest.approx(30, abs=1))
    expect(wall.locator("dialog")).to_be_hidden()  # a drag is no click


def test_the_lens_is_walked_with_the_keyboard(wall: Page) -> None:
    wall.locator(".wall .frame").nth(2).click()
    lens = wall.locator("dialog")
    expect(lens).to_be_visible()
    prompt = lens.locator(".prompt")
    first = prompt.inner_text()
    wall.keyboard.press("ArrowRight")
    wall.keyboard.press("ArrowRight")
    expect(prompt).not_to_have_text(first)
    wall.keyboard.press("ArrowUp")
    wait_until(lambda: lens.locator(".head").nth(2).inner_text().startswith("step 150"))
    wall.keyboard.press("*")
    wait_until(lambda: lens.locator(".head").nth(2).inner_text().endswith("★"))
    expect(lens.locator(".numbers").nth(2)).to_contain_text("visual loss")
    wall.keyboard.press("Escape")
    expect(lens).to_be_hidden()


def test_a_step_that_could_not_be_evaluated_says_why(open_page: OpenPage) -> None:
    page = open_page("done", "samples", "&step=250")
    expect(page.locator(".wall .why").nth(2)).to_contain_text("not finite")
    assert page.locator(SELECTED).count() == 0 or not page.locator(SELECTED).first.get_attribute("src")
