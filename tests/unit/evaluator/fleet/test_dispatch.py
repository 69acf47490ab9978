"""A fleet's work: given once, given again when a member dies, left when it costs too many."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evaluator.agenda import DONE, NOTHING_TO_DO, TRY_AGAIN, Agenda
from evaluator.evaluate import skip
from evaluator.fleet import dispatch
from evaluator.fleet.dispatch import MAX_LOSSES, Dispatch
from evaluator.fleet.member import Done, News
from evaluator.run_mode import RunMode
from shared.errors import DarkroomError
from shared.run_folder.heartbeat import hold_slot
from shared.run_folder.pending import Work
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import Warm, create_run
from tests.integration.test_toy_task import config_of
from tests.toy_task.evaluation import descriptions


@pytest.fixture(scope="module")
def trained(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = create_run(config_of(tmp_path_factory.mktemp("toy")))
    warm.run("trainer", run.path)
    return run


@pytest.fixture
def run(trained: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setattr(dispatch, "WAIT_SECONDS", 0.0)
    shutil.copytree(trained.path, tmp_path / "line")
    return RunDir(tmp_path / "line")


@dataclass
class Fake:
    """Members that publish at once that they have skipped a snapshot, unless `becomes` says otherwise."""

    run: RunDir
    size: int
    becomes: Callable[[Work], Done | None] = lambda work: Done("skipped")
    given: list[Work] = field(default_factory=list)
    most: int = 0
    _at_work: list[Work] = field(default_factory=list)

    @property
    def num_free(self) -> int:
        return self.size - len(self._at_work)

    @property
    def works(self) -> set[Work]:
        return set(self._at_work)

    def give(self, work: Work, name: str, message: str, *, patient: bool) -> None:
        assert self.num_free
        self.given.append(work)
        self._at_work.append(work)
        self.most = max(self.most, len(self._at_work))

    def tend(self) -> None:
        pass

    def wait(self, seconds: float) -> list[News]:
        news = [News(work, "here", self.becomes(work), "its process ended") for work in self._at_work]
        for one in news:
            if one.done and one.done.status == "skipped":
                skip(self.run, self.run.read_record(), one.work.step, "a test", one.work.kind)
        self._at_work.clear()
        return news


def work(run: RunDir, crew: Fake) -> int:
    with hold_slot(run, "evaluator") as status:
        config = run.read_config()
        return Dispatch(Agenda(run, RunMode(follow=False), status, descriptions(config), config), crew).work()


def test_the_base_model_comes_first_and_the_rest_is_shared(run: RunDir) -> None:
    crew = Fake(run, 3)
    assert work(run, crew) == DONE
    assert crew.given[0] == Work(0)
    assert sorted(one.step for one in crew.given) == [0, 5, 10, 15, 20]
    assert crew.most == 3
    assert [row["step"] for row in read_rows(run.metrics_csv)] == ["0", "5", "10", "15", "20"]
    assert work(run, Fake(run, 3)) == NOTHING_TO_DO


def test_the_work_of_one_that_died_is_done_again(run: RunDir) -> None:
    died: list[Work] = []

    def once(work: Work) -> Done | None:
        if work.step == 10 and not died:
            died.append(work)
            return None
        return Done("skipped")

    crew = Fake(run, 2, once)
    assert work(run, crew) == DONE
    assert [one.step for one in crew.given].count(10) == 2
    assert steps_in(run.evaluations) == {0, 5, 10, 15, 20}


def test_work_that_costs_members_is_left_and_the_others_are_done(run: RunDir) -> None:
    crew = Fake(run, 2, lambda work: None if work.step == 10 else Done("skipped"))
    assert work(run, crew) == TRY_AGAIN
    assert [one.step for one in crew.given].count(10) == MAX_LOSSES
    assert steps_in(run.evaluations) == {0, 5, 15, 20}


def test_a_full_disk_ends_it_with_the_cure(run: RunDir) -> None:
    full = DarkroomError("cannot write a result on node-3: No space left on device", "make room")
    with pytest.raises(DarkroomError, match="on node-3: No space left"):
        work(run, Fake(run, 2, lambda work: Done("nothing", error=full)))


def test_what_memory_does_not_suffice_for_waits(run: RunDir) -> None:
    crew = Fake(run, 2, lambda work: Done("out of memory") if work.step == 10 else Done("skipped"))
    assert work(run, crew) == TRY_AGAIN
    assert [one.step for one in crew.given].count(10) == 1
