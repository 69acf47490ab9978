"""Darkroom's command: train a LoRA, evaluate every snapshot while it trains, see both in a browser.

Only `shared` is imported here, and the part of a task without torch by its name; trainer, evaluator and dashboard are
programs of their own, started with `python -m`.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

import tasks
from shared.config import one_call
from shared.config.loading import dashboard_options, load_config
from shared.config.schema import DashboardConfig, RunConfig
from shared.errors import ConfigError, ModelError, exit_code_of, writing
from shared.errors import report as report_error
from shared.files import paths
from shared.followers import copies
from shared.launch import archive as archives
from shared.launch import integrity as invariants
from shared.launch import power, shutdown
from shared.launch.commands import evaluated, trained
from shared.launch.commands.foreground import foreground
from shared.launch.commands.say import say
from shared.launch.commands.served import serve
from shared.launch.commands.tracked import track as track_run
from shared.launch.commands.verdict_note import verdict_note
from shared.launch.left import left
from shared.launch.resume import Resume, adopt_places
from shared.launch.supervisor import ROOT, child_environment, python_module
from shared.machine import doctor as examination
from shared.run_folder.phrase import in_unit
from shared.run_folder.run_dir import open_run

DEFAULT_TASK = str(RunConfig.model_fields["task"].default)
CLASSIFICATION = "image_classification"
STOP_WAIT_SECONDS = 120.0


def end_by_signal(copying: copies.Copying) -> None:
    """Ctrl-C and SIGTERM: copy what is there, then end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: copying.finish())


class _Commands(TyperGroup):
    """The commands; in their arguments `~` is the home folder, also where the shell has left it."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **settings: Any) -> Any:
        words = sys.argv[1:] if args is None else args
        return super().main([paths.expand_argument(word) for word in words], *others, **settings)


app = typer.Typer(
    cls=_Commands,
    help=(__doc__ or "").partition("\n")[0],
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as section.key=value.", show_default=False)]
New = Annotated[bool, typer.Option("--new", help="Start another run beside an existing one of the same name.")]
AllowChange = Annotated[
    list[str] | None, typer.Option(metavar="KEY", help="Resume with another value of this setting. Repeatable.")
]
TaskName = Annotated[str, typer.Option("--task", help="What is learnt, as `run.task` names it.")]
LORAS = "LoRAs of another trainer"
RunPath = Annotated[Path, typer.Argument(help="A run folder, such as runs/demo.")]


@app.command()
def demo(
    overrides: Overrides = None,
    new: New = False,
    allow_change: AllowChange = None,
    task: Annotated[str, typer.Option("--task", help=f"Which one: {', '.join(tasks.DEMOS)}.")] = next(
        iter(tasks.DEMOS)
    ),
    family: Annotated[str, typer.Option(help="`flow`: another embedded model learns, by flow matching.")] = "",
) -> None:
    """Teach an embedded miniature model a garment it has never seen; needs no GPU and no download.

    --family flow: the same with a transformer that learns by flow matching, as Z-Image, FLUX and Qwen-Image do.
    --task digits: teach a network to read handwritten digits. --task language: teach a small language model, which is
    trained first, how the functions of Python and numpy are called.
    --task kanji: teach a denoiser, from scratch, to draw kanji from their meanings.
    """

    def body() -> int:
        file, writer = tasks.demo(task, family)
        config = load_config(ROOT / file, overrides, tasks.settings)
        written = subprocess.run(python_module(writer, config.data.path), env=child_environment(None), check=False)
        if written.returncode:  # it has said why
            return written.returncode
        config = load_config(ROOT / file, overrides, tasks.settings)  # names what has just been written, too
        resume = Resume(new=new, allow_change=tuple(allow_change or ()))
        return trained.train(config, tasks.find(config.run.task), resume)

    raise typer.Exit(exit_code_of(body))


@app.command()
def init(
    dataset: Annotated[
        Path,
        typer.Argument(help="Folder of captioned pictures, or of a folder for each class; or JSON Lines of examples."),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Base model: a folder, a .safetensors file, a hub id, or pocket; when absent, Stable Diffusion 1.5, "
            "and for classes random weights."
        ),
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Where to write; <data set>.toml when absent.")] = None,
    trigger_word: Annotated[
        str, typer.Option(help="Put before every caption; the caption of pictures that have none.")
    ] = "",
    prompts: Annotated[
        Path | None, typer.Option(help="File of prompts of your own, by which snapshots are evaluated.")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="What is learnt: garment, person, character, style or object; proposed when absent.")
    ] = "",
    class_word: Annotated[
        str, typer.Option(help="What kind of thing it is, such as dress or woman; taken from captions when absent.")
    ] = "",
    what: Annotated[
        str, typer.Option(help="What is trained, as `train.what` names it: lora, full or scratch; lora when absent.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    task: Annotated[
        str, typer.Option("--task", help="What is learnt, as `run.task` names it; proposed when absent.")
    ] = "",
) -> None:
    """Look at pictures, model and hardware, and write a config with the reason for every value."""

    def body() -> int:
        name, why = (task, "") if task else tasks.suited(dataset)
        if why:
            say(f"task: {name}: {why} (--task says another)")
        program = importlib.import_module(tasks.command(name, "init"))
        return program.init(
            dataset, model, output, trigger_word.strip(), prompts, profile.strip(), class_word, what, force=force
        )

    raise typer.Exit(exit_code_of(body))


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A TOML file; configs/ holds examples.")],
    overrides: Overrides = None,
    new: New = False,
    allow_change: AllowChange = None,
    auto_resume: Annotated[bool, typer.Option(help="Resume an existing run of this name.")] = True,
    from_checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint folder to resume from; with --new, of any run.")
    ] = None,
    evaluator: Annotated[bool, typer.Option(help="Evaluate every snapshot while training.")] = True,
    dashboard: Annotated[bool, typer.Option(help="Serve the dashboard.")] = True,
    create_only: Annotated[
        bool, typer.Option("--create-only", help="Make the run folder and start nothing: for launchers of your own.")
    ] = False,
) -> None:
    """Train, evaluate and show; the same command again resumes.

    Exit codes: 0 trained, or saved and stopped as asked, 2 wrong config, data set or run folder, 3 the model or the
    device cannot be used, 4 training cannot continue, 1 anything else. Where training succeeds and evaluation does not,
    the evaluator's code.
    """
    resume = Resume(new, auto_resume, tuple(allow_change or ()), from_checkpoint)

    def body() -> int:
        settings = load_config(config, overrides, tasks.settings)
        task = tasks.find(settings.run.task)
        if create_only:
            say(f"run folder: {trained.open_run_folder(settings, task, resume, with_evaluator=evaluator).path}")
            return 0
        return trained.train(settings, task, resume, with_evaluator=evaluator, with_dashboard=dashboard)

    raise typer.Exit(exit_code_of(body))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def classify(context: typer.Context) -> None:
    """Train an image classifier by the options of an earlier trainer: they become a config first. See --help."""

    def body() -> int:
        program = importlib.import_module(tasks.command(CLASSIFICATION, "classify"))
        path, asked = program.write(context.args, say)
        os.environ.update(asked.environment)
        config = load_config(path, [], tasks.settings)
        task, resume = tasks.find(config.run.task), Resume(auto=asked.auto_resume)
        if asked.create_only:
            say(f"run folder: {trained.open_run_folder(config, task, resume, with_evaluator=True).path}")
            return 0
        code = trained.train(config, task, resume, with_dashboard=asked.dashboard)
        if code == 0 and asked.model_path:
            program.deliver(open_run(config.run.output_dir / str(config.run.name)), Path(asked.model_path), say)
        return code

    raise typer.Exit(exit_code_of(body))


@app.command()
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


@app.command()
def evaluate(
    run: Annotated[
        Path, typer.Argument(help="A run folder, or a folder where another trainer saves LoRAs.", metavar="FOLDER")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Of a run folder: where the same data set or model lies by now, as data.path=… or model.path=…, and "
            "what holds for this call only: evaluation.blocks_to_swap, order and rescan_seconds. Of LoRAs: settings as "
            "section.key=value.",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--once", help="Wait for new snapshots until stopped.")] = False,
    base: Annotated[str, typer.Option("--base", help="Base model of the LoRAs.", rich_help_panel=LORAS)] = "",
    references: Annotated[
        Path | None,
        typer.Option(help="Real pictures with captions that were not trained on.", rich_help_panel=LORAS),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="File of prompts of your own.", rich_help_panel=LORAS)] = None,
    train_pictures: Annotated[
        Path | None, typer.Option(help="What the LoRAs were trained on.", rich_help_panel=LORAS)
    ] = None,
    trigger_word: Annotated[str, typer.Option(help="The word it was trained with.", rich_help_panel=LORAS)] = "",
    profile: Annotated[str, typer.Option(help="What was trained: evaluation.profile.", rich_help_panel=LORAS)] = "",
    output: Annotated[Path, typer.Option(help="Folder of run folders.", rich_help_panel=LORAS)] = Path("runs"),
    name: Annotated[str, typer.Option(help="Of the run; the folder's.", rich_help_panel=LORAS)] = "",
    files: Annotated[
        str, typer.Option(help="Which files of the folder, such as 'dress*'.", rich_help_panel=LORAS)
    ] = "*",
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files, which a trainer may delete.", rich_help_panel=LORAS)
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, help="End --follow after so many minutes; 0: never.", rich_help_panel=LORAS)
    ] = 0.0,
    new: New = False,
    only_list: Annotated[bool, typer.Option("--list", help="Say what would be evaluated, and change nothing.")] = False,
    dashboard: Annotated[bool, typer.Option(help="Serve the dashboard.", rich_help_panel=LORAS)] = True,
) -> None:
    """Evaluate the snapshots of a run that have no result yet, or the LoRAs that another trainer saves in a folder.

    Any number of these may share the work on a run folder. LoRAs become a run folder of their own; nothing is written
    beside them.

    Exit codes, of --once and of --follow: 0 everything is evaluated, 3 nothing was left to do, 4 try again (something
    is left, another evaluator is still at work, or memory did not suffice), 5 it will not work before someone mends the
    model or the device, 2 wrong folder, setting or data set. A file that cannot be read counts as evaluated: its result
    says why it failed.
    """
    options = {
        "base": base, "references": references, "prompts": prompts, "train_pictures": train_pictures,
        "trigger_word": trigger_word, "profile": profile, "output": output, "name": name, "pattern": files,
        "copies": copy, "new": new, "overrides": tuple(settings or ()),
    }  # fmt: skip

    def of_loras() -> int:
        foreign = importlib.import_module(tasks.command(DEFAULT_TASK, "foreign"))
        if only_list:
            foreign.show_folder(run, say, **options)
            return 0
        return foreign.evaluate_folder(run, follows=follow, patience=patience, with_dashboard=dashboard, **options)

    def body() -> int:
        if not (run / "run.json").is_file():
            return of_loras()
        opened = open_run(run)
        if only_list:
            rest = left(opened)
            say(f"{opened.path}: {f'not evaluated: {rest}' if rest else 'nothing is left to evaluate'}")
            return 0
        try:
            for_this_call, others = one_call.split(settings or ())
            opened.read_config(for_this_call)  # refuses values that are wrong
            config = opened.read_config(others)
            adopt_places(opened, config, tasks.find(config.run.task), say)
        except ModelError as error:
            report_error(error)
            return evaluated.CANNOT_EVALUATE
        return evaluated.evaluate(opened, for_this_call, follows=follow)

    raise typer.Exit(exit_code_of(body))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def caption(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="A data set, as data.path names it.")],
    model: Annotated[str, typer.Option(help="Folder or hub id of a Florence-2, a BLIP or a tagger.")],
) -> None:
    """Write captions for pictures that have none, with a model on this machine; every change can be undone.

    Further options: --all (also pictures that have a caption), --runs, --device, --threshold (of a tagger, 0.35). Exit
    codes: 0; 2 wrong data set, or a run trains on it; 3 the model cannot be loaded.
    """

    def body() -> int:
        command = python_module("tasks.captioning", data, "--model", model, *context.args)
        return foreground(command, child_environment(None))

    raise typer.Exit(exit_code_of(body))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def score(
    context: typer.Context,
    references: Annotated[Path, typer.Argument(help="Folder of real pictures.")],
    samples: Annotated[Path, typer.Argument(help="Folder of pictures to be evaluated; pairs have the same file name.")],
    task: TaskName = DEFAULT_TASK,
) -> None:
    """Evaluate any folder of pictures against another: the evaluator's metrics, with anchors and intervals.

    Options of text-to-image: --json, --fashion-clip, --visual, --device, --legacy. Exit codes: 0; 3 where no loss could
    be computed, or the device is missing; 2 wrong folder or option.
    """

    def body() -> int:
        command = python_module(tasks.command(task, "score"), references, samples, *context.args)
        return foreground(command, child_environment(None))

    raise typer.Exit(exit_code_of(body))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def export(
    context: typer.Context,
    run: RunPath,
    step: Annotated[str, typer.Option(help="`best`, or the step of a snapshot.")] = "best",
    form: Annotated[str, typer.Option("--format", help="Who is to read it; the task's usual one when absent.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            help="File to write, which ends in .safetensors, or an existing folder; of peft: a new folder or .zip. In "
            "RUN/exports when absent."
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the numbers: fp32, fp16 or bf16; the task's when absent.")] = "",
) -> None:
    """Write a snapshot in a format of other programs.

    Of text-to-image: --format kohya (ComfyUI and A1111; when absent), diffusers or peft; --dtype is fp16 when absent.
    """

    def body() -> int:
        opened = open_run(run)
        given = {"--format": form, "--dtype": dtype}
        options = ["--step", step, *(part for name, value in given.items() if value for part in (name, value))]
        options += context.args
        target = ["--output", output.resolve()] if output else []
        command = python_module("tasks.export", opened.path, *options, *target)
        return foreground(command, child_environment(opened))

    raise typer.Exit(exit_code_of(body))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def publish(
    context: typer.Context,
    run: RunPath,
    to: Annotated[
        str,
        typer.Option(
            help="owner/name: a repository of the hub; a folder; or a .zip of weights, pictures and a description, as "
            "Civitai takes them.",
            show_default=False,
        ),
    ],
) -> None:
    """Write a snapshot with its model card: weights for other programs, figures, pictures, how to load it.

    To the hub nothing is sent without --yes: the card is shown instead. Options: --yes, --private, --step N, --license
    ID, --base-model owner/name (where the run has loaded it from this disk), --with-references (show the real pictures,
    too).
    """

    def body() -> int:
        command = python_module("tasks.publish", open_run(run).path, f"--to={to}", *context.args)
        return foreground(command, child_environment(None))

    raise typer.Exit(exit_code_of(body))


@app.command()
def report(
    run: RunPath,
    output: Annotated[Path | None, typer.Option(help="File to write; <run>/report.html when absent.")] = None,
    lang: Annotated[str, typer.Option(help="en, zh-Hans or zh-Hant.")] = "en",
) -> None:
    """Write a run as one HTML file: charts and pictures inside, no server needed."""

    def body() -> int:
        target = ("--output", output.resolve()) if output else ()
        command = python_module("dashboard.report", open_run(run).path, *target, "--lang", lang)
        return subprocess.run(command, env=child_environment(None), stdin=subprocess.DEVNULL, check=False).returncode

    raise typer.Exit(exit_code_of(body))


@app.command()
def verdict(
    run: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    weights: Annotated[str, typer.Option(help="Other weights of the composite, as visual_loss=0.5,color_loss=0.")] = "",
    prefer: Annotated[str, typer.Option(help="In place of evaluation.prefer: best or earliest.")] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Also write metrics.csv and best.json, as an evaluator does.")
    ] = False,
) -> None:
    """Recompute which snapshot to ship, from the published numbers of every picture and from votes.

    Nothing is written without --write.

    Exit codes: 0; 3 where nothing can be compared yet, because step 0 or every snapshot has no evaluation; 4 where
    every snapshot fails a guard or shows a sign of overfitting: none can be recommended; 2 wrong folder or option.
    """

    def body() -> int:
        if prefer not in ("", "best", "earliest"):
            raise ConfigError(f"--prefer is {prefer}, which is no preference", "give best or earliest")
        options = [*(["--json"] if as_json else []), *(["--write"] if write else [])]
        options += [
            part for name, value in (("--weights", weights), ("--prefer", prefer)) if value for part in (name, value)
        ]
        command = python_module("evaluator.replay", open_run(run).path, *options)
        return subprocess.run(command, env=child_environment(None), stdin=subprocess.DEVNULL, check=False).returncode

    raise typer.Exit(exit_code_of(body))


@app.command()
def track(
    run: RunPath,
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="NAME", help="tensorboard, mlflow, wandb, … Repeatable.")
    ] = None,
    skip_model_upload: Annotated[
        bool, typer.Option("--skip-model-upload", help="Numbers, pictures and verdict, but no snapshot.")
    ] = False,
) -> None:
    """Give a run to trackers, while it goes on or afterwards; what they have already is not repeated.

    Exit codes: 0 everything is delivered, 1 not everything, 2 wrong folder or tracker.
    """

    def body() -> int:
        return track_run(open_run(run), to or [], skip_model_upload=skip_model_upload)

    raise typer.Exit(exit_code_of(body))


@app.command()
def archive(
    run: RunPath,
    output: Annotated[
        Path | None, typer.Option(help="The zip to write; RUN/exports/<name>-all.zip when absent.")
    ] = None,
) -> None:
    """Put all snapshots and checkpoints of a run into one zip, each checked against its digests."""

    def body() -> int:
        opened = open_run(run)
        target = output.resolve() if output else opened.exports / f"{opened.path.name}-all.zip"
        with writing("--output", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            count = archives.write(opened, target, say)
        say(f"{count} snapshots and checkpoints: {target}")
        return 0

    raise typer.Exit(exit_code_of(body))


@app.command()
def copy(
    run: RunPath,
    to: Annotated[Path, typer.Argument(help="Folder of the copy: new, empty, or a copy of this run.")],
    follow: Annotated[
        bool, typer.Option("--follow/--once", help="Keep it up with the run until the run is over.")
    ] = False,
) -> None:
    """Copy a run folder to another disk, and keep the copy up with it; copied back, the run is resumed.

    What is there already is not copied again. Exit codes: 0 everything is copied, 1 not everything, 2 wrong folder.
    """

    def body() -> int:
        if follow:
            return int(not copies.follow(run, to, say, on_begin=end_by_signal))
        with writing("TO", to):
            return int(not copies.copy(run, to, say))

    raise typer.Exit(exit_code_of(body))


@app.command()
def stop(
    run: RunPath,
    now: Annotated[
        bool, typer.Option("--now", help="Leave snapshots that are not evaluated yet: the same train command does it.")
    ] = False,
) -> None:
    """Ask a run to finish its step, save, and stop; waits until its `run.py` has ended and it can be trained again."""
    raise typer.Exit(exit_code_of(lambda: shutdown.stop(open_run(run), say, STOP_WAIT_SECONDS, now=now)))


@app.command()
def check(run: RunPath) -> None:
    """Is this run folder whole? Lists every broken invariant; exit code 1 if there is one.

    What is not on this machine, such as the data set or the base model, is only noted. Another one in its place is a
    broken invariant. It is also noted where best.json is missing, or names another step than `verdict` does.
    """

    def body() -> int:
        opened = open_run(run)
        task = tasks.find(opened.read_config().run.task)
        shown = power.of_run(opened, opened.read_config())
        unit = opened.read_record().unit
        problems = [in_unit(problem, unit) for problem in invariants.check(opened, task)]
        rest = left(opened)
        notes = [
            *invariants.notes(opened, task),
            *([f"not evaluated: {rest}; `python run.py evaluate {opened.path}` does it"] if rest else []),
            *verdict_note(opened),
            shown.caution() or shown.sentence(),
        ]
        for line in (*(problems or [f"{run} is whole"]), *(f"note: {text}" for text in notes)):
            say(line)
        return int(bool(problems))

    raise typer.Exit(exit_code_of(body))


@app.command()
def doctor(
    runs: Annotated[Path, typer.Argument(help="Folder where runs are to be written.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port the dashboard would use.")] = 8501,
) -> None:
    """Look at this machine: hardware, versions, disk, file events, port; exit code 1 if something stands in the way."""

    def body() -> int:
        table = Table(show_header=False, box=None)
        of_tasks = [finding for name in tasks.TASKS for finding in tasks.find(name).doctor_checks()]
        findings = examination.examine(runs, "127.0.0.1", port, of_tasks)
        marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[red]problem[/]"}
        for finding in findings:
            table.add_row(marks[finding.verdict], finding.subject, finding.text)
        Console(highlight=False).print(table)
        return int(any(finding.verdict == "problem" for finding in findings))

    raise typer.Exit(exit_code_of(body))


if __name__ == "__main__":
    app()
