"""`python tests/warm.py`: has imported torch and diffusers once, and forks itself for every program a test starts.

One JSON line in, `{"module": …, "argv": […], "stdout": …, "stderr": …, "prelude": …, "environment": {…}}`, with
`"terminal": …` for a program that has this terminal in place of the two files; one line
out, the pid of the new process. `{"wait": pid}` answers its exit code (negative: the signal) once it has ended, null
while it has not. The programs are real processes with signals, locks and exit codes of their own; only the seconds of
import are shared, also by the programs that `run.py` starts in its turn.
"""

from __future__ import annotations

import concurrent.futures.thread
import contextlib
import gc
import importlib
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

HEAVY = {"trainer", "evaluator", "tasks"}
"""Packages with torch in them."""
MAX_DESCRIPTORS = 4096

for name in (
    "trainer.__main__",
    "evaluator.__main__",
    "tasks.text_to_image.training",
    "tasks.text_to_image.evaluation",
    "torch._dynamo",
    "scipy.ndimage",
    "skimage.color",
):
    importlib.import_module(name)

import torch  # noqa: E402
from diffusers import StableDiffusionPipeline  # noqa: E402
from peft import LoraConfig  # noqa: E402
from transformers import CLIPModel  # noqa: E402

POCKET = Path(__file__).resolve().parents[1] / "pocket"


def load_once() -> None:
    """What is imported and compiled when a model is loaded for the first time is inherited as well."""
    with torch.random.fork_rng():
        pipeline = StableDiffusionPipeline.from_pretrained(POCKET / "stable-diffusion")
        pipeline.unet.add_adapter(LoraConfig(r=1, target_modules=["to_q"]))
        CLIPModel.from_pretrained(POCKET / "clip")


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        answer = wait(request["wait"]) if "wait" in request else start(request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def start(request: dict) -> int:
    pid = os.fork()
    if pid == 0:
        become(request)
    return pid


def become(request: dict) -> None:
    """Turn this fork into the program; never returns."""
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if terminal := request.get("terminal"):
        for target in (0, 1, 2):  # the first terminal that the head of a session opens is its own
            os.dup2(os.open(terminal, os.O_RDWR), target)
    else:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for target, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), target)
    os.environ.update(request["environment"])
    if request["module"] == "run":
        subprocess.Popen = Forked
    execute(request["module"], request["argv"], request["prelude"])


def execute(module: str, argv: list[str], prelude: str = "") -> NoReturn:
    """What `python -m module …` does, and the end of this process."""
    sys.argv = [module, *argv]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code: object = 70
    try:
        sys.modules.pop(module, None)
        sys.modules.pop(f"{module}.__main__", None)
        exec(compile(prelude, "prelude", "exec"), {})
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        logging.exception("%s failed", module)
        code = 1
    finally:
        with contextlib.suppress(Exception):
            concurrent.futures.thread._python_exit()  # the background writer's last save
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


class Forked(subprocess.Popen):
    """`subprocess.Popen` that starts programs with torch in them by a fork of this process, and others as ever.

    `WARM_PRELUDE` in the environment is code that the forked ones execute first."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *others):
        _, _, _, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *_, new_session, _ = others
        if not (args[:2] == [sys.executable, "-m"] and args[2].partition(".")[0] in HEAVY):
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *others)
            return
        if (pid := os.fork()) == 0:
            if new_session:
                os.setsid()
            for target, descriptor in ((0, p2cread), (1, c2pwrite), (2, errwrite)):
                if descriptor >= 0:
                    os.dup2(descriptor, target)
            os.closerange(3, MAX_DESCRIPTORS)
            as_new(cwd, env)
            execute(args[2], args[3:], os.environ.get("WARM_PRELUDE", ""))
        self.pid, self._child_created = pid, True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def as_new(cwd: str | None, env: dict[str, str] | None) -> None:
    """What a new process would not have of the one it was forked from."""
    os.chdir(cwd or Path.cwd())
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    logging.root.handlers.clear()


def wait(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    load_once()
    gc.freeze()  # else each fork's collector walks, and copies, all that was imported
    serve()
