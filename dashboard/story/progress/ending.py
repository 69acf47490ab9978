"""Why a program ended too early and what to do about it: from its last record, and from the error that its log ends
with."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.data.reader import RunReader
from dashboard.story.evidence import Evidence
from dashboard.story.wording import capital, of_run, short
from dashboard.text.language import say
from shared.config.loading import load_config
from shared.run_folder.checkpoints import own_steps
from shared.run_folder.log_errors import LoggedError, logged_error
from shared.run_folder.records.process_status import FINAL_STATES, ProcessStatus

MAX_CAUSE = 300
"""Characters."""


@dataclass(frozen=True)
class Ending:
    """Of training, before its last step."""

    headline: str
    cause: str
    """A sentence, as a rule the program's own."""
    cure: str
    """What to do, beginning with a verb."""

    @property
    def sentence(self) -> str:
        """What happened and what to do."""
        return say(" ").join([self.cause, self.cure])


def ending(evidence: Evidence) -> Ending | None:
    """None where the trainer is at work, has never run, or ended as it should."""
    reader, trainer = evidence.reader, evidence.programs.trainer
    if trainer is None or evidence.programs.trains or trainer.state in ("finished", "stopped"):
        return None
    step, resume = reader.last_step(), _resume(reader)
    error = error_of(reader, trainer)
    if error is None:
        cause = say(
            "The trainer (pid {pid}) wrote no error. Memory ran out, somebody ended the program, or the machine was "
            "restarted.",
            pid=trainer.pid,
        )
        return Ending(say("Training ended unexpectedly at step {step}", step=step), cause, resume)
    cause = whole(short(error.message, MAX_CAUSE))
    if "out of memory" in error.message.lower():
        cure = error.cure or say("set train.gradient_checkpointing = true, or close other programs that use the GPU")
        return Ending(
            say("Training ran out of memory at step {step}", step=step), cause, say(" ").join([whole(cure), resume])
        )
    cure = whole(error.cure) if error.cure else say("Read the end of the trainer's log (page Logs).")
    return Ending(say("Training failed at step {step}", step=step), cause, say(" ").join([cure, resume]))


def error_of(reader: RunReader, status: ProcessStatus) -> LoggedError | None:
    """Of a program that is not alive: the log says more than the last record. None: it left no word."""
    if status.state in FINAL_STATES and status.state != "failed":
        return None
    logged = logged_error(reader.run, status.role, status.started)
    if logged or status.state != "failed":
        return logged
    return LoggedError(status.message) if status.message else None


def whole(text: str) -> str:
    """As a sentence."""
    text = capital(text.strip())
    return text if text.endswith((".", "!", "?", "…", "。")) else text + say(".")


def _resume(reader: RunReader) -> str:
    """The command, and what it will do."""
    run, saved = reader.run, own_steps(reader.run)
    command = f"`{of_run('train', run.config)}`"
    written = load_config(run.config).run  # the reader's says where the folder lies by now
    if (written.output_dir / (written.name or "")).resolve() != run.path.resolve():
        command = say("the same command again.")  # the folder was moved: its config would begin another run
    if saved:
        return say("To resume after step {step}, run {command}", step=saved[0], command=command)
    return say("No checkpoint was saved: to begin again, run {command}", command=command)
