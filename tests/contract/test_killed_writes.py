"""F01: whatever is written into a run folder, and wherever its writer is killed, readers find the old or the new."""

from __future__ import annotations

import json

import pytest

from tests.conftest import RunMaker, Warm

SUBJECTS = {
    "snapshot": 20,
    "deletion of weights": 30,
    "checkpoint": 30,
    "evaluation and its tables": 30,
    "row of a table": 5,
    "changed setting": 12,
    "request": 6,
    "answer": 6,
    "vote": 4,
    "note": 6,
}
"""What is written, and how many boundaries it has at least."""


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_write_that_is_killed_at_any_boundary_leaves_the_old_or_the_new(
    warm: Warm, make_paper_run: RunMaker, subject: str
) -> None:
    run = make_paper_run()
    program = warm.run(
        "killed", prelude=f"from tests.contract.killed import main; main({subject!r}, {str(run.path)!r})"
    )
    assert json.loads(program.stdout())["killed"] >= SUBJECTS[subject]
