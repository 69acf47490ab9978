"""What stands in place of a verdict: what the run waits for, or why there will be none."""

from __future__ import annotations

from dashboard.story.evidence import Evidence
from dashboard.story.progress.ending import MAX_CAUSE, ending, error_of, whole
from dashboard.story.wording import about, capital, of_run, short
from dashboard.text.language import say
from shared.run_folder.pending import BASE_MODEL

Words = tuple[str, str]


def waiting(evidence: Evidence) -> Words:
    """(headline, sentence) of a run that is at work."""
    reader = evidence.reader
    if not reader.snapshot_steps():
        if imported := reader.run.read_record().imported:
            place = say("There was no LoRA yet in {folder}.", folder=imported.folder)
            return say("Waiting for the first snapshot"), place
        planned = evidence.backlog.planned[:1]
        return say("Waiting for the first snapshot"), _first_snapshot(evidence, planned[0] if planned else None)
    if not evidence.programs.evaluating:
        return say("Nothing is evaluated yet"), _start_evaluator(evidence)
    headline = say("Waiting for the first evaluation")
    if BASE_MODEL not in evidence.results:
        what = evidence.base
        return headline, capital(say("{base} comes first: everything is compared with it.", base=what))
    first = min(evidence.backlog.ends.values(), default=None)
    return headline, "" if first is None else say("In about {time}.", time=about(first))


def _first_snapshot(evidence: Evidence, step: int | None) -> str:
    left, last = evidence.backlog.training_seconds, evidence.reader.config.train.max_train_steps
    done = evidence.reader.last_step()
    if step is None:
        return ""
    if left is None or done >= last:
        return say("It comes at step {step}.", step=step)
    time = about(left * (step - done) / (last - done))
    return say("It comes at step {step}, in about {time}.", step=step, time=time)


def failed(evidence: Evidence) -> Words | None:
    """(headline, sentence) of a run that came to nothing; None where it may still get a verdict."""
    reader, trainer = evidence.reader, evidence.programs.trainer
    if evidence.programs.trains:
        return None
    ended = ending(evidence)
    if ended and ((trainer and trainer.state == "failed") or not reader.snapshot_steps()):
        return ended.headline, ended.sentence
    if trainer and not reader.snapshot_steps():
        return say("This run has no snapshot"), say("Training ended before the first one was saved.")
    if reason := reader.failures().get(BASE_MODEL):
        text = say("{base} could not be evaluated: {reason}", base=capital(evidence.base), reason=reason)
        return say("Nothing can be compared"), text
    if _is_lost(evidence):
        command = of_run("evaluate", reader.run.path)
        cure = say("best.json is missing. Write it again: `{command}`", command=command)
        return say("The verdict is missing"), cure
    if evidence.backlog.is_empty and evidence.results:
        return say("Nothing can be compared"), say("No metric that is weighed has values for two prompts or more.")
    return None


def _is_lost(evidence: Evidence) -> bool:
    """Whether results can be compared, and no program is left that would write a verdict on them."""
    if evidence.programs.live:
        return False
    return any(len(evidence.gains.of(result)) > 1 for step, result in evidence.results.items() if step != BASE_MODEL)


def not_evaluated(evidence: Evidence) -> Words:
    """(headline, sentence) of a run that nobody works on, and that has no verdict."""
    imported = evidence.reader.run.read_record().imported
    if imported and not evidence.reader.snapshot_steps():
        return say("Waiting for the first snapshot"), say("There was no LoRA yet in {folder}.", folder=imported.folder)
    if evidence.programs.trainer is None and not evidence.reader.snapshot_steps():
        return say("Not started yet"), say("Start it: `{command}`", command=of_run("train", evidence.reader.run.config))
    return say("Nothing is evaluated yet"), _start_evaluator(evidence)


def _start_evaluator(evidence: Evidence) -> str:
    command = of_run("evaluate", evidence.reader.run.path)
    started = say("No evaluator is running. Start one: `{command}`", command=command)
    first = evidence.programs.evaluators.get(1)
    error = error_of(evidence.reader, first) if first else None
    if error is None:
        return started
    failed = say("The evaluator failed: {message}", message=whole(short(error.message, MAX_CAUSE)))
    return " ".join(filter(None, [failed, whole(error.cure) if error.cure else "", started]))
