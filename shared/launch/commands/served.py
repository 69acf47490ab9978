"""`run.py dashboard`: the dashboard until Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path

from rich.console import Console

from shared.config.schema import DashboardConfig
from shared.errors import RunFolderError
from shared.launch.listener import listen
from shared.launch.supervisor import child_environment, wait_until_healthy
from shared.run_folder.run_dir import RunDir


def serve(runs: Path, wanted: DashboardConfig) -> int:
    """The exit code. runs: a folder of run folders, or one of them."""
    run = RunDir(runs.resolve()) if (runs / "run.json").is_file() else None
    folder = run.path.parent if run else runs.resolve()
    if not folder.is_dir():
        raise RunFolderError(f"{runs} is not a folder", "give the folder that holds the run folders")
    console = Console(highlight=False, soft_wrap=True)
    listener = listen(wanted.host, wanted.port, wanted.trusted_hosts, wanted.base_path, wanted.frame_ancestors, folder)
    process = listener.start({**child_environment(run), "DARKROOM_RUNS": str(folder)})
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs begin with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        while process.poll() is None:
            if wait_until_healthy(listener.local_url, seconds=5):
                console.print(f"dashboard: {listener.link}  (Ctrl-C ends it)")
                break
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        process.terminate()
        process.wait()
