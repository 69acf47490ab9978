"""`python tests/warm.py`: has imported torch and diffusers once, and forks itself for every program a test starts.

One JSON line in, `{"module": …, "argv": […], "stdout": …, "stderr": …, "prelude": …, "environment": {…}}`; one line
out, the pid of the new process. `{"wait": pid}` answers its exit code (negative: the signal) once it has ended, null
while it has not. The programs are real processes with signals, locks and exit codes of their own; only the seconds of
import are shared.
"""

from __future__ import annotations

import concurrent.futures.thread
import contextlib
import importlib
import json
import logging
import os
import runpy
import signal
import sys
from pathlib import Path

for name in (
    "trainer.__main__",
    "evaluator.__main__",
    "tasks.text_to_image.training",
    "tasks.text_to_image.evaluation",
    "torch._dynamo",
):
    importlib.import_module(name)


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
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for target, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), target)
    os.environ.update(request["environment"])
    sys.argv = [request["module"], *request["argv"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code: object = 70
    try:
        sys.modules.pop(request["module"], None)
        sys.modules.pop(f"{request['module']}.__main__", None)
        exec(compile(request["prelude"], "prelude", "exec"), {})
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        logging.exception("%s failed", request["module"])
        code = 1
    finally:
        with contextlib.suppress(Exception):
            concurrent.futures.thread._python_exit()  # the background writer's last save
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def wait(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    serve()
