"""The verdict where no metric that counts has a number: guards and signs say what may be shipped, votes choose. Pure.

Without votes, it names the last snapshot that may be shipped, because that is what trainers ship, and says that nothing
shows it to be the best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evaluator.selection.choice import no_recommendation, passed_over
from evaluator.selection.ranking import Ranking
from evaluator.selection.record import recorded
from evaluator.selection.summary import Summary
from evaluator.selection.votes.contest import contest
from evaluator.selection.votes.outcome import outcome
from shared.run_folder.phrase import Phrase, phrase
from shared.run_folder.records.best import Best
from shared.run_folder.records.contest import VoteVerdict
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.votes import Votes


def unranked(found: Ranking, votes: Votes, evaluations: Mapping[int, Sequence[Sample]]) -> Best | None:
    """Without cautions, which the verdict adds; None where no snapshot was drawn. evaluations: step → its pictures."""
    if not found.candidates:
        return None
    last = found.eligible[-1]
    competing = contest(found, (), {step for vote in votes.telling for step in vote.steps})
    voted = outcome(found, competing, votes, evaluations, last.step) if competing else None
    chosen = next(one for one in found.candidates if one.step == (voted.favourite if voted else last.step))
    is_better = bool(voted) and _is_better(voted, chosen.step)
    is_flagged = found.is_flagged_throughout
    sentences = (
        *(
            no_recommendation(found.flagged_at_hand, some_deleted=len(found.at_hand) < len(found.candidates))
            if is_flagged
            else ()
        ),
        *(_by_votes(voted, found, is_better=is_better) if voted else _without_votes(found, last)),
        *passed_over(found.objections),
        *(
            phrase("A sign of overfitting, {name}: {evidence}.", name=signal.name, evidence=signal.said)
            for signal in chosen.signals
            if signal.raised
        ),
        *found.unguarded(chosen),
    )
    return recorded(
        found,
        chosen.step,
        sentences,
        better_than_base=is_better,
        ranked=False,
        flagged=is_flagged,
        votes=voted,
        contest=competing,
    )


def _is_better(voted: VoteVerdict, step: int) -> bool:
    """Than the base model, which competes as well."""
    return next(one.low for one in voted.steps if one.step == step) > 0


def _by_votes(voted: VoteVerdict, found: Ranking, *, is_better: bool) -> Iterator[Phrase]:
    yield from voted.reason_phrases
    yield phrase("No metric ranks the snapshots.")
    if is_better:
        yield phrase("By the votes it is better than {base}.", base=found.metrics.words.base)
    else:
        yield phrase("By the votes it is not shown to be better than {base}.", base=found.metrics.words.base)


def _without_votes(found: Ranking, last: Summary) -> Iterator[Phrase]:
    """last: of those that may be shipped."""
    yield phrase("No metric ranks the snapshots, and nobody has voted.")
    if len(found.eligible) == 1 < len(found.candidates):
        yield phrase("Step {step} is the only one that may be shipped.", step=last.step)
    elif len(found.candidates) == 1:
        yield phrase("Step {step} is the only snapshot evaluated.", step=last.step)
    else:
        yield phrase(
            "Step {step} is named because it is the last of {count} that may be shipped; nothing shows that it is the "
            "best.",
            step=last.step,
            count=len(found.eligible),
        )
        yield phrase("Vote on the dashboard's page Vote: the votes alone choose then.")
