"""`run.py dashboard`: the dashboard until Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shared.config.loading import dashboard_options
from shared.config.schema import DashboardConfig
from shared.errors import ConfigError, RunFolderError, exit_code_of
from shared.launch import end_signals
from shared.launch.listener import listen
from shared.launch.supervisor import child_environment, wait_until_healthy
from shared.run_folder.run_dir import RunDir


def dashboard(
    runs: Annotated[Path, typer.Argument(help="Folder of run folders, or one run folder.")] = Path("runs"),
    settings: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; the next free one when taken; 0: any.")] = 8501,
    trusted_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Name under which a proxy makes it known. Repeatable.")
    ] = None,
    base_path: Annotated[str, typer.Option(help="Path that a proxy does not remove, such as /darkroom.")] = "",
    frame_ancestor: Annotated[
        list[str] | None,
        typer.Option(metavar="SITE", help="Site that may show it in a frame: self, https://… Repeatable."),
    ] = None,
) -> None:
    """Look at runs, whether or not anything is training."""

    def body() -> int:
        if settings:
            key, _, value = settings[0].removeprefix("dashboard.").partition("=")
            option = f"--{key.replace('_', '-').removesuffix('s')}"
            is_known = key in DashboardConfig.model_fields
            raise ConfigError(
                f"{settings[0]} is no option of this command",
                f"give {option} {value} in its place" if is_known else "see run.py dashboard --help",
            )
        options = dashboard_options(host, port, tuple(trusted_host or ()), base_path, tuple(frame_ancestor or ()))
        return serve(runs, options)

    raise typer.Exit(exit_code_of(body))


def serve(runs: Path, wanted: DashboardConfig) -> int:
    """The exit code. runs: a folder of run folders, or one of them."""
    run = RunDir(runs.resolve()) if (runs / "run.json").is_file() else None
    folder = run.path.parent if run else runs.resolve()
    if not folder.is_dir():
        raise RunFolderError(f"{runs} is not a folder", "give the folder that holds the run folders")
    console = Console(highlight=False, soft_wrap=True)
    listener = listen(wanted.host, wanted.port, wanted.trusted_hosts, wanted.base_path, wanted.frame_ancestors, folder)
    process = listener.start({**child_environment(run), "DARKROOM_RUNS": str(folder)})
    for number in end_signals.ending():  # a shell's background jobs begin with SIGINT ignored
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
