"""The small parts of the supervisor; tests/integration shows the whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.errors import ConfigError
from shared.files.publication import publish
from shared.followers import alerts, trackers
from shared.launch import hang_watch, supervisor
from shared.launch.listener import Listener
from shared.launch.supervisor import ROOT, Supervisor, child_environment
from shared.run_folder import heartbeat, requests
from shared.run_folder.heartbeat import read_status, vacant
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker


def test_children_find_our_packages_first_and_hold_the_parent_pipe(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("HOME", "/home/someone")
    run = make_paper_run()
    environment = child_environment(run)
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/elsewhere"]
    assert environment["DARKROOM_PARENT_PIPE"] == "1"
    assert environment["HOME"] == "/home/someone"
    assert (environment["DARKROOM_RUNS"], environment["DARKROOM_RUN"]) == (str(run.path.parent), run.path.name)
    monkeypatch.delenv("PYTHONPATH")
    assert child_environment(None)["PYTHONPATH"] == str(ROOT)
    assert "DARKROOM_RUN" not in child_environment(None)


FAKES = {
    "trainer": "pass",
    "evaluator": "import time; time.sleep(600)",
    "dashboard": "import time; time.sleep(600)",
    "shared.followers": "import sys; sys.exit('error: no answer')",
}


@pytest.fixture
def supervise(make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[..., list[str]]]:
    """Supervise a run of which a snapshot waits to be evaluated, by programs that do nothing; returns what was said."""

    def fake(module: str, *_: object) -> list[str]:
        return [sys.executable, "-c", FAKES[module]]

    monkeypatch.setattr(supervisor, "python_module", fake)
    monkeypatch.setattr(trackers, "command", lambda *_: fake("shared.followers"))
    monkeypatch.setattr(Listener, "command", property(lambda _: fake("dashboard")))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def start(when: str, trackers: Sequence[str] = (), **options: object) -> list[str]:
        """`when`: the state of the supervisor in which a stop is asked for."""
        run, said = make_paper_run(dashboard={"port": 0}, run={"trackers": trackers}), list[str]()
        snapshot = Manifest(kind="snapshot", run_id=run.read_record().run_id, step=2)
        publish(run.staging, run.snapshot(2), snapshot, lambda _: None)
        asked = list[object]()

        def render() -> None:
            status = read_status(run, "supervisor")
            if not asked and status and status.state == when:
                asked.append(requests.submit_stop(run, "a test"))

        given: dict[str, Any] = {"with_evaluator": True, "with_dashboard": True, "linger": False, **options}
        whole = Supervisor(run, run.read_config(), said.append, render, lambda _: None, **given)
        assert whole.supervise() == 0
        assert requests.open_requests(run, "stop") == []
        with vacant(run, "supervisor"):
            return said

    yield start
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_stop_asked_for_while_the_rest_is_evaluated_leaves_it(supervise: Callable[..., list[str]]) -> None:
    assert "not evaluated: the base model, 1 snapshot; run the same command again to evaluate them" in supervise(
        "draining"
    )


def test_a_stop_asked_for_while_only_the_dashboard_is_up_ends_it(supervise: Callable[..., list[str]]) -> None:
    said = supervise("serving", linger=True, with_evaluator=False)
    assert any("the dashboard stays at http://127.0.0.1:" in text for text in said)
    assert not any("is taken" in text for text in said), "port 0 asks for any"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_one_that_is_stopped_before_it_began_waits_for_no_evaluator_that_still_loads(
    supervise: Callable[..., list[str]],
    make_paper_run: RunMaker,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    """F37: SIGHUP is what a terminal sends that is closed."""
    monkeypatch.setitem(FAKES, "trainer", FAKES["evaluator"])
    run, said, signalled = make_paper_run("stopped"), list[str](), list[object]()

    def render() -> None:
        if not signalled and (status := read_status(run, "supervisor")) and status.state == "training":
            signalled.append(signal.raise_signal(number))

    whole = Supervisor(run, run.read_config(), said.append, render, lambda _: None, with_dashboard=False)
    assert whole.supervise() == 0
    assert f"{number.name}: training stops after this step; a second signal ends it at once" in said
    assert "stopped before training began" in said
    assert supervise


SLEEPS = "import time; time.sleep(600)"
STARTS_ANOTHER = f"""
import subprocess, sys, time
from pathlib import Path
other = subprocess.Popen([sys.executable, "-c", {SLEEPS!r}], start_new_session=True)
Path({{place!r}}).write_text(str(other.pid))
time.sleep(600)
"""


def test_what_a_program_has_started_ends_with_it_also_in_a_session_of_its_own_and_a_bystander_lives(
    supervise: Callable[..., list[str]], make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """F35."""
    place = tmp_path / "pid"
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.5)
    monkeypatch.setitem(FAKES, "trainer", SLEEPS)
    monkeypatch.setitem(FAKES, "evaluator", STARTS_ANOTHER.format(place=str(place)))
    run, signalled = make_paper_run("family"), list[object]()

    def render() -> None:
        if not signalled and place.exists() and place.read_text():
            signalled.append(signal.raise_signal(signal.SIGINT))

    with subprocess.Popen([sys.executable, "-c", SLEEPS]) as bystander:
        whole = Supervisor(run, run.read_config(), lambda _: None, render, lambda _: None, with_dashboard=False)
        assert whole.supervise() == 0
        left = psutil.Process(int(place.read_text())) if psutil.pid_exists(int(place.read_text())) else None
        assert left is None or left.status() == psutil.STATUS_ZOMBIE
        assert bystander.poll() is None
        bystander.kill()
    assert supervise


def test_a_tracker_that_fails_is_said_and_never_fails_the_run(supervise: Callable[..., list[str]]) -> None:
    said = supervise("never", trackers=["one", "two"], with_evaluator=False, with_dashboard=False)
    for name in ("tracker-one", "tracker-two"):
        assert any(name in text and "error: no answer" in text for text in said), said


def test_nothing_is_started_where_the_dashboard_cannot_listen(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_paper_run(dashboard={"host": "203.0.113.1"})
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(ConfigError, match="cannot listen"):
        Supervisor(run, run.read_config(), lambda _: None, lambda: None, lambda _: None).supervise()
    assert not list(run.logs.glob("*.log"))


ERROR = ["error: new", "       p1: the picture", "hint: mend it"]


@pytest.mark.parametrize("said", [[], ERROR], ids=["killed", "an error of several lines"])
def test_only_what_a_program_said_since_it_was_started_is_told(make_paper_run: RunMaker, said: list[str]) -> None:
    run = make_paper_run()
    log = run.logs / "trainer.log"
    log.write_text("error: an earlier start's\nhint: its cure\n")
    whole = Supervisor(run, run.read_config(), lambda _: None, lambda: None, lambda _: None)
    whole._start("trainer", [sys.executable, "-c", f"import sys; sys.exit({chr(10).join(said)!r})"])
    whole._children["trainer"].process.wait()
    assert whole._last_words("trainer") == ("\n".join(said) or f"see {log}")


def test_a_program_that_fails_again_and_again_is_given_up(
    supervise: Callable[..., list[str]], make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAKES, "evaluator", "raise SystemExit(1)")
    run, said = make_paper_run("failing"), list[str]()
    snapshot = Manifest(kind="snapshot", run_id=run.read_record().run_id, step=2)
    publish(run.staging, run.snapshot(2), snapshot, lambda _: None)
    whole = Supervisor(run, run.read_config(), said.append, lambda: None, lambda _: None, with_dashboard=False)
    assert whole.supervise() == 1
    assert said.count("the evaluator ended with code 1; starting it again") == supervisor.MAX_RESTARTS
    assert [text for text in said if text.startswith("the evaluator ended with code 1 and is not started again")]
    assert supervise


def test_a_trainer_that_fails_is_not_started_again(
    supervise: Callable[..., list[str]], make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAKES, "trainer", "raise SystemExit(7)")
    run, said = make_paper_run("failing"), list[str]()
    programs = {"with_dashboard": False, "with_evaluator": False}
    assert Supervisor(run, run.read_config(), said.append, lambda: None, lambda _: None, **programs).supervise() == 7
    assert [text.partition(":")[0] for text in said] == ["the trainer ended with code 7"]
    assert supervise


def test_a_restart_is_not_tried_for_errors_it_cannot_cure() -> None:
    assert {2, 5} == supervisor.PERMANENT


@pytest.mark.parametrize("trains_on", ["", "ray"])
@pytest.mark.parametrize("with_evaluator", [True, False])
def test_the_trainer_is_told_when_no_evaluator_shares_its_machine(
    make_paper_run: RunMaker, trains_on: str, with_evaluator: bool
) -> None:
    run = make_paper_run()
    programs: dict[str, Any] = {"trains_on": trains_on, "with_evaluator": with_evaluator}
    whole = Supervisor(run, run.read_config(), lambda _: None, lambda: None, lambda _: None, **programs)
    assert ("--alone" in whole._trainer) is not with_evaluator


HANGS = """
import os, signal, sys, time
from pathlib import Path
from shared import stacks
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import RunDir
stacks.print_when_asked()
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def waits_for_ever():
    time.sleep(600)

tries = Path({tries!r})
with hold_role(RunDir(Path({run!r})), {role!r}) as status, tries.open("a") as file:
    file.write(str(os.getpid()) + " ")
    file.flush()
    status.update("training", step=2)
    if len(tries.read_text().split()) <= {number}:
        waits_for_ever()
    time.sleep({then})
    status.update("finished")
"""


@pytest.fixture
def hanging(
    supervise: Callable[..., list[str]], make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, list[str], RunDir]]:
    """Supervise a trainer that hangs so many times; the exit code, what was said, the run."""
    assert supervise

    def start(
        number: int, hang_seconds: float | bool = 0.4, then: float = 0.0, meanwhile: Callable[[], object] = bool
    ) -> tuple[int, list[str], RunDir]:
        monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.2)
        monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.1)
        monkeypatch.setattr(hang_watch, "FIRST_STEP", 1.0)
        monkeypatch.setitem(hang_watch.ALLOWANCES, None, 60.0)
        run, said = make_paper_run("hanging", run={"hang_seconds": hang_seconds}), list[str]()
        program = HANGS.format(
            run=str(run.path), tries=str(tmp_path / "tries"), role="trainer", number=number, then=then
        )
        monkeypatch.setitem(FAKES, "trainer", program)
        programs: dict[str, Any] = {"with_dashboard": False, "with_evaluator": False}
        whole = Supervisor(
            run, run.read_config(), said.append, lambda: meanwhile() and None, lambda _: None, **programs
        )
        return whole.supervise(), said, run

    return start


def hangs(said: list[str]) -> list[str]:
    """What is said of programs that are ended or started again."""
    return [text for text in said if "has done nothing" in text or "again" in text]


def test_a_trainer_that_hangs_says_where_is_ended_and_started_again(
    hanging: Callable[..., tuple[int, list[str], RunDir]], tmp_path: Path
) -> None:
    """F11: it does not even hear SIGTERM."""
    code, said, run = hanging(1)
    assert code == 0
    log = run.logs / "trainer.log"
    assert said[0].startswith("the trainer has done nothing for ")
    assert said[0].endswith(f" s (training at step 2), so it is ended; where it hung is in {log}")
    assert said[1] == "the trainer ended with code -9; starting it again"
    assert "in waits_for_ever" in log.read_text()
    assert len((tmp_path / "tries").read_text().split()) == 2
    status = read_status(run, "supervisor")
    assert status
    assert status.notices == (said[0],)
    assert said[0] in [str(alert) for alert in alerts.in_run(run, datetime.now(UTC))]


def test_a_trainer_that_hangs_again_and_again_at_one_step_is_given_up(
    hanging: Callable[..., tuple[int, list[str], RunDir]], tmp_path: Path
) -> None:
    code, said, _ = hanging(99, hang_seconds=0.2)
    assert code == 1
    assert said[-1].startswith("the trainer ended with code -9 and is not started again: ")
    pids = [int(pid) for pid in (tmp_path / "tries").read_text().split()]
    assert len(pids) == 1 + supervisor.MAX_RESTARTS
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_a_trainer_that_is_stopped_for_longer_than_the_limit_goes_on(
    hanging: Callable[..., tuple[int, list[str], RunDir]], tmp_path: Path
) -> None:
    tries, times = tmp_path / "tries", list[float]()

    def hold() -> None:
        if not times and tries.exists() and tries.read_text():
            os.kill(int(tries.read_text()), signal.SIGSTOP)
            times.append(time.monotonic() + 2.0)
        elif len(times) == 1 and time.monotonic() > times[0]:
            os.kill(int(tries.read_text()), signal.SIGCONT)
            times.append(0.0)

    code, said, _ = hanging(0, hang_seconds=1.0, then=0.5, meanwhile=hold)
    assert (code, hangs(said)) == (0, [])
    assert len(times) == 2


def test_where_the_setting_is_false_nothing_is_ended(hanging: Callable[..., tuple[int, list[str], RunDir]]) -> None:
    code, said, _ = hanging(0, hang_seconds=False, then=1.5)
    assert (code, hangs(said)) == (0, [])
