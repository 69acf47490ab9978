"""Which snapshot to ship, why, and what is not certain, in words that need no table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dashboard.server.jobs.exports import Exports
from dashboard.server.jobs.rechecks import Rechecks
from dashboard.story.evidence import Evidence
from dashboard.story.gains import num_lost, num_won
from dashboard.story.progress.waiting import failed, not_evaluated, waiting
from dashboard.story.verdict.cautions import cautions
from dashboard.story.verdict.downloads import Download, downloads
from dashboard.story.verdict.rows import Row, rows
from dashboard.story.verdict.runner_up import RunnerUp, runner_up
from dashboard.story.wording import of_run, of_units, sentence, steps
from dashboard.text.language import say
from dashboard.text.phrases import told
from shared.run_folder.averages import label
from shared.run_folder.file_to_ship import file_state, file_to_ship
from shared.run_folder.records.best import Best, Confirmation
from shared.statistics.paired import PromptValues

Kind = Literal["ship", "leading", "unproven", "unranked", "unvoted", "waiting", "failed"]
VerdictTone = Literal["good", "quiet", "warn", "bad"]


@dataclass(frozen=True)
class Verdict:
    """What to ship."""

    kind: Kind
    headline: str
    tone: VerdictTone
    sentence: str
    step: int | None = None
    """The snapshot it is about."""
    rows: tuple[Row, ...] = ()
    cautions: tuple[str, ...] = ()
    runner_up: RunnerUp | None = None
    downloads: tuple[Download, ...] = ()
    path: str = ""
    """The file to copy; empty where it no longer exists."""
    reason: str = ""
    """The evaluator's own, in full."""


def verdict(evidence: Evidence, exports: Exports | None = None, rechecks: Rechecks | None = None) -> Verdict:
    """The verdict so far. exports, rechecks: those of this server, None where none can be made."""
    best = evidence.best
    if best is None:
        return _none_yet(evidence)
    kind, headline, tone = headline_of(evidence, best)
    result = evidence.results.get(best.step)
    better = evidence.gains.of(result) if result else {}
    is_there = evidence.reader.manifest(best.step) and file_state(evidence.reader.run, best.step) == "same"
    return Verdict(
        kind,
        headline,
        tone,
        _sentence(evidence, best, kind, better),
        best.step,
        rows(evidence, best),
        (*(_outdated(evidence, best, rechecks) if rechecks else ()), *cautions(evidence, best, better)),
        runner_up(evidence, best),
        downloads(evidence.reader, best.step, exports, best.strength.recommended if best.strength else 1.0),
        str(file_to_ship(evidence.reader.run, best.step)) if is_there else "",
        told(best.reason_phrases, best.reason),
    )


def _outdated(evidence: Evidence, best: Best, rechecks: Rechecks) -> Iterator[str]:
    """That the code that is there now finds another verdict; a living evaluator writes it by itself."""
    found = None if evidence.programs.live else rechecks.of(evidence.reader, best)
    if found is None or found.gist == best.gist:
        return
    cure = say(
        "An older version of Darkroom wrote this verdict. Write it again: `{command} --write`",
        command=of_run("verdict", evidence.reader.run.path),
    )
    if found.step != best.step:
        yield say("Computed again now, the best is step {step}. {cure}", step=found.step, cure=cure)
    else:
        yield say("Computed again now, step {step} has other numbers. {cure}", step=found.step, cure=cure)


def _none_yet(evidence: Evidence) -> Verdict:
    if damage := evidence.reader.damaged.get(evidence.reader.run.best):
        return Verdict("failed", say("The verdict cannot be read"), "bad", f"{damage} {damage.hint}".strip())
    if words := failed(evidence):
        return Verdict("failed", words[0], "bad", words[1])
    words = waiting(evidence) if evidence.programs.live else not_evaluated(evidence)
    is_stuck = not evidence.programs.live and bool(evidence.reader.snapshot_steps())
    return Verdict("waiting", words[0], "warn" if is_stuck else "quiet", words[1])


def headline_of(evidence: Evidence, best: Best) -> tuple[Kind, str, VerdictTone]:
    """(what it is, in words, how it is coloured)."""
    kind, words, tone = _headline_of(evidence, best)
    found = file_state(evidence.reader.run, best.step) if kind in ("ship", "leading") else "same"
    if found == "changed":
        return "unproven", say("Step {step} is the best, but its file has changed since", step=best.step), "warn"
    if found == "gone":
        return "unproven", say("Step {step} is the best, but its file is missing", step=best.step), "warn"
    return kind, words, tone


def _headline_of(evidence: Evidence, best: Best) -> tuple[Kind, str, VerdictTone]:
    if best.flagged:
        return "unproven", say("No snapshot can be recommended"), "bad"
    if not best.ranked:
        return _unranked_headline(best)
    if best.surer:
        return "unproven", say("Step {step} leads, but is not sure", step=best.step), "warn"
    if not best.better_than_base:
        if evidence.is_over:
            return "unproven", say("No snapshot clearly beats {base}", base=evidence.base), "warn"
        return "unproven", say("Nothing beats {base} yet", base=evidence.base), "warn"
    if best.confirmation is None and not evidence.is_over:
        return "leading", say("Leading so far: step {step}", step=best.step), "quiet"
    doubtful = any(signal.raised for signal in best.signals)
    return "ship", say("Ship step {step}", step=best.step), "warn" if doubtful else "good"


def _unranked_headline(best: Best) -> tuple[Kind, str, VerdictTone]:
    if best.votes is None:
        return "unvoted", say("Vote to choose: no metric ranks the snapshots"), "warn"
    if best.better_than_base:
        return "ship", say("Ship step {step}", step=best.step), "good"
    return "unranked", say("Preferred by votes so far: step {step}", step=best.step), "quiet"


def _sentence(evidence: Evidence, best: Best, kind: Kind, better: PromptValues) -> str:
    """In prompts won."""
    if not best.ranked:
        return _unranked(best)
    if not better:
        return ""
    if kind == "unproven":
        return _unproven(evidence, best, better)
    won = of_units(num_won(better), len(better), evidence.unit)
    better_on = say("better than {base} on {won}", base=evidence.base, won=won)
    return sentence(better_on, *_confirmed(evidence, best), *_voted(best), _signs(best), *_strength(best))


def _unranked(best: Best) -> str:
    """What is known where no metric ranks the snapshots."""
    if best.votes is None:
        said = {"step": best.step, "count": best.num_evaluated - len(best.passed_over)}
        return say("Step {step} is the last of {count} that may be shipped, not the best by any measure.", **said)
    votes = say("1 vote") if best.votes.num_votes == 1 else say("{count} votes", count=best.votes.num_votes)
    return sentence(say("chosen by {votes} alone", votes=votes), _signs(best), *_strength(best))


def _unproven(evidence: Evidence, best: Best, better: PromptValues) -> str:
    all_of_them, unit = len(better), evidence.unit
    won, lost = (of_units(count, all_of_them, unit) for count in (num_won(better), num_lost(better)))
    said = {"step": best.step, "count": best.num_evaluated, "base": evidence.base, "won": won, "lost": lost}
    if best.composite and best.composite.low > 0:
        return say("Step {step} is the best of {count}, and worse than {base} on {lost}.", **said)
    if len(best.surer) == 1:
        return say(
            "Step {step}: better than {base} on {won}, which may be chance. Step {other} is surely better than {base}: "
            "take it if you want to be sure.",
            **said,
            other=best.surer[0],
        )
    if best.surer:
        return say(
            "Step {step}: better than {base} on {won}, which may be chance. Steps {others} are surely better than "
            "{base}: take step {first}, the best of these, if you want to be sure.",
            **said,
            others=steps(map(label, sorted(best.surer))),
            first=best.surer[0],
        )
    if not best.better_than_base:
        return say("Step {step} is the best of {count}, without a clear gain over {base}: better on {won}.", **said)
    return say(
        "Step {step} is the best of {count}: better than {base} on {won}, but it fails a guard or shows a sign of "
        "overfitting, as every other one does.",
        **said,
    )


def _confirmed(evidence: Evidence, best: Best) -> Iterator[str]:
    """What evaluating it again said."""
    found = best.confirmation
    if best.votes and best.votes.moved:
        return
    if found:
        unseen = num_unseen(found)
        if unseen == 1:
            yield say("confirmed on 1 unseen {unit}", unit=say(evidence.unit))
        elif unseen:
            yield say("confirmed on {count} unseen {unit}s", count=unseen, unit=say(evidence.unit))
        else:
            yield say("confirmed with new seeds")
    elif evidence.is_over and best.finalists:
        yield say("not confirmed")
    elif not evidence.is_over and evidence.reader.config.evaluation.confirm_prompts:
        yield say("not confirmed yet")


def _voted(best: Best) -> Iterator[str]:
    """What people said of it."""
    if not best.votes:
        return
    votes = say("1 vote") if best.votes.num_votes == 1 else say("{count} votes", count=best.votes.num_votes)
    if best.votes.moved:
        yield say("chosen by {votes} over step {before}", votes=votes, before=best.votes.before)
    elif best.votes.favourite == best.step:
        yield say("in line with {votes}", votes=votes)
    else:
        yield say("the votes lean to step {step}", step=best.votes.favourite)


def num_unseen(found: Confirmation) -> int:
    """Prompts that had no part in the first evaluation: of older versions all of them."""
    return found.num_prompts if found.num_unseen is None else found.num_unseen


def _strength(best: Best) -> Iterator[str]:
    """At which to use it, and what is left where several LoRAs are used together."""
    found = best.strength
    if found is None or not (best.ranked or found.recommended != 1.0):
        return
    yield say("to be used at strength {strength}", strength=f"{found.recommended:g}")
    if found.kept is not None:
        yield say("{kept} of the gain is left at {lower}", kept=f"{max(0.0, found.kept):.0%}", lower=f"{found.lower:g}")


def _signs(best: Best) -> str:
    """Of overfitting."""
    raised = [say(signal.name) for signal in best.signals if signal.raised]
    if raised:
        return say("with signs of overfitting ({names})", names=", ".join(raised))
    return say("no sign of overfitting") if any(signal.raised is False for signal in best.signals) else ""
