"""The wall of pictures in a real browser: A and B, the order, one prompt over all steps, the lens, little traffic."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from examples.fake_run.history import write_history
from examples.fake_run.run import create
from tasks.text_to_image.metrics import descriptions
from tests.browser.conftest import OpenPage, live_run, wait_until
from tests.edited_run import give_sources

pytestmark = pytest.mark.browser

GAINS = "(nodes) => nodes.map((node) => (node.dataset.mark === 'worse' ? -1 : 1) * node.innerText.match(/[\\d.]+/)[0])"


def heads(page: Page) -> list[str]:
    return page.locator(".cards .card").first.locator(".head").all_inner_texts()


def focused(page: Page) -> Locator:
    return page.locator(":focus")


@pytest.fixture
def wall(open_page: OpenPage) -> Page:
    page = open_page("done", "pictures", "&step=100")
    page.locator(".cards .above").first.wait_for()
    return page


def test_reference_a_and_b_stand_in_one_row_above_numbers_with_names(wall: Page) -> None:
    assert heads(wall) == ["reference", "A · base", "B · step 100"]
    assert wall.locator(".cards .card").count() == 16
    expect(wall.locator(".note")).to_contain_text("cannot be compared as a whole")  # one of the three is missing
    numbers = wall.locator(".cards .card").first.locator(".darkroom-cell").nth(2).locator(".number")
    assert [text.split()[0] for text in numbers.all_inner_texts()] == ["look", "garment", "colour"]
    expect(numbers.first).to_have_attribute("data-mark", "better")
    expect(wall.locator(".card").first.locator(".foot")).to_contain_text("seed 1234")
    box = wall.locator(".bar").bounding_box()
    wall.locator(".card").last.scroll_into_view_if_needed()
    stuck = wall.locator(".bar").bounding_box()
    assert box
    assert stuck
    assert 48 <= stuck["y"] <= box["y"], "it stays in sight"


def test_a_copy_shows_the_training_picture_that_it_copies(open_page: OpenPage, runs: Path) -> None:
    write_history(create(runs / "copying", steps=40, snapshot_steps=20, descriptions=descriptions()))
    page = open_page("copying", "pictures", "&step=40")
    alike = page.locator(".cards .lookalike")
    expect(alike.first).to_have_text("copy of: kimono/copied-7")
    wait_until(lambda: alike.first.locator("img").evaluate("(image) => image.naturalWidth") > 0)


def test_what_a_picture_is_made_from_stands_before_its_reference(open_page: OpenPage, runs: Path) -> None:
    edited = create(runs / "edited", steps=40, snapshot_steps=20, descriptions=descriptions())
    write_history(edited)
    give_sources(edited.run)
    page = open_page("edited", "pictures", "&step=40")
    page.locator(".cards .above").first.wait_for()
    assert heads(page) == ["source", "reference", "A · base", "B · step 40"]
    first = page.locator(".cards .card").first.locator("img.above").first
    wait_until(lambda: first.evaluate("(image) => image.naturalWidth") > 0)
    assert ".source-1.png" in (first.get_attribute("src") or "")


def test_a_and_b_are_picked_exchanged_and_stand_in_the_address(wall: Page) -> None:
    left, right = wall.locator(".side.a select"), wall.locator(".side.b select")
    assert [text for text in right.locator("option").all_inner_texts() if "best" in text] == ["200 · best"]
    left.select_option("50")
    wait_until(lambda: heads(wall)[1:] == ["A · step 50", "B · step 100"])
    wall.locator(".side.b .later").click()
    wait_until(lambda: heads(wall)[2] == "B · step 150")
    wall.wait_for_url("**step=150*left=50*")
    wall.locator(".swap").click()
    wait_until(lambda: heads(wall)[1:] == ["A · step 150", "B · step 50"])
    wall.locator(".cards .enlarge").first.focus()
    wall.keyboard.press("ArrowUp")
    wait_until(lambda: heads(wall)[2] == "B · step 100")
    wall.keyboard.press("Shift+ArrowDown")
    wait_until(lambda: heads(wall)[1] == "A · step 100")
    expect(wall.locator(".note")).to_have_text("A and B are the same snapshot.")
    right.select_option("250")
    expect(wall.locator(".cards .missing").nth(2)).to_contain_text("not finite")


def test_prompts_are_sorted_by_what_b_gains_over_a(wall: Page) -> None:
    wall.locator(".side.a select").select_option("200")
    wall.locator(".side.b select").select_option("150")
    sort, gains = wall.locator(".sort select"), wall.locator(".title .number")
    expect(wall.locator(".note")).to_contain_text("step 150 against step 200: better on")
    sort.select_option("worst")
    wait_until(lambda: gains.evaluate_all(GAINS) == sorted(gains.evaluate_all(GAINS)))
    wall.wait_for_url("**rows=worst*")
    sort.select_option("improved")
    wait_until(lambda: gains.evaluate_all(GAINS) == sorted(gains.evaluate_all(GAINS), reverse=True))
    sort.select_option("lost")
    wait_until(lambda: max(gains.evaluate_all(GAINS)) < 0)
    assert 0 < wall.locator(".card").count() < 16


def test_one_prompt_is_shown_at_every_step_and_put_away_again(wall: Page) -> None:
    opener = wall.locator(".opener").nth(2)
    opener.focus()
    wall.keyboard.press("Enter")
    steps = wall.locator(".card.open .step")
    expect(steps).to_have_count(7)
    expect(steps.nth(5)).to_contain_text("not finite")
    wall.wait_for_url("**prompt=*")
    wall.locator(".card.open .step[tabindex='0']").focus()
    wall.keyboard.press("End")
    wall.keyboard.press("Enter")
    expect(wall.locator(".card.open .head").nth(2)).to_have_text("B · step 300")
    wall.keyboard.press("Home")
    wall.keyboard.press("ArrowRight")
    wall.keyboard.press("Shift+Enter")
    expect(wall.locator(".card.open .head").nth(1)).to_have_text("A · step 50")
    wall.reload()
    expect(wall.locator(".card.open")).to_be_in_viewport()
    wall.locator(".card.open .step").last.focus()
    wall.keyboard.press("Escape")
    expect(wall.locator(".card.open")).to_have_count(0)
    expect(focused(wall)).to_have_text("All steps")


def test_a_choice_stays_while_snapshots_arrive(open_page: OpenPage, runs: Path) -> None:
    with live_run(runs, "growing") as run:
        page = open_page("growing", "pictures", "&step=0")
        options = page.locator(".side.b option")
        wait_until(lambda: options.count() > 0)
        count = options.count()
        wait_until(lambda: options.count() > count)
        assert heads(page)[2] == "B · base"
        assert run.path.name in page.url


def test_the_very_bytes_are_shown(wall: Page, runs: Path) -> None:
    picture = wall.locator("img.above[alt^='A · base']").first
    wait_until(lambda: picture.evaluate("(image) => image.complete && image.naturalWidth") == 64)
    assert picture.evaluate("(image) => getComputedStyle(image).imageRendering") == "pixelated"
    shown = wall.request.get(picture.evaluate("(image) => image.src"))
    assert shown.body() == (runs / "done" / "evaluations" / "step-00000000" / "images" / "00-1234.png").read_bytes()


def test_two_pictures_are_wiped_blinked_subtracted_and_enlarged_together(wall: Page) -> None:
    frame = wall.locator(".cards .comparable").first
    below, above = frame.locator(".below"), frame.locator(".above")
    wall.get_by_role("button", name="wipe").click()
    assert frame.locator(".tag").all_inner_texts() == ["A · base", "B · step 100"]
    frame.locator(".divider").focus()
    wall.keyboard.press("Home")
    wait_until(lambda: "0px 0px 0px 0%" in above.evaluate("(image) => getComputedStyle(image).clipPath") + " 0%")
    assert "base" in (below.get_attribute("alt") or "")
    wall.get_by_role("button", name="difference").click()
    wait_until(lambda: above.evaluate("(image) => getComputedStyle(image).mixBlendMode") == "difference")
    wall.get_by_role("button", name="blink").click()
    wait_until(lambda: above.evaluate("(image) => getComputedStyle(image).animationName") == "darkroom-blink")
    wall.get_by_role("button", name="side by side").click()
    frame.locator(".enlarge").focus()
    wall.keyboard.down(" ")
    wait_until(lambda: above.evaluate("(image) => getComputedStyle(image).visibility") == "hidden")
    wall.keyboard.up(" ")
    wait_until(lambda: above.evaluate("(image) => getComputedStyle(image).visibility") == "visible")
    for _ in range(3):
        wall.get_by_role("button", name="Zoom in").first.click()
    box = frame.bounding_box()
    assert box
    wall.mouse.move(box["x"] + 60, box["y"] + 60)
    wall.mouse.down()
    wall.mouse.move(box["x"] + 100, box["y"] + 90, steps=4)
    wall.mouse.up()
    transforms = "(images) => [...new Set(images.map((image) => getComputedStyle(image).transform))]"
    (matrix,) = wall.locator(".cards img.above").evaluate_all(transforms)
    scale, *_, x, y = [float(part) for part in matrix[7:-1].split(",")]
    assert scale == pytest.approx(1.5**3)
    assert (x, y) == (pytest.approx(40, abs=1), pytest.approx(30, abs=1))
    expect(wall.locator("dialog")).to_be_hidden()  # a drag is no click


def test_the_lens_is_walked_with_the_keyboard_and_gives_the_focus_back(wall: Page) -> None:
    wall.locator(".cards .enlarge").nth(2).focus()
    wall.keyboard.press("Enter")
    lens = wall.locator("dialog")
    expect(lens).to_be_visible()
    prompt = lens.locator(".prompt")
    first = prompt.inner_text()
    wall.keyboard.press("ArrowRight")
    wall.keyboard.press("ArrowRight")
    expect(prompt).not_to_have_text(first)
    expect(lens.locator(".count")).to_have_text("3 / 16")
    wall.keyboard.press("ArrowUp")
    wait_until(lambda: lens.locator(".head").nth(2).inner_text() == "B · step 150")
    wall.keyboard.press("o")
    expect(lens.locator(".head")).to_have_text("B · step 150")
    wall.keyboard.press(" ")
    expect(lens.locator(".head")).to_have_text("A · base")
    for _ in range(12):
        wall.keyboard.press("Tab")
        assert wall.evaluate(
            "Boolean(document.activeElement.closest('dialog')) || document.activeElement === document.body"
        )
    wall.keyboard.press("Escape")
    expect(lens).to_be_hidden()
    expect(focused(wall)).to_have_class("enlarge")
    assert wall.evaluate("document.activeElement.closest('.card') === document.querySelectorAll('.cards .card')[2]")


def test_the_lens_fills_a_phone_and_is_swiped(open_page: OpenPage) -> None:
    page = open_page("done", "pictures", "&step=100", viewport={"width": 390, "height": 844}, has_touch=True)
    page.get_by_role("button", name="wipe").click()
    for button in page.locator(".darkroom-wall :is(button, select):visible:not(.enlarge)").all():
        box = button.bounding_box()
        assert box
        assert min(box["height"], box["width"]) >= 44
    page.locator(".cards .enlarge").nth(1).tap()
    lens = page.locator("dialog.darkroom-lens")
    expect(lens.locator(".count")).to_have_text("1 / 16")
    box = lens.bounding_box()
    assert box
    assert (box["x"], box["width"]) == (0, 390)
    assert lens.evaluate("(node) => node.scrollWidth") <= 390
    drag = {"pointerType": "touch", "clientX": 300, "clientY": 300, "bubbles": True}
    lens.locator(".stage").dispatch_event("pointerdown", drag)
    lens.locator(".stage").dispatch_event("pointerup", drag | {"clientX": 120})
    expect(lens.locator(".count")).to_have_text("2 / 16")


def test_an_enlarged_picture_stays_enlarged_when_the_page_is_loaded_again(open_page: OpenPage) -> None:
    page = open_page("done", "pictures", "&step=100")
    page.locator(".cards .enlarge").first.click()
    lens = page.locator("dialog.darkroom-lens")
    page.keyboard.press("ArrowRight")
    shown = lens.locator(".prompt").inner_text()
    page.reload()
    expect(lens).to_be_visible()
    expect(lens.locator(".prompt")).to_have_text(shown)
    page.keyboard.press("Escape")
    expect(lens).to_be_hidden()
    page.reload()
    page.locator(".cards .above").first.wait_for()
    expect(lens).to_be_hidden()
