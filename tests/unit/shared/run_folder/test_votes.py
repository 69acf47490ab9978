"""The files of votes: lines are only ever added, each pair counts once, and what is wrong is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.errors import RunFolderError
from shared.run_folder.records.vote import Vote, VoteAnswer, voter_id
from shared.run_folder.run_dir import RunDir
from shared.run_folder.votes import append_vote, read_votes
from tests.conftest import RunMaker

DRAWN = {0: {("p0", 1)}, 20: {("p0", 1)}, 40: {("p0", 1), ("p1", 1)}}


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def vote(run: RunDir, name: str, answer: VoteAnswer = "left", **changes: object) -> Vote:
    fields: dict[str, object] = {
        "id": name,
        "run_id": run.read_record().run_id,
        "voter": "anna",
        "prompt_id": "p0",
        "seed": 1,
        "left": 20,
        "right": 40,
        "answer": answer,
        "seconds": 7.5,
    }
    return Vote.model_validate(fields | changes)


def test_votes_of_several_people_are_read_in_the_order_they_were_given(run: RunDir) -> None:
    first = vote(run, "a", created="2026-01-01T00:00:00+00:00")
    second = vote(run, "b", voter="bo-2", answer="equal", created="2026-01-01T00:00:09+00:00")
    assert append_vote(run, second)
    assert append_vote(run, first)
    found = read_votes(run, DRAWN)
    assert (found.given, found.problems) == ((first, second), ())
    assert sorted(path.name for path in run.votes.glob("*.jsonl")) == ["anna.jsonl", "bo-2.jsonl"]


def test_a_pair_that_is_sent_twice_counts_once(run: RunDir) -> None:
    assert append_vote(run, vote(run, "a", "left"))
    assert not append_vote(run, vote(run, "a", "right"))
    assert [one.answer for one in read_votes(run).given] == ["left"]
    with run.votes_of("anna").open("ab") as file:  # as if two programs had written it
        file.write(vote(run, "a", "right").to_line())
    assert [one.answer for one in read_votes(run).given] == ["left"]


def test_a_vote_that_was_withdrawn_stays_in_the_file_and_does_not_count(run: RunDir) -> None:
    assert append_vote(run, vote(run, "a"))
    assert append_vote(run, vote(run, "a", "withdrawn"))
    assert not append_vote(run, vote(run, "a", "withdrawn"))
    assert not append_vote(run, vote(run, "a", "right")), "what is shown again has another id"
    found = read_votes(run, DRAWN)
    assert (found.given, found.ids) == ((), frozenset({"a"}))
    assert len(run.votes_of("anna").read_text().splitlines()) == 2


def test_a_torn_last_line_is_not_yet_and_the_next_vote_is_whole(run: RunDir) -> None:
    append_vote(run, vote(run, "a"))
    with run.votes_of("anna").open("ab") as file:
        file.write(vote(run, "b").to_line()[:-20])
    assert [one.id for one in read_votes(run).given] == ["a"]
    append_vote(run, vote(run, "c"))
    found = read_votes(run)
    assert ([one.id for one in found.given], found.problems) == (["a", "c"], ())


def test_every_line_that_cannot_count_is_told_and_the_rest_counts(run: RunDir) -> None:
    append_vote(run, vote(run, "a"))
    whole = vote(run, "b").to_line()
    lines = [
        b"not json\n",
        whole.replace(b'"left": 20', b'"left": 40'),
        whole.replace(b'"answer": "left"', b'"answer": "both"'),
        whole.replace(b'"schema": "1.0"', b'"schema": "2.0"'),
        whole.replace(b'"seed": 1', b'"seed": 7'),
        vote(run, "c", run_id="another").to_line(),
        b'{"a": ' * 3000 + b"\n",
    ]
    with run.votes_of("anna").open("ab") as file:
        file.write(b"".join(lines))
    append_vote(run, vote(run, "d"))
    found = read_votes(run, DRAWN)
    assert [one.id for one in found.given] == ["a", "d"]
    assert len(found.problems) == len(lines)
    said = " ".join(found.problems)
    for text in (
        "votes/anna.jsonl line 2: it is not a vote of Darkroom",
        "line 3: both pictures are of step 40; delete this line",
        "line 4: its answer is 'both', must be 'left', 'equal', 'right', 'skipped' or 'withdrawn'; delete this line",
        "line 5: it has schema 2.0, this version reads 1: upgrade Darkroom",
        "line 6: there is no picture of prompt 'p0' with seed 7 at step 20 and step 40",
        "line 7: it is a vote on another run (another); move it into that run's folder",
        "line 2: it is not a vote of Darkroom; delete this line",
    ):
        assert text in said


def test_a_file_that_is_no_file_of_votes_is_told_once_with_the_cure_and_the_others_count(run: RunDir) -> None:
    append_vote(run, vote(run, "a"))
    (run.votes / "binary.jsonl").write_bytes(bytes(range(256)) * 20 + b"\n")
    (run.votes / "folder.jsonl").mkdir()
    torn = run.votes / "torn.jsonl"
    torn.write_bytes(vote(run, "b", voter="torn").to_line()[:-20])
    assert not any("torn" in text for text in read_votes(run).problems), "it may be written at this moment"
    os.utime(torn, (0, 0))
    found = read_votes(run)
    assert [one.id for one in found.given] == ["a"]
    assert found.problems == (
        "votes/binary.jsonl: none of its lines is a vote of Darkroom; move this file out of votes/",
        f"votes/folder.jsonl: {run.votes / 'folder.jsonl'} is not a file; move {run.votes / 'folder.jsonl'} away",
        "votes/torn.jsonl: its last line is cut off; delete this line, or vote again under this name",
    )


def test_a_link_out_of_the_run_is_neither_read_nor_written(run: RunDir, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes(vote(run, "a").to_line())
    run.votes.mkdir()
    run.votes_of("anna").symlink_to(outside)
    found = read_votes(run)
    assert (found.given, found.problems) == (
        (),
        ("votes/anna.jsonl: it leads out of the run folder; put the file itself there",),
    )
    with pytest.raises(RunFolderError, match="leads out"):
        append_vote(run, vote(run, "b"))


@pytest.mark.parametrize(
    ("name", "voter"),
    [("Anna B.", "anna-b"), ("  王 小明 ", "王-小明"), ("../../etc", "etc"), ("--", ""), ("x" * 60, "x" * 40)],
)
def test_a_name_becomes_the_name_of_a_file(name: str, voter: str) -> None:
    assert voter_id(name) == voter


def test_a_voter_that_is_no_name_of_a_file_is_refused(run: RunDir) -> None:
    with pytest.raises(ValidationError, match="no id of a voter"):
        vote(run, "a", voter="../anna")
