"""What somebody types, opens or asks for outlasts what comes meanwhile: ticks, snapshots, a lost server."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from shared.run_folder import requests
from shared.run_folder.run_dir import RunDir
from tests.browser.conftest import (
    STATUS,
    TALL,
    OpenPage,
    Tabs,
    address_of,
    free_port,
    last_drawn_step,
    live_run,
    serve,
    wait_for_answers,
    wait_for_ticks,
    wait_until,
)

pytestmark = pytest.mark.browser


def test_pictures_of_ones_own_prompts_are_asked_for_and_come(open_page: OpenPage, training: RunDir) -> None:
    page = open_page(training.path.name, "snapshots", "&step=50")
    page.locator("[class*=st-key-prompts_] textarea").fill("a green coat\na hat")
    page.get_by_role("button", name="Draw with these prompts").click()
    pictures = page.locator(".drawings img")
    expect(pictures).to_have_count(2)
    look = "(image) => { image.scrollIntoView(); return image.complete && image.naturalWidth }"
    wait_until(lambda: pictures.last.evaluate(look) == 64)  # it may be drawn anew meanwhile
    expect(page.locator(".drawings figcaption").last).to_contain_text("a hat")
    assert page.locator(".drawings a").first.get_attribute("target") == "_blank"
    expect(page.locator(".chain", has_text="evaluation request")).to_contain_text("drawn")


def test_what_somebody_types_and_opens_survives_ticks(open_page: OpenPage, training: RunDir) -> None:
    page = open_page(training.path.name, "snapshots")
    note = page.locator("[class*=st-key-note_] textarea")
    note.click()
    page.keyboard.type("soft edge")
    wait_for_answers(page, 1)
    page.keyboard.type("s")
    assert note.input_value() == "soft edges"
    page.get_by_text("On the command line").click()
    expect(page.get_by_text("--format kohya")).to_be_visible()
    wait_for_answers(page, 1)
    expect(page.get_by_text("--format kohya")).to_be_visible()
    page.get_by_role("link", name="Overview").click()
    page.wait_for_selector(".main-svg")
    page.locator("header .run").click()
    options = page.locator(".runs a")
    options.first.wait_for()
    wait_for_ticks(page, 1)
    assert options.count() >= 2
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop = 300")
    top = "document.querySelector('.darkroom-figure').getBoundingClientRect().top"
    before_ticks = page.evaluate(top)
    wait_for_ticks(page, 1)
    assert page.evaluate(top) == pytest.approx(before_ticks, abs=2)  # though lines above came or went


def test_an_enlarged_picture_stays_while_snapshots_arrive(open_page: OpenPage, training: RunDir) -> None:
    page = open_page(training.path.name, "pictures", "&step=0")
    page.locator(".cards .frame").nth(1).click()
    expect(page.locator("dialog")).to_be_visible()
    options = page.locator(".side.b option")
    count = options.count()
    wait_until(lambda: options.count() > count)
    expect(page.locator("dialog")).to_be_visible()


@pytest.mark.slow
def test_the_page_recovers_after_being_offline(open_page: OpenPage, training: RunDir) -> None:
    page = open_page(training.path.name)
    page.wait_for_selector(".main-svg")
    step = last_drawn_step(page)
    page.context.set_offline(True)
    page.wait_for_timeout(1500)
    page.context.set_offline(False)
    wait_until(lambda: last_drawn_step(page) > step)


@pytest.mark.slow
def test_the_page_recovers_when_the_server_was_started_again(browser: Browser, runs: Path, training: RunDir) -> None:
    port = free_port()
    page = browser.new_page(viewport=TALL)
    with serve(runs, port) as process:
        page.goto(f"{address_of(process)}/?run={training.path.name}")
        page.locator(".main-svg").first.wait_for(timeout=60_000)
        step = last_drawn_step(page)
    with serve(runs, port):
        wait_until(lambda: last_drawn_step(page) > step)
    page.close()


def test_ten_clicks_on_stop_make_one_request_before_streamlit_is_there(
    tabs: Tabs, server: subprocess.Popen[bytes], runs: Path
) -> None:
    page = tabs.fresh(viewport=TALL)
    page.route(re.compile(r"/static/js/index\.[^.]+\.js"), lambda route: None)  # never answered
    with live_run(runs, "hammered", "--ignore-stop") as run:
        page.goto(f"{address_of(server)}/?run=hammered", wait_until="commit")
        page.locator("header .stop:enabled").click()
        confirm = page.locator(".confirm-stop")
        confirm.wait_for()
        for _ in range(10):
            confirm.evaluate_all("(buttons) => buttons.forEach((button) => button.click())")
            page.wait_for_timeout(random.uniform(0, 300))
        expect(page.locator(".under .chain")).to_contain_text("requested")
        assert len(requests.requests(run)) == 1
    page.context.close()


@pytest.mark.slow
def test_a_run_is_paused_photographed_and_goes_on(open_page: OpenPage, runs: Path) -> None:
    with live_run(runs, "held") as run:
        page = open_page("held")
        page.locator("header .pause:enabled").click()
        expect(page.locator(STATUS)).to_contain_text("Paused")
        page.locator("header .resume:enabled").click()
        expect(page.locator(STATUS)).to_contain_text("Training")
        published = set(run.published_snapshots())
        page.locator("header .more").click()
        page.locator(".menu .snapshot:enabled").click()
        (request,) = wait_for_request(run)
        wait_until(lambda: requests.read_answer(run, request).done is not None)
        wait_until(lambda: requests.read_answer(run, request).step in set(run.published_snapshots()) - published)
        expect(page.locator(".chain", has_text="snapshot request")).to_contain_text("published")


def wait_for_request(run: RunDir) -> list[requests.Request]:
    wait_until(lambda: bool(requests.requests(run, "snapshot-now")))
    return requests.requests(run, "snapshot-now")


def test_an_open_page_whose_token_was_renewed_says_what_to_do_and_goes_on_once_it_is_done(
    browser: Browser, runs: Path
) -> None:
    port, context = free_port(), browser.new_context()
    page = context.new_page()
    with serve(runs, port, DARKROOM_TOKEN="before") as process:
        page.goto(f"{address_of(process)}/snapshots?run=done&token=before")
        note = page.locator("[class*=st-key-note_] textarea")
        note.fill("half a sen")
    with serve(runs, port, DARKROOM_TOKEN="after") as process:
        expect(page.locator("#darkroom-waits")).to_contain_text(
            "Open the link that was printed when the dashboard started"
        )
        assert note.input_value() == "half a sen"
        another = context.new_page()
        another.goto(f"{address_of(process)}/?token=after")
        another.locator(STATUS).wait_for(timeout=60_000)
        expect(page.locator("#darkroom-waits")).to_have_count(0)
        page.locator("[data-testid=stApp][data-test-connection-state=CONNECTED]").wait_for(timeout=60_000)
        page.get_by_role("button", name="Save note").click()
        wait_until(lambda: (runs / "done" / "notes.json").is_file())
        assert "half a sen" in (runs / "done" / "notes.json").read_text()
    (runs / "done" / "notes.json").unlink()
    context.close()
