"""The verdict of a run in words and tags, for trackers."""

from __future__ import annotations

from collections.abc import Iterator

from shared.run_folder.averages import label
from shared.run_folder.phrase import in_unit
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir

ADVICE = {
    "continue": "go on training",
    "advise": "training longer is not expected to help",
    "stop": "training stops",
}


def tags(best: Best) -> dict[str, str]:
    """Short facts by name, as text."""
    found = {
        "best_step": label(best.step),
        "better_than_base": _yes(best.better_than_base),
        "recommended": _yes(not best.flagged),
    }
    if best.advice:
        found["advice"] = best.advice.action
    if best.composite:
        interval = best.composite
        found["composite_delta"] = f"{interval.delta:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
    if best.strength:
        found["strength"] = f"{best.strength.recommended:g}"
    return found


def note(run: RunDir, best: Best) -> str:
    """The verdict and the advice, in Markdown."""
    return in_unit("\n\n".join(_paragraphs(run, best)), run.read_record().unit)


def _paragraphs(run: RunDir, best: Best) -> Iterator[str]:
    unit = run.read_record().unit
    chosen = "Snapshot to ship" if best.is_chosen and not best.flagged else "Last snapshot that may be shipped"
    named = "No snapshot can be recommended; the least bad" if best.flagged else chosen
    yield f"**{named}: {unit} {label(best.step)}.** {best.reason}"
    if best.cautions:
        yield "\n".join(f"- {caution}" for caution in best.cautions)
    if best.advice:
        yield ": ".join(filter(None, ("Advice", ADVICE[best.advice.action], best.advice.reason.rstrip(".")))) + "."
    raised = [signal.evidence for signal in best.latest_signals if signal.raised]
    if raised:
        yield "Signs of overfitting at the newest snapshot: " + "; ".join(raised) + "."


def _yes(told: bool) -> str:
    return "yes" if told else "no"
