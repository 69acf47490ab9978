"""What `run.py evaluate` ends with: the codes of an evaluator, whether or not it was followed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from shared.launch.attended.foreground import foreground
from shared.launch.fleet import Fleet
from shared.launch.supervisor import child_environment, python_module
from shared.launch.terminal import summarise
from shared.run_folder.pending import left_to_evaluate
from shared.run_folder.retries import Retries
from shared.run_folder.run_dir import RunDir, steps_in

EVALUATED = {
    0: "everything is evaluated",
    3: "nothing is left to evaluate",
    4: "not everything is evaluated yet: try again",
}
"""Exit code of the evaluator → what that means."""
NOTHING_TO_DO, TRY_AGAIN, CANNOT_EVALUATE = 3, 4, 5
"""The evaluator's exit codes: nothing was left, something is left, the base model or the device is not to be had."""


def num_results(run: RunDir) -> int:
    """Published results of every kind, pictures of a person's own prompts apart."""
    return sum(len(steps_in(folder)) for folder in (run.evaluations, run.confirmations, *run.strengths.glob("*")))


def code_of_work(run: RunDir, before: int) -> int:
    """The exit code of what ended well, as an evaluator's is. before: how many results there were."""
    if left_to_evaluate(run):
        return TRY_AGAIN
    return 0 if num_results(run) > before else NOTHING_TO_DO


def evaluate(run: RunDir, settings: Sequence[str] = (), *, follows: bool, fleet: Fleet) -> int:
    """Evaluate what a run folder has, in the foreground; the exit code. settings: for this call (`one_call`)."""
    Retries(run).retry()
    before, console = num_results(run), Console(highlight=False)
    program = python_module(*fleet.evaluator(run.path, *settings, "--follow" if follows else "--once"))
    code = foreground(program, child_environment(run))
    if code in EVALUATED:
        console.print(EVALUATED[code] if not follows else "")
        summarise(run, console)
    return code or (code_of_work(run, before) if follows else 0)
