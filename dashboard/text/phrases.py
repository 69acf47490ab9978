"""The evaluator's sentences in the reader's language. Their templates are translated like the page's own texts; what
cannot be said in a language stays in the English of the record: an older run's, a newer version's, a damaged one's."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard.text.language import TEXTS, counted, current, say
from shared.run_folder.phrase import Phrase
from shared.run_folder.records.best import Best, Signal


def told(phrases: Iterable[Phrase | None], english: str) -> str:
    """All of them; `english` where one is missing or has no translation."""
    if current() == "en":
        return english
    try:
        return say(" ").join(map(_told, phrases)) or english
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return english


def told_cautions(best: Best) -> tuple[str, ...]:
    """Each of them."""
    if len(best.caution_phrases) != len(best.cautions):
        return best.cautions
    return tuple(told([one], english) for one, english in zip(best.caution_phrases, best.cautions, strict=True))


def evidence_of(signal: Signal) -> str:
    """Of a sign of overfitting."""
    return told([signal.evidence_phrase], signal.evidence)


def _told(phrase: Phrase | None) -> str:
    """Only templates that have a translation are filled in: a file may hold any text.

    Raises:
        LookupError: there is no translation, or a value is missing.
        ValueError: a value does not fit its format; TypeError likewise.
    """
    if phrase is None:
        raise LookupError
    return counted(TEXTS[current()][phrase.text]).format(
        **{name: _value(value) for name, value in phrase.values.items()}
    )


def _value(value: Phrase | str | float) -> str | float:
    if isinstance(value, Phrase):
        return _told(value)
    return say(value) if isinstance(value, str) else value
