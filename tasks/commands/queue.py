"""`run.py queue`: runs for a night, one after the other on each GPU of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import tasks
from shared.config.loading import load_config
from shared.config.schema import Config
from shared.errors import ConfigError, exit_code_of
from shared.job_queue import at_work, listing
from shared.job_queue.given_gpus import given_gpus
from shared.job_queue.job import DEFAULT_RETRIES, MAX_PRIORITY, Job
from shared.job_queue.job_queue import NAME, JobQueue
from shared.job_queue.runner import Runner
from shared.launch.attended import trained
from shared.launch.attended.say import say
from shared.launch.resume import Resume

RUNS = Path("runs")

queue = typer.Typer(no_args_is_help=False, add_completion=False, pretty_exceptions_enable=False)

QueuePath = Annotated[
    Path | None, typer.Option("--queue", help=f"Folder of the queue; {RUNS / NAME} when absent.", metavar="FOLDER")
]
JobNames = Annotated[list[str], typer.Argument(help="Numbers of jobs, or their ids.", metavar="JOB...")]


@queue.callback(invoke_without_command=True)
def show(context: typer.Context, folder: QueuePath = None) -> None:
    """Train several configs, one after the other on each GPU; without a word after it, show the list."""
    context.obj = JobQueue((folder or RUNS / NAME).absolute())
    if context.invoked_subcommand is None:
        raise typer.Exit(exit_code_of(lambda: listing.show(context.obj)))


@queue.command()
def add(
    context: typer.Context,
    configs: Annotated[
        list[str], typer.Argument(help="TOML files; settings as section.key=value hold for each.", metavar="CONFIG...")
    ],
    priority: Annotated[
        int, typer.Option(min=-MAX_PRIORITY, max=MAX_PRIORITY, help="Jobs of a higher one begin first.")
    ] = 0,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs for each job; 0: as many as it has processes that train.")] = 0,
    retries: Annotated[
        int, typer.Option(min=0, max=100, help="How often a job is tried again that ended with exit code 4.")
    ] = DEFAULT_RETRIES,
) -> None:
    """Put configs at the end of the queue, all or none; a config is read again when its job begins."""

    def body() -> int:
        jobs: JobQueue = context.obj
        overrides = [word for word in configs if "=" in word and not Path(word).exists()]
        paths = [Path(word) for word in configs if word not in overrides]
        if not paths:
            raise ConfigError("no config is named", "name at least one TOML file")
        read = checked(paths, overrides)
        wanted = [
            partial(make, path=path, config=config, overrides=overrides, priority=priority, gpus=gpus, retries=retries)
            for path, config in zip(paths, read, strict=True)
        ]
        for job in jobs.add(wanted, [str(config.run.name) for config in read]):
            say(f"{job.id}: waits; it trains {job.run}")
        say("`python run.py queue run` begins them")
        return 0

    raise typer.Exit(exit_code_of(body))


@queue.command()
def run(
    context: typer.Context,
    gpus: Annotated[
        str | None, typer.Option(help="As CUDA_VISIBLE_DEVICES names them, such as 0,1; all when absent.")
    ] = None,
    slots: Annotated[int, typer.Option("--jobs", min=1, help="Without GPUs: jobs at the same time.")] = 1,
    waits: Annotated[bool, typer.Option("--wait", help="Wait for further jobs when none is left.")] = False,
) -> None:
    """Work on the queue until no job waits. Ctrl-C lets the jobs save and stop; the same command goes on.

    A job that ends with exit code 4 is tried again after a while; another one that fails is marked, and the next one
    begins. Exit codes: 0 no job failed, 1 one did, 2 another `queue run` works on this queue.
    """

    def body() -> int:
        jobs: JobQueue = context.obj
        if not jobs.entries() and not waits:
            raise ConfigError(f"no job is in {jobs.folder}", "put one in with `python run.py queue add CONFIG`")
        jobs.folder.mkdir(parents=True, exist_ok=True)
        names = given_gpus(gpus)
        on = f"on GPU {', '.join(names)}" if names else f"{slots} at a time, without a GPU"
        say(f"{jobs.folder}: {on}; Ctrl-C ends it")
        say(f"`python run.py dashboard {jobs.folder.parent}` shows its runs")
        return Runner(jobs, say, names, slots, waits).run()

    raise typer.Exit(exit_code_of(body))


@queue.command()
def move(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="Number of a job that waits, or its id.")],
    before: Annotated[str | None, typer.Option(help="The job that it shall begin before.", metavar="JOB")] = None,
    first: Annotated[bool, typer.Option("--first", help="Before all others.")] = False,
    last: Annotated[bool, typer.Option("--last", help="After all others.")] = False,
) -> None:
    """Change the order. A job moved above one of a higher priority takes that priority."""

    def body() -> int:
        if (before is not None) + first + last != 1:
            raise ConfigError("where to is not clear", "give one of --before JOB, --first and --last")
        jobs: JobQueue = context.obj
        waiting = [entry.job.id for entry in jobs.entries() if entry.state == "waiting"]
        jobs.move(job, before if before is not None else None if last else next(iter(waiting), job))
        return listing.show(jobs)

    raise typer.Exit(exit_code_of(body))


@queue.command()
def remove(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Numbers of jobs, or their ids.", metavar="JOB...")] = None,
    ended: Annotated[bool, typer.Option("--ended", help="Those that have ended.")] = False,
) -> None:
    """Take jobs out of the queue that are not at work; their runs stay."""

    def body() -> int:
        jobs: JobQueue = context.obj
        over = [entry.job.id for entry in jobs.entries() if entry.is_over] if ended else []
        if not names and not ended:
            raise ConfigError("no job is named", "give the number of a job, or --ended for all that have ended")
        return changed(jobs, jobs.remove, [*(names or ()), *over])

    raise typer.Exit(exit_code_of(body))


@queue.command()
def retry(context: typer.Context, names: JobNames) -> None:
    """Let jobs that have ended wait again; their runs are resumed."""
    raise typer.Exit(exit_code_of(lambda: changed(context.obj, context.obj.retry, names)))


@queue.command("job", hidden=True)
def one_job(folder: Path, job_id: str) -> None:
    """Do one job; `run` starts this."""

    def body() -> int:
        jobs = JobQueue(folder)
        job = jobs.find(job_id).job
        return at_work.work(jobs, job, lambda: train(job))

    raise typer.Exit(exit_code_of(body))


def train(job: Job) -> int:
    """What `run.py train` does, without a dashboard of its own."""
    os.chdir(job.folder)
    config = load_config(job.config, list(job.overrides), tasks.settings)
    return trained.train(config, tasks.find(config.run.task), Resume(), with_dashboard=False)


def checked(paths: Sequence[Path], overrides: list[str]) -> list[Config]:
    """Each config as its job would read it.

    Raises:
        ConfigError: with what is wrong in each of them.
    """
    read: list[Config] = []
    faults: list[str] = []
    for path in paths:
        try:
            config = load_config(path, overrides, tasks.settings)
            tasks.find(config.run.task)
            read.append(config)
        except ConfigError as error:
            faults.append(f"{path}: {error}")
    if faults:
        raise ConfigError("\n       ".join(dict.fromkeys(faults)), "mend them; nothing was put into the queue")
    return read


def make(
    job_id: str,
    place: float,
    *,
    path: Path,
    config: Config,
    overrides: Sequence[str],
    priority: int,
    gpus: int,
    retries: int,
) -> Job:
    """The job of a config."""
    assert config.run.name
    return Job(
        id=job_id,
        place=place,
        config=path.absolute(),
        overrides=tuple(overrides),
        folder=Path.cwd(),
        run=config.run.output_dir / config.run.name,
        gpus=gpus or config.train.num_processes,
        retries=retries,
        priority=priority,
    )


def changed(jobs: JobQueue, change: Callable[[Sequence[str]], None], names: Sequence[str]) -> int:
    """Change it and show the list."""
    change(names)
    return listing.show(jobs)
