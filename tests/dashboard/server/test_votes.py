"""Votes by URL: what is shown next, what is taken and what is refused, what is said of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from dashboard.data.reader import RunReader
from dashboard.server.auth import Gate
from dashboard.server.jobs.recounts import Recounts
from dashboard.server.posts.votes import vote_routes
from dashboard.story.screen import screen
from dashboard.story.vote.next_pair import next_pairs
from dashboard.story.vote.result import vote_result
from evaluator.results_table import ResultsTable
from examples.fake_run.run import PROMPTS, FakeRun
from shared.config import access
from shared.run_folder.records.contest import Contest
from shared.run_folder.records.vote import Vote
from shared.run_folder.run_dir import RunDir
from shared.run_folder.votes import Votes, append_vote, pictures_of, read_votes
from tests.browser.conftest import wait_until

HERE = "http://127.0.0.1:8501"
Answer = dict[str, Any]


class Desk:
    """The routes behind the gate, and the runs of which the votes were to be counted."""

    def __init__(self) -> None:
        self.asked: list[RunDir] = []
        gate = Middleware(Gate, admission=access.Admission("", (), ""))
        app = Starlette(routes=vote_routes(self.asked.append), middleware=[gate])
        self.visitor = TestClient(app, base_url=HERE)

    def ballot(self, voter: str = "anna", pending: str = "") -> Answer:
        return self.visitor.get(f"/ballot/finished.json?voter={voter}&pending={pending}").json()

    def vote(self, pair: Answer, answer: str = "left", voter: str = "anna", **changes: object) -> Any:
        names = ("id", "prompt_id", "seed", "left", "right")
        sent = {name: pair[name] for name in names} | {"voter": voter, "answer": answer, "seconds": 3.5}
        return self.visitor.post("/votes/finished.json", json=sent | changes, headers={"origin": HERE})


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: FakeRun) -> Desk:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    ResultsTable(finished.run).rebuild()
    return Desk()


def test_that_not_every_snapshot_is_compared_is_said(desk: Desk, finished: FakeRun) -> None:
    assert desk.ballot()["scope"] == ""
    best = finished.run.read_best()
    assert best
    assert best.contest
    competing = len(best.contest.steps) - 1
    best.model_copy(update={"contest": best.contest.model_copy(update={"left_out": 4})}).write(finished.run.best)
    said = f"Compared are {competing} of {competing + 4} snapshots that may be the best, and the base model."
    assert desk.ballot()["scope"] == said


def test_two_pictures_of_one_prompt_are_shown_and_the_next_ones_come_with_them(desk: Desk, finished: FakeRun) -> None:
    told = desk.ballot()
    first, following = told["pairs"]
    best = finished.run.read_best()
    assert best
    assert best.contest
    for pair in (first, following):
        assert {pair["left"], pair["right"]} <= set(best.contest.steps)
        assert pair["prompt"] == PROMPTS[pair["prompt_id"]]
        assert f"step-{pair['left']:08d}/images/" in pair["left_url"]
        assert f"step-{pair['right']:08d}/images/" in pair["right_url"]
        assert pair["reference_url"].startswith("pictures/finished/references/")
    assert told["progress"] == "0 votes so far; from 20 on they say something"
    assert desk.ballot() == told, "the same votes give the same pairs"
    assert desk.ballot(pending=first["id"])["pairs"][0]["id"] == following["id"]
    assert "best" not in str(told).lower(), "nothing says who leads"


def test_a_vote_is_a_line_of_the_voters_file(desk: Desk, finished: FakeRun) -> None:
    pair = desk.ballot()["pairs"][0]
    told = desk.vote(pair, "right").json()
    assert told["is_new"]
    assert told["progress"] == "1 vote so far; from 20 on they say something"
    assert pair["id"] not in [one["id"] for one in told["pairs"]]
    (given,) = read_votes(finished.run).given
    assert (given.voter, given.answer, given.seconds, given.preferred) == ("anna", "right", 3.5, pair["right"])
    assert desk.asked == [finished.run]


def test_two_tabs_that_answer_the_same_pair_give_one_vote(desk: Desk, finished: FakeRun) -> None:
    pair = desk.ballot()["pairs"][0]
    assert desk.vote(pair, "left").json()["is_new"]
    again = desk.vote(pair, "right")
    assert (again.status_code, again.json()["is_new"]) == (200, False)
    assert [vote.answer for vote in read_votes(finished.run).given] == ["left"]
    assert len(desk.asked) == 1


def test_a_vote_that_is_taken_back_is_shown_again_on_the_same_sides(desk: Desk, finished: FakeRun) -> None:
    pair = desk.ballot()["pairs"][0]
    last = desk.vote(pair).json()["last"]
    assert last["id"] == pair["id"]
    told = desk.vote(last, "withdrawn").json()
    shown, following = told["pairs"]
    assert following["id"] != shown["id"]
    assert {**shown, "id": ""} == {**pair, "id": ""}
    assert shown["id"] != pair["id"]
    assert told["progress"].startswith("0 votes")
    desk.vote(shown, "equal")
    assert [vote.answer for vote in read_votes(finished.run).given] == ["equal"]


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"seed": 7}, 404, "there is no picture of prompt 'kimono/"),
        ({"left": 12345}, 404, "with seed 1234 at step 12345."),
        ({"prompt_id": "../../etc"}, 404, "there is no picture of prompt '../../etc'"),
        ({"answer": "both"}, 422, "Wrong or missing: answer."),
        ({"voter": " "}, 422, "Wrong or missing: voter."),
        ({"left": 0, "right": 0}, 422, "Wrong or missing: left, right."),
        ({"seconds": -1, "id": "a b"}, 422, "Wrong or missing: id, seconds."),
        ({"answer": "withdrawn", "id": "unknown"}, 404, "There is no such vote to take back."),
    ],
)
def test_a_vote_that_cannot_be_one_is_refused_with_a_sentence(
    desk: Desk, finished: FakeRun, changes: Answer, status: int, sentence: str
) -> None:
    refused = desk.vote({**desk.ballot()["pairs"][0], "seed": 1234}, **changes)
    assert refused.status_code == status
    assert sentence in refused.json()["error"]
    assert not finished.run.votes.exists()


@pytest.mark.usefixtures("finished")
def test_another_site_cannot_vote(desk: Desk) -> None:
    pair = desk.ballot()["pairs"][0]
    url = "/votes/finished.json"
    assert desk.visitor.post(url, json=pair, headers={"origin": "https://evil.example"}).status_code == 403
    assert desk.visitor.post(url, content="{}", headers={"content-type": "text/plain"}).status_code == 415
    assert desk.visitor.post(url, content="[]", headers={"content-type": "application/json"}).status_code == 400
    assert desk.visitor.post("/votes/nowhere.json", json=pair).status_code == 404


def test_a_vote_that_cannot_be_written_is_not_lost_in_silence(desk: Desk, finished: FakeRun) -> None:
    finished.run.votes.write_text("a file in the place of the folder")
    refused = desk.vote(desk.ballot()["pairs"][0])
    assert (refused.status_code, refused.json()["error"]) == (500, "Nothing was saved: File exists.")


def test_nobody_sees_the_same_pictures_twice_and_prompts_take_turns(finished: FakeRun) -> None:
    run, seen = finished.run, []
    drawn = pictures_of({step: result.samples for step in (0, 40, 80) if (result := run.read_result(step))})
    identity = tuple(tuple(float(row == column) for column in range(3)) for row in range(3))
    competing = Contest(steps=(0, 40, 80), means=(0, 0, 0), covariance=identity, unit=1)
    for _ in range(24):
        (pair,) = next_pairs(competing, read_votes(run), "anna", drawn)
        seen.append((pair.prompt_id, pair.seed, frozenset((pair.left, pair.right))))
        fields = {name: getattr(pair, name) for name in ("id", "prompt_id", "seed", "left", "right")}
        append_vote(run, Vote(**fields, run_id=finished.record.run_id, voter="anna", answer="left"))
    assert len(set(seen)) == 24
    counts = [sum(prompt == one for prompt, _, _ in seen) for one in PROMPTS]
    assert max(counts) - min(counts) <= 1
    assert any(pair.left > pair.right for pair in next_pairs(competing, Votes(), "bo", drawn, 8)), "sides are shuffled"
    assert any(pair.left < pair.right for pair in next_pairs(competing, Votes(), "bo", drawn, 8))


def test_the_result_says_which_metric_to_trust(desk: Desk, finished: FakeRun) -> None:
    assert desk.visitor.get("/votes/finished.json").json()["headline"] == "Nobody has voted yet."
    looks = {
        (step, sample.prompt_id, sample.seed): sample.metrics["visual_loss"]
        for step in (0, 40, 80, 120, 160, 200)
        if (found := finished.run.read_result(step))
        for sample in found.samples
    }
    for _ in range(12):  # a person who sees what this metric sees
        pair = desk.ballot()["pairs"][0]
        left, right = (looks[pair[side], pair["prompt_id"], pair["seed"]] or 0.0 for side in ("left", "right"))
        desk.vote(pair, "left" if left < right else "right")
    waiting = desk.visitor.get("/votes/finished.json").json()
    assert (waiting["is_counting"], waiting["headline"]) == (True, "The votes are being counted …")
    ResultsTable(finished.run).rebuild()
    told = desk.visitor.get("/votes/finished.json").json()
    assert not told["is_counting"]
    assert told["voters"] == "anna: 12"
    assert told["trust"].startswith("For this subject, trust ")
    assert {row["title"]: row["words"] for row in told["metrics"]}["look"] == "12 of 12 votes"
    assert told["steps"][0]["step"] == 0
    assert sum(row["is_favourite"] for row in told["steps"]) == 1
    assert all(0 <= row["low"] <= row["share"] <= row["high"] <= 1 for row in told["metrics"])


def test_the_first_screen_marks_what_was_voted_on(desk: Desk, finished: FakeRun) -> None:
    pair = desk.ballot()["pairs"][0]
    desk.vote(pair)
    ResultsTable(finished.run).rebuild()
    reader = RunReader(finished.run, finished.record.run_id)
    shown = screen(reader, datetime.now(UTC), UTC)
    assert {cell.step for cell in shown.strip if cell.voted} == {pair["left"], pair["right"]}
    assert "1 vote" in shown.verdict.sentence or "the votes lean to" in shown.verdict.sentence
    assert not vote_result(reader).is_counting


def test_votes_are_counted_by_a_program_of_its_own(desk: Desk, finished: FakeRun) -> None:
    for _ in range(2):
        desk.vote(desk.ballot()["pairs"][0])
    recounts = Recounts(seconds_between=0)
    recounts.ask(finished.run)
    recounts.ask(finished.run)

    def counted() -> bool:
        best = finished.run.read_best()
        return best is not None and best.votes is not None and best.votes.num_votes == 2

    wait_until(counted)
