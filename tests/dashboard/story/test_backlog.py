from __future__ import annotations

import random
from collections import deque

import pytest

from dashboard.story.progress.backlog import Durations, timeline
from shared.run_folder.pending import Work

SECONDS = Durations(evaluation=10.0, final=30.0)


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_later_snapshot_is_never_promised_earlier(newest_first: bool) -> None:
    rng = random.Random(4711)
    for _ in range(300):
        num_evaluators = rng.randint(1, 4)
        steps = iter(sorted(rng.sample(range(1, 1000), 60)))
        at_work = [Work(next(steps)) for _ in range(rng.randint(0, num_evaluators))]
        waiting = [Work(next(steps)) for _ in range(rng.randint(0, 8))]
        times = sorted(rng.uniform(0, 200) for _ in range(rng.randint(0, 20)))
        arrivals = [(time, next(steps)) for time in times]
        busy = [rng.uniform(0.1, 12) for _ in at_work]
        ends = timeline(at_work, busy, waiting, deque(arrivals), SECONDS, num_evaluators, newest_first=newest_first)
        promised = [ends[Work(step)] for _, step in arrivals]
        assert promised == sorted(promised)
        assert ends.keys() == {*at_work, *waiting, *(Work(step) for _, step in arrivals)}
        published = [time + SECONDS.evaluation for time in times]
        assert all(end >= earliest - 1e-9 for end, earliest in zip(promised, published, strict=True))


def test_evaluators_share_what_is_to_come() -> None:
    alone, two = (
        timeline([], [], [Work(10)], deque([(0.0, 20), (0.0, 30)]), SECONDS, number, newest_first=True)
        for number in (1, 2)
    )
    assert [alone[Work(step)] for step in (20, 30)] == [10.0, 20.0]
    assert max(alone.values()) == 30.0
    assert max(two.values()) == 20.0
