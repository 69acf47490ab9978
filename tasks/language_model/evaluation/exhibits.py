"""What a person looks at beside the numbers: what was asked, what was expected, what was answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.run_folder.records.exhibit import Exhibit, ExhibitText

MOST_TEXTS = 24
"""Shown of one evaluation; `answers.jsonl` has all."""
MOST_LETTERS = 1500
"""Of a text: of what is asked its end is shown, of an answer its beginning."""


def exhibits(
    ids: Sequence[str],
    questions: Sequence[str],
    expected: Sequence[str],
    answers: Sequence[str],
    notes: Mapping[str, str],
) -> list[Exhibit]:
    """The first examples in the order in which they are held out: the same ones for every snapshot.

    notes: id → what is said of an answer.
    """
    texts = tuple(
        ExhibitText(id=name, prompt=_end(question), expected=_start(wanted), text=_start(answer), note=notes[name])
        for name, question, wanted, answer in zip(ids, questions, expected, answers, strict=True)
    )[:MOST_TEXTS]
    note = "The first held-out examples, in their order. Marked is what differs between the two answers."
    return [Exhibit(title="Answers", note=note, texts=texts)]


def _end(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"… {text[-MOST_LETTERS:]}"


def _start(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} …"
