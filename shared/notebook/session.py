"""One run of a notebook: config, dashboard, training, report, files to take along.

Every method may be called twice, in any order, in this session or the next: what is there is used, nothing is written
over, and what must be done before is said. Programs run in processes of their own, so the kernel never loads torch.
"""

from __future__ import annotations

import contextlib
import html
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from shared.files import paths
from shared.followers import copies
from shared.launch import end_signals
from shared.launch.supervisor import ROOT, wait_until_healthy
from shared.machine import hardware
from shared.notebook import place as places
from shared.notebook.cell_error import CellError
from shared.notebook.place import Place
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.run_dir import RunDir, steps_in

PORT = 8501
POLL_SECONDS = 0.5
START_SECONDS = 180.0
"""For the dashboard to answer, on a machine that is busy with something else."""
LAST_PASS_SECONDS = 600.0
"""For the copy to take what is left when training has ended."""
REPORT_HEIGHT = 900


class Session:
    """`name` is the run's; the same name goes on with the same run, in any session."""

    def __init__(
        self,
        name: str,
        pictures: str,
        model: str,
        *,
        trigger_word: str = "",
        settings: Sequence[str] = (),
        local: str = "",
        kept: str = "",
    ) -> None:
        """Say where things are. settings: `section.key=value`. local, kept: in place of the usual folders."""
        found = places.here()
        self.place = Place(
            found.name,
            Path(paths.expand(local)).resolve() if local else found.local,
            Path(paths.expand(kept)).resolve() if kept else found.kept,
            found.earlier,
            found.seconds,
        )
        self.name, self.pictures, self.model = name, Path(paths.expand(pictures)).resolve(), model
        self.trigger_word, self.settings = trigger_word, tuple(settings)
        self._mount()
        self.runs.mkdir(parents=True, exist_ok=True)
        self.place.home.mkdir(parents=True, exist_ok=True)
        print(f"{self.place.name}: training writes to {self.place.local}, {self._stays()}")  # noqa: T201 - a cell's output
        print(_card())  # noqa: T201

    @property
    def runs(self) -> Path:
        """The folder of run folders, on the local disk."""
        return self.place.local / "runs"

    @property
    def run(self) -> RunDir:
        """The run folder, which need not be there yet."""
        return RunDir(self.runs / self.name)

    @property
    def config(self) -> Path:
        """The run's config."""
        return self.place.home / f"{self.name}.toml"

    def prepare(self) -> None:
        """Look at pictures, model and card, and write the config; one that is there stays. Shows it.

        Raises:
            CellError: `run.py init` has said why not.
        """
        if self.config.is_file():
            _say(f"{self.config} is there and stays; delete it, or change NAME, to write another")
        else:
            words = ["--trigger-word", self.trigger_word] if self.trigger_word else []
            self._command("init", self.pictures, "--model", self.model, "--output", self.config, *words)
        _say(self.config.read_text(encoding="utf-8"))

    def train(self) -> None:
        """Train to the end, or to the end of the session; go on where the last session ended.

        A run that is at work already is waited for. The stop button of the notebook saves and stops.

        Raises:
            CellError: there is no config yet, or `run.py train` has said why not.
        """
        if not self.config.is_file():
            raise CellError(f"there is no {self.config} yet", "run the cell above that calls prepare() first")
        self._restore()
        if is_alive(read_status(self.run, "supervisor")):
            _say("this run is at work already; the cell waits for it")
            self._await_end()
        else:
            limit = [f"stop.max_train_seconds={self.place.seconds}"] if self.place.seconds else []
            places_of_run = [f"run.name={self.name}", f"run.output_dir={self.runs}"]
            words = [*places_of_run, f"data.cache_dir={self.place.local / 'cache'}", *limit, *self.settings]
            self._command("train", self.config, *words, "--no-dashboard", copies=True)
        _say(self._state())

    def dashboard(self, trusted_host: str = "") -> None:
        """Start the dashboard, once, and show it through the notebook's proxy where there is one.

        trusted_host: the name under which a browser reaches this Jupyter server, whose jupyter-server-proxy shows it.
        """
        record = self.place.local / "dashboard.json"
        if (port := _served(record, trusted_host)) is None:
            port = _free_port()
            words = ["--trusted-host", trusted_host] if trusted_host else []
            with (self.place.local / "dashboard.log").open("ab") as log:
                command = _command("dashboard", self.runs, "--port", port, *words)
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(),
                    **end_signals.apart(in_terminal=True),
                )
            if not _answers(process, port):
                raise CellError("the dashboard does not answer", f"read {self.place.local / 'dashboard.log'}")
            facts = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
            record.write_text(json.dumps({**facts, "port": port, "host": trusted_host}), encoding="utf-8")
        self._show(port, trusted_host)

    def report(self) -> None:
        """The run as one page, in the notebook: verdict, pictures, charts. Also written beside the config.

        Raises:
            CellError: there is no run yet, or `run.py report` has said why not.
        """
        self._require_run()
        target = self.place.home / f"{self.name}.html"
        self._command("report", self.run.path, "--output", target)
        page = html.escape(target.read_text(encoding="utf-8"), quote=True)
        _display(f'<iframe srcdoc="{page}" style="width:100%;height:{REPORT_HEIGHT}px;border:0"></iframe>')

    def take(self) -> None:
        """The best snapshot for ComfyUI and A1111, and everything in one zip, beside the config; once a step.

        Raises:
            CellError: there is no verdict yet, or the command has said why not.
        """
        self._require_run()
        best, last = self.run.read_best(), max(steps_in(self.run.snapshots), default=0)
        if best is None:
            raise CellError("there is no verdict yet", "train until a snapshot is evaluated")
        shipped = self.place.home / f"{self.name}-step-{best.step:06d}.safetensors"
        archive = self.place.home / f"{self.name}-step-{last:06d}.zip"
        if not shipped.exists():
            self._command("export", self.run.path, "--step", best.step, "--output", shipped)
        if not archive.exists():
            self._command("archive", self.run.path, "--output", archive)
        for target in (shipped, archive):
            _say(f"{target}: {target.stat().st_size / 1e6:.1f} MB")

    def _mount(self) -> None:
        """Colab's Drive, if the copies lie there; mounted twice, it says so and stays."""
        kept = self.place.kept
        if self.place.name == "Colab" and kept and kept.is_relative_to("/content/drive"):
            importlib.import_module("google.colab.drive").mount("/content/drive")

    def _stays(self) -> str:
        return f"copies go to {self.place.kept}" if self.place.kept else "which stays"

    def _restore(self) -> None:
        """Where this machine is new: the run as the last session's copy has it."""
        if self.run.record.is_file():
            return
        kept = [self.place.kept, *self.place.earlier] if self.place.kept else []
        for copy in (folder / self.name for folder in kept if folder):
            if (copy / "run.json").is_file():
                _say(f"going on with {copy}")
                copies.copy(copy, self.run.path, _say)
                return

    def _require_run(self) -> None:
        self._restore()
        if not self.run.record.is_file():
            raise CellError(f"there is no run {self.name} yet", "run the cell above that calls train() first")

    def _command(self, name: str, *words: object, copies: bool = False) -> None:
        """Run `run.py NAME …` and show what it says; `copies`: and copy the run while it goes on."""
        process = subprocess.Popen(
            _command(name, *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            **end_signals.apart(
                in_terminal=True
            ),  # the notebook's stop button interrupts the kernel, and the kernel tells it
        )
        copying = _Copy(self.run.path, self.place.kept / self.name) if copies and self.place.kept else None
        try:
            _show_lines(process)
        except KeyboardInterrupt:
            _say("stopping: the step is finished and saved; this takes a moment")
            end_signals.send(process, signal.SIGINT)
            _show_lines(process)
        finally:
            if copying:
                copying.finish()
        if code := process.wait():
            raise CellError(f"run.py {name} has ended with exit code {code}", "read what it says above")

    def _await_end(self) -> None:
        """Of a `run.py train` that an earlier kernel started; its copy is kept up with it."""
        copying = _Copy(self.run.path, self.place.kept / self.name) if self.place.kept else None
        try:
            while is_alive(read_status(self.run, "supervisor")):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self._command("stop", self.run.path)
        finally:
            if copying:
                copying.finish()

    def _state(self) -> str:
        trainer = read_status(self.run, "trainer")
        if trainer is None or trainer.step >= trainer.total:
            return f"the run is complete: {self.run.path}"
        again = "run this cell again, or all cells in a new session, to go on"
        return f"step {trainer.step} of {trainer.total} is saved: {again}"

    def _show(self, port: int, host: str) -> None:
        if self.place.name == "Colab":
            importlib.import_module("google.colab.output").serve_kernel_port_as_window(port)
        elif host:
            token = (self.runs / ".dashboard_token").read_text(encoding="utf-8").strip()
            prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/")
            link = html.escape(f"//{host}{prefix}proxy/{port}/?token={token}", quote=True)
            _display(f'<a href="{link}" target="_blank">the dashboard</a>')
        elif self.place.name == "Kaggle":
            _say("Kaggle shows no port of a notebook: report() below shows the same verdict, pictures and charts")
        else:
            _say(f"dashboard: http://127.0.0.1:{port} (on another machine: dashboard('NAME OF THE JUPYTER SERVER'))")


class _Copy:
    """`run.py copy RUN KEPT --follow`, begun as soon as there is a run."""

    def __init__(self, run: Path, kept: Path) -> None:
        self._run, self._kept = run, kept
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._begin, daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        while not (self._run / "run.json").is_file():
            if self._ended.wait(POLL_SECONDS):
                return
        command = _command("copy", self._run, self._kept, "--follow")
        apart = end_signals.apart(in_terminal=True)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=_environment(), **apart)

    def finish(self) -> None:
        """One more pass, then the end; where it cannot be, it says so."""
        self._ended.set()
        self._thread.join()
        if self._process is None:
            return
        end_signals.send(self._process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process.wait(LAST_PASS_SECONDS) == 0:
                _say(f"copied to {self._kept}")
                return
        _say(f"not everything was copied: `python run.py copy {self._run} {self._kept}` copies the rest")


def _environment() -> dict[str, str]:
    """Of `run.py`: lines, as they are said, and as to a file; ipykernel asks for colours, and so for redrawn lines."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _command(name: str, *words: object) -> list[str]:
    return [sys.executable, str(ROOT / "run.py"), name, *map(str, words)]


def _show_lines(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    for line in process.stdout:
        _say(line.rstrip("\n"))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a cell's output


def _display(page: str) -> None:
    shown: Any = importlib.import_module("IPython.display")
    shown.display(shown.HTML(page))


def _card() -> str:
    """The cards, and what stands in their way; torch is asked in a process of its own."""
    cards = hardware.usable_gpus()
    if not cards:
        return "no GPU: choose one in the notebook's settings, or train small things with patience"
    asked = [sys.executable, "-c", "import json, torch; print(json.dumps(torch.cuda.get_arch_list()))"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    built_for = json.loads(done.stdout) if done.returncode == 0 else []
    lines = [f"{card.name}, {card.total_mib / 1024:.1f} GiB" for card in cards]
    return "\n".join([*lines, *filter(None, (places.card_problem(card, built_for) for card in cards))])


def _served(record: Path, host: str) -> int | None:
    """The port of a dashboard that an earlier call has started and that still serves under this name."""
    with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
        facts = json.loads(record.read_text(encoding="utf-8"))
        alive = abs(psutil.Process(facts["pid"]).create_time() - facts["started"]) < 1.0
        if alive and facts["host"] == host and wait_until_healthy(f"http://127.0.0.1:{facts['port']}", seconds=5):
            return int(facts["port"])
    return None


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether a dashboard answers before it ends and before `START_SECONDS`."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if wait_until_healthy(f"http://127.0.0.1:{port}", seconds=2):
            return True
    return False


def _free_port() -> int:
    """8501, or another that is free."""
    for wanted in (PORT, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", wanted)) as server:
            return int(server.getsockname()[1])
    raise CellError("no port is free", "restart the session")
