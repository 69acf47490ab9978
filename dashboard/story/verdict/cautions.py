"""What a person must know before they bet on the verdict, each in a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from dashboard.story.evidence import Evidence
from dashboard.story.progress.ending import ending
from dashboard.story.wording import capital, of_run, short, steps, units
from dashboard.text.language import say
from dashboard.text.phrases import evidence_of, told, told_cautions
from shared.run_folder.file_to_ship import file_state, file_to_ship
from shared.run_folder.records.best import Best
from shared.statistics.paired import PromptValues

FEW_PROMPTS = 8
GAP = "gap"
"""The sign that comes from the held-out loss."""
MAX_NAMED = 3
"""Prompts and snapshots in a sentence."""


def cautions(evidence: Evidence, best: Best, better: PromptValues) -> Iterator[str]:
    """The gravest first. better: the composite of each prompt, more is better."""
    yield from _vanished(evidence, best)
    yield from _flags(best)
    yield from told_cautions(best)
    yield from _lost(evidence, better)
    yield from _too_little(evidence, best, better)
    yield from _confirmation(evidence, best)
    yield from _unchecked(evidence, best)
    yield from _passed_over(best)
    if ended := ending(evidence):
        said = {"headline": ended.headline, "sentence": ended.sentence}
        yield say("{headline}, so later snapshots are missing. {sentence}", **said)


def _vanished(evidence: Evidence, best: Best) -> Iterator[str]:
    if evidence.reader.manifest(best.step) is None or not file_to_ship(evidence.reader.run, best.step).exists():
        yield say("The files of step {step} are gone or damaged.", step=best.step)
    elif file_state(evidence.reader.run, best.step) == "changed":
        yield say(
            "The file of step {step} is no longer the LoRA that was evaluated, so it is not offered: restore it, or "
            "evaluate all again with --new.",
            step=best.step,
        )
    if best.step not in evidence.results:
        yield say("The evaluation of step {step} cannot be read, so nothing is counted here.", step=best.step)


def _flags(best: Best) -> Iterator[str]:
    for signal in best.signals:
        if signal.raised:
            yield say("Sign of overfitting, {name}: {evidence}.", name=say(signal.name), evidence=evidence_of(signal))


def _lost(evidence: Evidence, better: PromptValues) -> Iterator[str]:
    """The worst first."""
    lost = sorted((prompt for prompt, value in better.items() if value < 0), key=lambda prompt: better[prompt])
    if lost:
        named = ", ".join(say("“{prompt}”", prompt=short(prompt)) for prompt in lost[:MAX_NAMED])
        named += " …" if len(lost) > MAX_NAMED else ""
        count = units(len(lost), evidence.unit)
        yield say("Worse than {base} on {count}: {named}.", base=evidence.base, count=count, named=named)


def _too_little(evidence: Evidence, best: Best, better: PromptValues) -> Iterator[str]:
    """Where the evaluator has not said so itself, as older versions did not."""
    if best.cautions or not better:
        return
    if evidence.unit != (prompt := evidence.reader.descriptions.words.prompt):
        yield say("All pictures were drawn from one {unit}, so nothing is known of others.", unit=say(prompt))
    if len(better) < FEW_PROMPTS:
        yield say(
            "Only {count} were compared, so small differences cannot show.", count=units(len(better), evidence.unit)
        )


def _confirmation(evidence: Evidence, best: Best) -> Iterator[str]:
    found = best.confirmation
    if best.votes and best.votes.moved:
        return
    if found and not found.agrees:
        yield say("Evaluating the best ones again changed the choice to step {step}.", step=found.step)
    if found is None and best.finalists and evidence.is_over:
        command = of_run("evaluate", evidence.reader.run.path)
        yield say("The best snapshots were not evaluated again. To do it: `{command}`", command=command)


def _unchecked(evidence: Evidence, best: Best) -> Iterator[str]:
    for column in evidence.reader.descriptions.of_role("guard"):
        if any(f"The guard {name} could not be checked" in best.reason for name in (column.title, column.name)):
            metric, base = capital(say(column.topic)), evidence.results.get(0)
            parts = (column.name, column.guard.shuffled) if column.guard else (column.name,)
            if base and (why := next(filter(None, map(base.missing.get, parts)), "")):
                yield say("{metric} could not be checked: {reason}.", metric=metric, reason=why)
            else:
                yield say("{metric} could not be checked.", metric=metric)
    imported = evidence.reader.run.read_record().imported
    names_by_reason: dict[str, list[str]] = {}
    for signal in best.signals:
        is_of_training = imported and signal.name == GAP  # another program trains: it has no held-out loss to give
        if signal.raised is None and not is_of_training:
            names_by_reason.setdefault(evidence_of(signal), []).append(say(signal.name))
    for reason, names in names_by_reason.items():
        yield say("Not checked for {name}: {evidence}.", name=say(", ").join(names), evidence=reason)


def _passed_over(best: Best) -> Iterator[str]:
    for reason in dict.fromkeys(best.passed_over.values()):
        left_out = [step for step, why in best.passed_over.items() if why == reason]
        reason = told([best.objections.get(left_out[0])], reason)
        if len(left_out) == 1:
            yield say("Step {step} was passed over: it {reason}.", step=left_out[0], reason=reason)
        else:
            named = steps(left_out, MAX_NAMED)
            yield say("Steps {steps} were passed over: each {reason}.", steps=named, reason=reason)
