"""Starts the three programs of a run, watches them, and ends them in the right order.

Trainer done → evaluator evaluates what is left → dashboard last. A dead evaluator or dashboard is started again while
it makes progress; training never waits for either. A trainer or evaluator that hangs is ended and started again. A stop
is asked of the trainer; children die with the supervisor because it holds the other end of their standard input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil

from shared import stacks
from shared.config.schema import Config
from shared.followers import trackers
from shared.launch import end_signals, parent_watch
from shared.launch.fleet import Fleet
from shared.launch.hang_watch import Hang, HangWatch
from shared.launch.left import left, named
from shared.launch.listener import Listener, listen
from shared.launch.process_group import ProcessGroup, places
from shared.run_folder import requests
from shared.run_folder.heartbeat import Status, hold_role, read_status, read_statuses
from shared.run_folder.pending import at_other_strengths, left_to_evaluate, unconfirmed, unevaluated, without_average
from shared.run_folder.records.process_status import Role
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import listed

ROOT = Path(__file__).resolve().parents[2]
MAX_RESTARTS = 3
GRACE_SECONDS = 10.0
POLL_SECONDS = 0.2
TRACKER = "tracker-"
TRACKER_SECONDS = 30.0
"""For trackers to deliver what is left when everything is evaluated."""
MODEL_SECONDS = 1800.0
"""For those that have begun to deliver the best snapshot, which may be large."""
LAST_LINES = 20
CONTINUED = " " * 7
"""How the further lines of an error begin."""
END_SIGNALS = {"evaluator": signal.SIGINT}  # TERM would let it evaluate all that is left
KILL_SECONDS = 10.0
"""For a process to end after KILL. One that waits for a drive or a driver takes longer."""
STACKS_SECONDS = 1.0
"""For a program to print where it is."""
PERMANENT = frozenset({2, 5})  # exit codes of errors a restart cannot cure

Say = Callable[[str], None]
Render = Callable[[], None]


@dataclass
class Child:
    """One program we started."""

    name: str
    """A role, or `tracker-NAME`: its log has the same name."""
    command: list[str]
    process: ProcessGroup
    restarts: int = 0
    progress: int = 0
    log_start: int = 0
    """Bytes its log held before: what earlier ones said is not repeated."""


@dataclass
class Supervisor:
    """Runs one run folder to its end. `say` gets events in words, `render` is called a few times a second.

    `on_evaluated` is called once, with the trainer's exit code, when nothing is left to train or to evaluate. Where
    another program trains, an importer takes the trainer's part.
    """

    run: RunDir
    config: Config
    say: Say
    render: Render
    on_evaluated: Callable[[int], None]
    importer: list[str] | None = None
    """The command of the program that takes another trainer's snapshots, in place of ours."""
    trains_on: str = ""
    """The cluster where it is trained, as `shared.cluster.address` reads it; empty: on this machine."""
    fleet: Fleet = field(default_factory=Fleet)
    """Where it is evaluated."""
    with_evaluator: bool = True
    with_dashboard: bool = True
    linger: bool = False
    _listener: Listener | None = None
    _children: dict[str, Child] = field(default_factory=dict[str, Child])
    _signals: list[str] = field(default_factory=list[str])
    _failures: dict[str, int] = field(default_factory=dict[str, int])
    _stopped_early: bool = False
    _status: Status | None = None

    def __post_init__(self) -> None:
        """The watch keeps what it has seen."""
        self._hangs = HangWatch(self.run, self.config.run.hang_seconds, self.config.evaluation.rescan_seconds)

    def supervise(self) -> int:
        """Train, evaluate and show; returns the exit code: the trainer's, else the evaluator's."""
        with hold_role(self.run, "supervisor") as status:
            self._status = status
            for number in end_signals.ending():
                signal.signal(number, self._on_signal)
            try:
                self._listen()
                self._start_all()
                status.update("training")
                trained = self._until_trained()
                status.update("draining")
                self._answer_stops()
                self._until_evaluated()
                self.render()
                self.on_evaluated(trained)
                if not self._signals:
                    status.update("serving")
                    self._await_trackers()
                    self._linger()
                return trained or self._failures.get("evaluator", 0)
            finally:
                self._end_all()

    def _start_all(self) -> None:
        self._start(self._maker, self.importer or self._trainer)
        if self.with_evaluator:
            self._start("evaluator", python_module(*self.fleet.evaluator(self.run.path, "--follow")))
        for name in self._trackers:
            tracker = name.removeprefix(TRACKER)
            self._start(name, trackers.command(tracker, self.run.path, tracker))
        if self._listener:
            self._start("dashboard", self._listener.command)
            self.say(f"dashboard: {self._listener.link}")

    @property
    def _trainer(self) -> list[str]:
        alone = [] if self.with_evaluator else ["--alone"]
        if self.trains_on:
            return python_module("trainer.cluster", self.run.path, "--on", self.trains_on, *alone)
        return python_module("trainer", self.run.path, *alone)

    @property
    def _maker(self) -> Role:
        """The program that makes the snapshots."""
        return "importer" if self.importer else "trainer"

    @property
    def _trackers(self) -> list[str]:
        """The names of their programs."""
        return [f"{TRACKER}{name}" for name in dict.fromkeys(self.config.run.trackers)]

    def _listen(self) -> None:
        """Take the dashboard's port, which stays ours until the end."""
        if self.with_dashboard:
            wanted, port = self.config.dashboard, self.config.dashboard.port
            self._listener = listen(
                wanted.host, port, wanted.trusted_hosts, wanted.base_path, wanted.frame_ancestors, self.run.path.parent
            )
            if port and self._listener.port != port:
                self.say(f"port {port} is taken, the dashboard uses {self._listener.port}")

    def _until_trained(self) -> int:
        """Watch until the trainer has ended; returns its exit code, 1 if a signal ended it."""
        num_stops = 0
        while (code := self._children[self._maker].process.poll()) is None:
            self._pause()
            self._keep_up("evaluator", "dashboard", *self._trackers)
            num_stops += self._forward_stop()
            self._end_what_hangs("evaluator")
            if not num_stops:
                self._end_what_hangs(self._maker)
        if code == -signal.SIGTERM and num_stops == 1:
            self._stopped_early = True
            self.say("stopped before the first LoRA was taken" if self.importer else "stopped before training began")
            return 0
        if code and self._maker not in self._failures:
            self.say(f"the {self._maker} ended with code {code}: {self._last_words(self._maker)}")
        elif not code:
            self._say_why_it_stopped()
        return code if code >= 0 else 1

    def _say_why_it_stopped(self) -> None:
        trainer = read_status(self.run, "trainer")
        if trainer and trainer.state == "stopped":
            self.say(f"training stopped after step {trainer.step} of {trainer.total}: {trainer.message}")
        elif trainer and not self.with_evaluator:
            command = f"`python run.py evaluate {self.run.path}`"
            self.say(f"training finished at step {trainer.step}; {command} evaluates its snapshots")

    def _until_evaluated(self) -> None:
        """Let the evaluator evaluate what is left; one that died is started again for that. A signal cuts it short."""
        if "evaluator" not in self._children:
            return
        if waiting := named(unevaluated(self.run)):
            ended = "no further LoRAs are awaited" if self.importer else "training has ended"
            self.say(f"{ended}; still to be evaluated: {waiting} (Ctrl-C leaves them)")
        self._children["evaluator"].command = python_module(*self.fleet.evaluator(self.run.path, "--once"))
        drains, announced = False, set[str]()
        while "evaluator" not in self._failures and not self._signals:
            if self._stopped_early and not (left_to_evaluate(self.run) or self._hears("evaluator")):
                return  # it may still load for a while, and would do nothing
            drains = drains or self._drain()
            self._announce(announced)
            if self._children["evaluator"].process.poll() is not None:
                if not left_to_evaluate(self.run):
                    return
                self._keep_up("evaluator")
            self._pause_after_training()
            self._keep_up("dashboard", *self._trackers)
            self._end_what_hangs("evaluator")
        if rest := left(self.run):
            self.say(f"not evaluated: {rest}; run the same command again to evaluate them")

    def _announce(self, announced: set[str]) -> None:
        """Say of each of the last stages that it begins. announced: those that have begun."""
        averages, again = without_average(self.run), unconfirmed(self.run)
        stages = {
            "averages": f"evaluating averages of neighbouring snapshots: {len(averages)} waiting" if averages else "",
            "again": f"evaluating the best again: {named(again)}" if again else "",
        }
        if others := at_other_strengths(self.run):
            stages["strengths"] = f"drawing the best at other strengths: {len(others)} waiting"
        for stage, sentence in stages.items():
            if sentence and stage not in announced:
                announced.add(stage)
                self.say(f"{sentence} (Ctrl-C leaves them)")

    def _drain(self) -> bool:
        """Tell the evaluator to end when nothing is left, once it can hear: one that still loads would just die."""
        if not self._hears("evaluator"):
            return False
        self._children["evaluator"].process.send_signal(signal.SIGTERM)
        return True

    def _hears(self, role: Role) -> bool:
        """Whether it has loaded, so that it understands signals."""
        process = self._children[role].process
        return any(status.pid in process.pids for status in read_statuses(self.run, role).values())

    def _await_trackers(self) -> None:
        """They see that the run is over, deliver the rest and end; one that takes too long is ended with the others."""
        begun, announced = time.monotonic(), False
        waiting = [name for name in self._trackers if name not in self._failures]
        while waiting and not self._signals and time.monotonic() - begun < MODEL_SECONDS:
            self._pause_after_training()
            for name in [name for name in waiting if self._children[name].process.poll() is not None]:
                waiting.remove(name)
                if code := self._children[name].process.poll():
                    self.say(f"{name} ended with code {code}: {self._last_words(name)}")
            if time.monotonic() - begun >= TRACKER_SECONDS:
                waiting = [name for name in waiting if self._delivers_model(name)]
                if waiting and not announced:
                    announced = True
                    self.say(f"waiting for {', '.join(waiting)} to deliver the best snapshot (Ctrl-C leaves it)")

    def _delivers_model(self, name: str) -> bool:
        status = read_status(self.run, "tracker", name.removeprefix(TRACKER))
        return status is not None and status.state == "saving"

    def _linger(self) -> None:
        """Leave the dashboard up until a signal, where someone is there to look at it."""
        if not (self.linger and self._listener and "dashboard" not in self._failures):
            return
        self.say(f"the dashboard stays at {self._listener.link}; Ctrl-C ends it")
        while not self._signals and "dashboard" not in self._failures:
            self._pause_after_training()
            self._keep_up("dashboard")

    def _pause_after_training(self) -> None:
        """A request to stop now means what a signal does: end, and leave what is not evaluated."""
        self._pause()
        if self._answer_stops():
            self._signals.append("stop")

    def _answer_stops(self) -> bool:
        """Answer stop requests for a trainer that has exited; returns whether there was any such request."""
        waiting = requests.open_requests(self.run, "stop")
        for request in waiting:
            requests.ignore(self.run, request, "training has ended")
        return bool(waiting)

    def _pause(self) -> None:
        self.render()
        time.sleep(POLL_SECONDS)

    def _forward_stop(self) -> int:
        """Pass each signal on to the trainer: the first ends it cleanly, the second at once. Returns how many."""
        names, self._signals = self._signals, []
        for name in names:
            ends = "no further LoRAs are taken" if self.importer else "training stops after this step"
            self.say(f"{name}: {ends}; a second signal ends it at once")
            self._children[self._maker].process.send_signal(signal.SIGTERM)
        return len(names)

    def _keep_up(self, *names: str) -> None:
        """Start programs again that ended by themselves, unless that cannot help."""
        for name in names:
            child = self._children.get(name)
            if child and name not in self._failures and (code := child.process.poll()) is not None:
                self._start_again(child, code)

    def _start_again(self, child: Child, code: int) -> None:
        name = child.name
        progress = self._progress(name)
        child.restarts = 0 if progress > child.progress else child.restarts
        if code in PERMANENT or child.restarts >= MAX_RESTARTS:
            self._failures[name] = code if code > 0 else 1
            self.say(f"the {name} ended with code {code} and is not started again: {self._last_words(name)}")
            if name == "dashboard" and self._listener:
                self._listener.close()  # so that a browser is refused and does not wait for ever
            return
        self.say(f"the {name} ended with code {code}; starting it again")
        child.process.close()
        self._start(name, child.command, restarts=child.restarts + 1, progress=progress)

    def _progress(self, name: str) -> int:
        """What has been done: a program that is started again and again without more of it is given up."""
        if name == "trainer":
            return max(listed(self.run.train_csv), default=0)
        kinds = (self.run.evaluations, self.run.confirmations, *self.run.strengths.glob("*"))
        return sum(len(steps_in(folder)) for folder in kinds)

    def _end_what_hangs(self, role: Role) -> None:
        """End a program that hangs, and start it again; those of a cluster are its own to watch."""
        child = self._children.get(role)
        is_here = not (self.trains_on if role == "trainer" else self.fleet.on)
        if child and is_here and role not in self._failures and child.process.poll() is None:
            hang = self._hangs.look(role, child.process.pids)
            if hang:
                self._end_hung(child, role, hang)

    def _end_hung(self, child: Child, role: Role, hang: Hang) -> None:
        """Its stacks go to its log first. The trainer resumes from its last checkpoint."""
        asked = [stacks.ask(pid) for pid in child.process.pids]
        time.sleep(STACKS_SECONDS if any(asked) else 0.0)
        where = f"; where it hung is in {self.run.logs / f'{role}.log'}" if any(asked) else ""
        text = f"the {role} {hang}, so it is ended{where}"
        self.say(text)
        if self._status:
            self._status.notice(text)
        self._end([child])
        self._hangs.forget(role)
        if child.process.pids:
            self.say(
                f"the {role} cannot be ended: it waits for a drive or a driver; end it by hand, or restart the machine"
            )
        else:
            self._start_again(child, child.process.poll() or 0)

    def _start(self, name: str, command: list[str], restarts: int = 0, progress: int = 0) -> None:
        with (self.run.logs / f"{name}.log").open("ab") as log:
            log_start = log.tell()
            members = [
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**self._environment(name), **place},
                    pass_fds=self._listener.descriptors if self._listener and name == "dashboard" else (),
                    **end_signals.apart(),
                )
                for place in places(self.config.train.num_processes if name == "trainer" and not self.trains_on else 1)
            ]
        if self._listener and name == "dashboard":
            self._listener.hand_over(members[0])
        self._children[name] = Child(name, command, ProcessGroup(members, GRACE_SECONDS), restarts, progress, log_start)

    def _environment(self, name: str) -> dict[str, str]:
        """The dashboard alone is told the token."""
        admission = self._listener.admission.environment() if self._listener and name == "dashboard" else {}
        return child_environment(self.run) | admission

    def _end_all(self) -> None:
        """Every process we started and what those started."""
        self._end([child for child in self._children.values() if child.process.poll() is None])
        if self._listener:
            self._listener.close()

    def _end(self, children: Sequence[Child]) -> None:
        """A signal, a grace period, KILL."""
        tree = [process for child in children for process in _tree(child.process.pids)]
        for child in children:
            child.process.send_signal(END_SIGNALS.get(child.name, signal.SIGTERM))
        for process in _wait(children, tree, GRACE_SECONDS):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _wait(children, tree, KILL_SECONDS)

    def _last_words(self, name: str) -> str:
        """The errors and hints a program left in its log since it was started, or where to read more."""
        log = self.run.logs / f"{name}.log"
        with log.open("rb") as file:
            file.seek(self._children[name].log_start)
            lines = file.read().decode(errors="replace").splitlines()
        messages = list(dict.fromkeys(line for line in lines if line.startswith(("error: ", CONTINUED, "hint: "))))
        return "\n".join(messages[-LAST_LINES:]) if messages else f"see {log}"

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        end_signals.leave_terminal()  # SIGHUP: it was closed
        self._signals.append(signal.Signals(number).name)


def python_module(module: str, *arguments: object) -> list[str]:
    """`python -m module …` with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def child_environment(run: RunDir | None) -> dict[str, str]:
    """This environment with our packages first on the path and the parent pipe attached; `run` is shown first.

    A package of the current folder that is called like one of ours is not imported (`PYTHONSAFEPATH`).
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        parent_watch.VARIABLE: "1",
        **({"DARKROOM_RUNS": str(run.path.parent), "DARKROOM_RUN": run.path.name} if run else {}),
    }


def wait_until_healthy(url: str, seconds: float) -> bool:
    """Whether the dashboard answers within `seconds`; asked directly, whatever proxy the environment names."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with direct.open(f"{url}/_stcore/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            time.sleep(POLL_SECONDS)
    return False


def _tree(pids: Iterable[int]) -> list[psutil.Process]:
    """These processes and what they have started."""
    processes: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            processes += [process, *process.children(recursive=True)]
    return processes


def _wait(children: Sequence[Child], tree: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Until all of them have ended, for so long; those that are left. psutil does not wait for our own
    children: it would keep their exit codes to itself."""
    deadline = time.monotonic() + seconds
    while True:
        ended = [child.process.poll() is not None for child in children]  # later than as a zombie, by its threads
        left = [process for process in tree if _runs(process)]
        if (all(ended) and not left) or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
