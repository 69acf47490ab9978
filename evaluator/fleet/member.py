"""One evaluator of a fleet, in a process of its own on some machine of the cluster: a worker, and who it is.

Runs as an actor of Ray. What it needs lies in the run folder, which every machine sees under the same path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from evaluator.__main__ import build
from evaluator.worker import Worker
from shared.config.schema import Config
from shared.errors import CURABLE_ERRNOS, ConfigError, DarkroomError, RunFolderError
from shared.machine import sources
from shared.machine.recorder import recorded
from shared.run_folder.heartbeat import Status, hold_slot
from shared.run_folder.pending import Work
from shared.run_folder.run_dir import RunDir

THREADS = "OMP_NUM_THREADS"
"""Ray sets it for its workers; sums, and therefore results, depend on it (`tasks.devices.share_cores`)."""


@dataclass(frozen=True)
class Facts:
    """Who a member is: with these its claims are found when it has died."""

    host: str
    pid: int
    process_started: float
    device: str


@dataclass(frozen=True)
class Refusal:
    """Why a machine cannot evaluate this run."""

    error: DarkroomError


@dataclass(frozen=True)
class Done:
    """What has become of a piece of work."""

    status: str
    """`ok`, `failed`, `out of memory`, or `nothing`: another evaluator has done it."""
    reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    memory: Mapping[str, float] = field(default_factory=dict[str, float])
    error: DarkroomError | None = None
    """Nothing can be published: the disk is full, say."""


@dataclass(frozen=True)
class News:
    """What became of a work that a member was given."""

    work: Work
    where: str
    """The machine."""
    done: Done | None
    """None: the member died, or failed by a defect."""
    reason: str = ""
    """Why."""


class Member:
    """Loads the model once, then takes work until its process ends."""

    def __init__(self, run: Path, run_id: str, settings: Sequence[str], threads: str | None) -> None:
        """threads: OMP_NUM_THREADS of the program that gives the work; None: it has none."""
        os.environ.pop(THREADS, None)
        if threads is not None:
            os.environ[THREADS] = threads
        self._run, self._run_id, self._settings = RunDir(run), run_id, list(settings)
        self._held = contextlib.ExitStack()
        self._worker: Worker | None = None

    def prepare(self, versions: Mapping[str, str]) -> Facts | Refusal:
        """Check that this machine can do the work, and load the model. versions: of the program that gives the work."""
        try:
            self._require_same(versions)
            status = self._held.enter_context(hold_slot(self._run, "evaluator"))
            self._held.enter_context(recorded(self._run))
            log_to(self._run, status)
            config = of_own_device(self._run.read_config(self._settings))
            worker = Worker(self._run, status, config, lambda: build(self._run, config), lambda: True)
            device = str(worker.evaluator.evaluation.device)
        except DarkroomError as error:
            self._held.close()
            return Refusal(error)
        self._worker = worker
        status.update("idle", message="one of a fleet")
        return Facts(socket.gethostname(), os.getpid(), psutil.Process().create_time(), device)

    def take(self, work: Work, name: str, message: str, *, patient: bool) -> Done:
        """Evaluate one piece of work under its claim, and publish the result."""
        assert self._worker
        try:
            taken = self._worker.take(work, name, message, patient=patient)
        except OSError as error:
            if error.errno not in CURABLE_ERRNOS:
                raise
            text = f"cannot write {error.filename or 'a result'} on {socket.gethostname()}: {error.strerror}"
            hint = "make room or allow writing there; then run the same command again, which goes on"
            return Done("nothing", error=DarkroomError(text, hint))
        finally:
            self._worker.status.update("idle")
        if taken == "out of memory":
            return Done("out of memory")
        if taken is None:
            return Done("nothing")
        return Done(taken.status, taken.reason, taken.seconds, taken.memory)

    def leave(self) -> None:
        """Say in the run folder that this evaluator has ended."""
        self._held.close()

    def _require_same(self, versions: Mapping[str, str]) -> None:
        own = sources.versions()
        others = [
            f"{name} {own.get(name)} in place of {version}"
            for name, version in versions.items()
            if own.get(name) != version
        ]
        if others:
            raise ConfigError(
                f"it has {', '.join(others)}",
                "install the same versions on every machine: one environment on the shared folder, or one image",
            )
        if not self._run.record.is_file() or self._run.read_record().run_id != self._run_id:
            raise RunFolderError(
                f"it does not see the run folder {self._run.path}",
                "put the run folder on a file system that every machine has under the same path",
            )


def of_own_device(config: Config) -> Config:
    """Ray shows a member its own GPU only, as the first; no trainer shares it."""
    settings = config.evaluation
    kind = settings.device.partition(":")[0]
    return config.model_copy(update={"evaluation": settings.model_copy(update={"device": kind, "turns": False})})


def log_to(run: RunDir, status: Status) -> None:
    """A log of its own in the run folder, named like its record."""
    handler = logging.FileHandler(run.logs / f"{status.name}.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
