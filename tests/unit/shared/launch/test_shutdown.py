"""One `run.py` after another: what is ending is waited for, what works on is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psutil

from shared.files.publication import publish
from shared.launch import shutdown
from shared.run_folder import requests
from shared.run_folder.heartbeat import hold_role, read_status, vacant
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now
from tests.conftest import ROOT, RunMaker, environment, until

CREW = """
import sys, time
from pathlib import Path
from shared.run_folder import requests
from shared.run_folder.run_dir import RunDir
from shared.run_folder.heartbeat import hold_role
run, first = RunDir(Path(sys.argv[1])), sys.argv[2]
with hold_role(run, "supervisor") as supervisor:
    if first == "training":
        with hold_role(run, "trainer") as trainer:
            supervisor.update("training")
            trainer.update("training", step=7)
            print("ready", flush=True)
            while not (asked := requests.open_requests(run, "stop")):
                time.sleep(0.01)
            trainer.update("stopped")
            requests.answer(run, asked[0], "stopped", 7)
            time.sleep(0.3)
    supervisor.update("draining" if first != "serving" else "serving")
    if first != "training":
        print("ready", flush=True)
    if first == "ending":
        sys.stdin.read()
    while first != "ending" and not (asked := requests.open_requests(run, "stop")):
        time.sleep(0.01)
    for request in asked if first != "ending" else ():
        requests.ignore(run, request, "training has ended")
    time.sleep(0.3)
"""
"""A run.py as others see it: `training` drains until it is asked to stop once more, `serving` until it is asked,
`ending` until its standard input is closed."""


@contextmanager
def at_work(run: RunDir, state: str) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CREW, str(run.path), state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def in_the_background(call: Callable[[], object]) -> Generator[Future[object]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


def leave_unevaluated(run: RunDir, *steps: int) -> None:
    run_id = run.read_record().run_id
    for step in steps:
        publish(run.staging, run.snapshot(step), Manifest(kind="snapshot", run_id=run_id, step=step), lambda _: None)


def is_free(run: RunDir) -> bool:
    with vacant(run, "supervisor"), vacant(run, "trainer"):
        return True


def test_after_stop_now_the_folder_is_free_at_once(make_paper_run: RunMaker) -> None:
    run, said = make_paper_run(), list[str]()
    with at_work(run, "training"):
        assert shutdown.stop(run, said.append, 60, now=True) == 0
        assert is_free(run)
    assert said == ["asked the trainer to stop", "stopped after step 7; the same command resumes"]


def test_stop_waits_for_what_is_still_evaluated_and_says_how_to_leave_it(make_paper_run: RunMaker) -> None:
    run, said = make_paper_run(), list[str]()
    leave_unevaluated(run, 2, 4)
    with at_work(run, "training"), in_the_background(lambda: shutdown.stop(run, said.append, 60)) as stopping:
        until(
            lambda: any("still to be evaluated: the base model, 2 snapshots" in text for text in said),
            "the word about what is left",
        )
        assert not stopping.done()
        assert "--now" in said[-1]
        assert shutdown.stop(run, said.append, 60, now=True) == 0, "a second one ends the evaluating"
        assert stopping.result(timeout=60) == 0
        assert is_free(run)


def test_stop_ends_a_run_that_only_keeps_its_dashboard_up(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    with at_work(run, "serving"):
        assert shutdown.stop(run, lambda _: None, 60) == 0
        assert is_free(run)


def test_stop_says_where_nobody_works(make_paper_run: RunMaker) -> None:
    said: list[str] = []
    assert shutdown.stop(make_paper_run(), said.append, 60) == 0, "`stop RUN && train …` goes on"
    assert said[0].startswith("nothing to stop: no trainer is at work in ")


def test_a_run_that_is_ending_is_waited_for_and_then_free(make_paper_run: RunMaker) -> None:
    run, said = make_paper_run(), list[str]()
    leave_unevaluated(run, 2)
    with (
        at_work(run, "ending") as other,
        in_the_background(lambda: shutdown.wait_while_ending(run, said.append)) as waiting,
    ):
        until(lambda: said, "the word about whom it waits for")
        assert f"pid {other.pid} on " in said[0]
        assert "still to be evaluated: the base model, 1 snapshot;" in said[0]
        assert "Ctrl-C gives up" in said[0]
        assert not waiting.done()
        assert other.stdin
        other.stdin.close()
        waiting.result(timeout=60)
        assert is_free(run)
    assert len(said) == 1


def test_a_run_that_was_asked_to_stop_is_waited_for(make_paper_run: RunMaker) -> None:
    run, said = make_paper_run(), list[str]()
    with hold_role(run, "supervisor") as supervisor, hold_role(run, "trainer"):
        supervisor.update("training")
        shutdown.wait_while_ending(run, said.append)
        assert not said, "it trains: taking its role says who has it"
        request = requests.submit_stop(run, "a test")
        with in_the_background(lambda: shutdown.wait_while_ending(run, said.append)) as waiting:
            until(lambda: said, "the word about whom it waits for")
            requests.ignore(run, request, "a test")
            waiting.result(timeout=60)


def test_a_run_that_only_keeps_its_dashboard_up_gives_way(make_paper_run: RunMaker) -> None:
    run, said = make_paper_run(), list[str]()
    with at_work(run, "serving"):
        shutdown.wait_while_ending(run, said.append)
        shutdown.end_display(run, said.append)
        assert is_free(run)
    assert len(said) == 1
    shutdown.end_display(run, said.append)
    assert len(said) == 1


def left_behind(run: RunDir, *, started_after: bool) -> None:
    """The last line that a killed supervisor printed."""
    born = psutil.Process().create_time()
    ProcessStatus(
        role="supervisor",
        run_id="r",
        pid=2**22 + 1,
        host=os.uname().nodename,
        process_started=born - 60 if started_after else born + 60,
        started=utc_now(),
        state="training",
        heartbeat=utc_now(),
    ).write(run.processes / "supervisor.json")


def test_the_trainer_of_a_run_py_that_was_killed_is_waited_for(make_paper_run: RunMaker) -> None:
    run, said = make_paper_run(), list[str]()
    with hold_role(run, "trainer") as trainer:
        left_behind(run, started_after=True)
        with in_the_background(lambda: shutdown.wait_while_ending(run, said.append)) as waiting:
            until(lambda: said, "the word about whom it waits for")
            assert "the trainer of a `run.py` that has exited" in said[0]
            trainer.update("stopped")
            waiting.result(timeout=60)


def test_a_trainer_that_was_there_before_is_nobodys_orphan(make_paper_run: RunMaker) -> None:
    run, said = make_paper_run(), list[str]()
    with hold_role(run, "trainer"):
        left_behind(run, started_after=False)
        shutdown.wait_while_ending(run, said.append)
    assert not said


def test_who_has_said_the_last_word_may_take_a_moment_to_let_go(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    script = CREW.split("with hold_role")[0] + (
        "with hold_role(run, 'trainer') as trainer:\n"
        "    trainer.update('stopped')\n    print('ready', flush=True)\n    time.sleep(0.5)\n"
    )
    command = [sys.executable, "-c", script, str(run.path), "x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        with hold_role(run, "trainer"):
            assert read_status(run, "trainer")
