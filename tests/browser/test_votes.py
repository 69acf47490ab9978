"""A voter in a real browser: blind, by keyboard, in two tabs, through a reload; the verdict follows a hidden order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from evaluator.results_table import ResultsTable
from examples.fake_run.evaluations import publish_evaluation
from examples.fake_run.run import create
from shared.run_folder.run_dir import RunDir, open_run
from shared.run_folder.votes import read_votes
from tests.browser.conftest import OpenPage, wait_until

pytestmark = pytest.mark.browser

STEPS = (20, 40, 60, 80)
HIDDEN = (0, 20, 40, 80, 60)
"""What this voter prefers, the best last: not what the metrics say."""
SHOWN = ".darkroom-vote .side:not(.empty) img[src]"


@pytest.fixture(scope="module")
def run(runs: Path) -> RunDir:
    """Four snapshots of which the metrics prefer another one than the voter."""
    fake = create(runs / "voted", steps=80, snapshot_steps=20)
    for step in (0, *STEPS):
        if step:
            fake.publish_snapshot(step)
        publish_evaluation(fake, step)
    ResultsTable(fake.run).rebuild()
    return open_run(fake.run.path)


class Voter:
    """Knows what the page hides, from what the server sends to it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pairs: dict[str, dict[str, Any]] = {}
        page.on("response", self.note)

    def note(self, response: Any) -> None:
        if re.search(r"/(ballot|votes)/voted\.json", response.url) and response.ok:
            for pair in response.json().get("pairs", ()):
                self.pairs[f"{pair['prompt']}{pair['id']}"] = pair

    def shown(self) -> dict[str, Any]:
        """The pair on screen."""
        expect(self.page.locator(SHOWN)).to_have_count(2)
        name = self.page.locator(".darkroom-vote .stage").get_attribute("data-pair")
        return next(pair for pair in self.pairs.values() if pair["id"] == name)

    def vote(self) -> None:
        pair = self.shown()
        is_left = HIDDEN.index(pair["left"]) > HIDDEN.index(pair["right"])
        self.page.keyboard.press("ArrowLeft" if is_left else "ArrowRight")
        expect(self.page.locator(".darkroom-vote .stage")).not_to_have_attribute("data-pair", pair["id"])


def votes(run: RunDir) -> int:
    return len(read_votes(run).given)


def test_an_automated_voter_moves_the_verdict_to_what_is_preferred(open_page: OpenPage, run: RunDir) -> None:
    before = run.read_best()
    assert before
    assert before.contest
    assert before.step != HIDDEN[-1]
    page = open_page("voted", "vote")
    voter = Voter(page)
    page.reload()
    for _ in range(6):
        voter.vote()
    expect(page.locator(".progress")).to_have_text("6 votes so far; from 20 on they say something")
    assert "step" not in page.locator(".darkroom-vote").inner_html(), "nothing says who drew a picture"

    held: list[Route] = []
    page.route("**/votes/voted.json*", lambda route: held.append(route))  # on its way, and never there
    voter.vote()
    page.wait_for_timeout(0)
    page.unroute("**/votes/voted.json*")
    page.reload()
    wait_until(lambda: votes(run) == 7)

    mine = voter.shown()
    second = page.context.new_page()
    other = Voter(second)
    second.goto(page.url)
    assert other.shown()["id"] == mine["id"], "both tabs ask the same voter the same"
    other.vote()
    second.close()
    voter.vote()
    expect(page.locator(".progress")).to_have_text("8 votes so far; from 20 on they say something")

    page.keyboard.press("u")
    expect(page.locator(".progress")).to_have_text("7 votes so far; from 20 on they say something")
    wait_until(lambda: votes(run) == 7)
    for _ in range(31):
        voter.vote()
    wait_until(lambda: votes(run) == 38)
    assert len({vote.id for vote in read_votes(run).given}) == votes(run)

    page.locator(".darkroom-vote .opener").click()
    expect(page.locator(".result h2")).to_have_text(f"The votes changed the choice to step {HIDDEN[-1]}")
    expect(page.locator(".result .hint").nth(1)).to_have_text("")
    found = run.read_best()
    assert found
    assert found.votes
    assert (found.step, found.votes.before, found.votes.num_votes) == (HIDDEN[-1], before.step, 38)
    pictures = {step: run.read_result(step) for step in HIDDEN}
    looks = {
        (step, sample.prompt_id, sample.seed): sample.metrics["visual_loss"] or 0.0
        for step, result in pictures.items()
        if result
        for sample in result.samples
    }
    agreed = sum(
        HIDDEN.index(min(vote.steps, key=lambda step: looks[step, vote.prompt_id, vote.seed]))
        == max(map(HIDDEN.index, vote.steps))
        for vote in read_votes(run).given
    )
    (visual,) = [one for one in found.votes.agreement if one.column == "visual_loss"]
    assert (visual.agreed, visual.num_votes) == (agreed, 38)
    order = sorted(found.votes.steps, key=lambda one: one.strength)
    assert [one.step for one in order] == [step for step in HIDDEN if step in before.contest.steps]
