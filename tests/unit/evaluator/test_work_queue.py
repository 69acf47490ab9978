"""What is evaluated next: the base model, then the newest; never what is evaluated, claimed, or another run's."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest
from watchdog.events import FileSystemEvent

from evaluator import work_queue
from evaluator.evaluate import skip
from evaluator.work_queue import free, watching
from shared.config.schema import EvaluationConfig
from shared.files.publication import publish
from shared.run_folder import requests
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.pending import Work, in_order, skipped, unfinished, work_of
from shared.run_folder.records.best import Best
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.sharing.leases import claimed
from shared.run_folder.tables import write_rows
from tests.conftest import RunMaker, until


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def add(run: RunDir, step: int, run_id: str | None = None) -> None:
    manifest = Manifest(kind="snapshot", run_id=run_id or run.read_record().run_id, step=step)
    publish(run.staging, run.snapshot(step), manifest, lambda folder: None)


def evaluated(run: RunDir, *steps: int) -> None:
    for step in steps:
        run.evaluation(step).mkdir()


def weighed(run: RunDir, *finalists: int) -> None:
    """Every snapshot has its row, and best.json names who is evaluated again."""
    write_rows(run.metrics_csv, OLDER_METRICS.header, [{"step": step} for step in steps_in(run.evaluations)])
    best = Best(step=finalists[0], snapshot="", reason="", better_than_base=True, num_evaluated=3, finalists=finalists)
    best.write(run.best)


def todo(run: RunDir, *, trainer_lives: bool = False, **settings: object) -> list[int]:
    """Steps in order; those of a second evaluation are negative."""
    works = unfinished(run, EvaluationConfig.model_validate(settings), trainer_lives=trainer_lives)
    return [work.step if work.kind == "evaluations" else -work.step for work in free(run, works)]


def test_the_base_model_comes_before_everything_and_nobody_goes_on_without_it(run: RunDir) -> None:
    add(run, 2)
    assert todo(run) == [0]
    with claimed(run, 0):
        assert todo(run) == []
        assert unfinished(run, EvaluationConfig(), trainer_lives=True) == [Work(0)]


def test_what_waits_for_the_base_model_is_known_in_its_order(run: RunDir) -> None:
    for step in (20, 4):
        add(run, step)
    assert in_order(run, EvaluationConfig(), trainer_lives=True) == [Work(0), Work(20), Work(4)]
    evaluated(run, 0, 4, 20)
    weighed(run, 4, 20)
    finals = [Work(step, "confirmations") for step in (0, 4, 20)]
    assert in_order(run, EvaluationConfig(), trainer_lives=False) == finals


def test_the_newest_snapshot_comes_first_and_older_ones_follow(run: RunDir) -> None:
    for step in (20, 100, 4):
        add(run, step)
    evaluated(run, 0)
    assert todo(run) == [100, 20, 4]
    evaluated(run, 100)
    assert todo(run) == [20, 4]


def test_strict_order_begins_with_the_oldest(run: RunDir) -> None:
    for step in (20, 100, 4):
        add(run, step)
    evaluated(run, 0)
    assert todo(run, order="oldest") == [4, 20, 100]


def test_what_another_evaluator_is_at_work_on_is_left_to_it(run: RunDir) -> None:
    add(run, 2)
    add(run, 4)
    evaluated(run, 0)
    with claimed(run, 4):
        assert todo(run) == [2]
    with claimed(run, 4, "confirmations"):
        assert todo(run) == [4, 2]


def test_every_third_snapshot_is_evaluated_and_the_last_of_all(run: RunDir) -> None:
    settings = EvaluationConfig(every=3)
    evaluated(run, 0)
    for step in range(10, 80, 10):
        add(run, step)
    assert todo(run, every=3, trainer_lives=True) == [60, 30], "70 may turn out not to be the last"
    assert todo(run, every=3) == [70, 60, 30]
    assert skipped(run, settings) == {10, 20, 40, 50}
    add(run, 80)
    assert skipped(run, settings) == {10, 20, 40, 50, 70}
    assert todo(run, every=3) == [80, 60, 30]
    assert skipped(run, EvaluationConfig()) == set()


def test_finalists_are_evaluated_again_when_training_is_over_and_all_is_weighed(run: RunDir) -> None:
    for step in (2, 4):
        add(run, step)
    evaluated(run, 0, 2, 4)
    weighed(run, 2, 4)
    assert todo(run, trainer_lives=True) == []
    assert unfinished(run, EvaluationConfig(), trainer_lives=False) == [Work(0, "confirmations")]
    run.result("confirmations", 0).mkdir(parents=True)
    assert todo(run) == [-2, -4]
    run.result("confirmations", 2).mkdir()
    assert todo(run) == [-4]
    add(run, 6)
    assert todo(run) == [6], "first things first"
    evaluated(run, 6)
    assert todo(run) == [], "its result has not been weighed yet"
    weighed(run, 6, 4)
    assert todo(run) == [-4, -6], "a resumed run's new finalist joins those there were"


def test_what_a_person_asks_for_comes_first_and_is_never_skipped(run: RunDir) -> None:
    for step in (10, 20, 30, 40):
        add(run, step)
    evaluated(run, 0, 40)
    first = requests.submit_evaluation(run, 10, by="a test")
    time.sleep(0.002)  # requests are ordered to the millisecond
    asked = requests.submit_evaluation(run, 40, by="a test", prompts=["a red coat"])
    requests.submit_evaluation(run, 999, by="a test")
    requested = Work(40, f"requested/{asked.id}")
    works = unfinished(run, EvaluationConfig(every=2), trainer_lives=True)
    assert works == [Work(10), requested, Work(20)]
    with claimed(run, 40, requested.kind):
        assert free(run, works) == [Work(10), Work(20)]
    evaluated(run, 10)
    assert work_of(run, first) is None


def test_a_snapshot_left_out_is_evaluated_after_all_when_a_person_asks(run: RunDir) -> None:
    for step in (10, 20):
        add(run, step)
    evaluated(run, 0, 20)
    skip(run, run.read_record(), 10, "evaluation.every is 2")
    settings = EvaluationConfig(every=2)
    assert unfinished(run, settings, trainer_lives=True) == []
    asked = requests.submit_evaluation(run, 10, by="a test")
    assert unfinished(run, settings, trainer_lives=True) == [Work(10)]
    assert work_of(run, asked) == Work(10)


def test_without_finalists_nothing_is_evaluated_again(run: RunDir) -> None:
    add(run, 2)
    evaluated(run, 0, 2)
    assert todo(run) == []


def test_another_runs_snapshot_is_never_evaluated(run: RunDir) -> None:
    evaluated(run, 0)
    add(run, 2)
    add(run, 99999, run_id="another")
    run.snapshot(6).mkdir()  # being copied in by hand: no manifest yet
    assert todo(run) == [2]


def test_a_snapshot_with_a_damaged_manifest_is_evaluated_and_stops_no_other(run: RunDir) -> None:
    evaluated(run, 0)
    add(run, 2)
    add(run, 4)
    (run.snapshot(4) / "manifest.json").write_bytes(b"")
    assert todo(run) == [4, 2]


def test_a_new_snapshot_wakes_the_evaluator(run: RunDir) -> None:
    wake = threading.Event()
    with watching(run, wake.set):
        assert not wake.is_set()
        add(run, 2)
        until(wake.is_set, "a file event", seconds=10)


def evaluate_when_woken(run: RunDir, wake: threading.Event, ended: threading.Event, seen: Counter[int]) -> None:
    """As an evaluator's loop does: an event ends the wait, the scan says what there is, a claim whose it is."""
    while not ended.is_set():
        wake.clear()
        for work in free(run, unfinished(run, EvaluationConfig(), trainer_lives=True)):
            with claimed(run, work.step) as mine:
                if mine and work.step not in steps_in(run.evaluations):
                    seen[work.step] += 1
                    skip(run, run.read_record(), work.step, "a test")
        wake.wait(0.2)


def test_a_storm_of_events_evaluates_each_snapshot_once(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 files come and go, each event comes three times or not at all, and wakes three evaluators."""
    chance, seen, ended = random.Random(0), Counter[int](), threading.Event()
    wakes = [threading.Event() for _ in range(3)]
    real = work_queue._Wake.on_any_event  # pyright: ignore[reportPrivateUsage]

    def stormy(self: object, event: FileSystemEvent) -> None:
        for _ in range(chance.choice((0, 3))):
            real(self, event)  # type: ignore[arg-type]

    monkeypatch.setattr(work_queue._Wake, "on_any_event", stormy)  # pyright: ignore[reportPrivateUsage]
    threads = [threading.Thread(target=evaluate_when_woken, args=(run, wake, ended, seen)) for wake in wakes]
    with watching(run, lambda: [wake.set() for wake in wakes]):
        for thread in threads:
            thread.start()
        for number in range(2000):
            (run.snapshots / f"{number}.tmp").touch()
            (run.snapshots / f"{number}.tmp").unlink()
            if number % 100 == 0:
                add(run, number + 1)
        until(lambda: len(steps_in(run.evaluations)) == 21, "all are evaluated")
        ended.set()
        for thread in threads:
            thread.join()
    assert seen == Counter([0, *range(1, 2000, 100)]), "each exactly once"
