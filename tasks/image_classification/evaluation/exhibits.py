"""What a person looks at beside the numbers: which classes are confused, how each does, the worst mistakes.

Shapes: P pictures, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.run_folder.records.exhibit import Exhibit, ExhibitPicture, ExhibitTable
from tasks.image_classification import figures
from tasks.image_classification.figures import Indices, Numbers

MOST_CLASSES = 40
"""In the confusion matrix: of more classes those with most mistakes."""
MOST_MISTAKES = 24
"""Shown as pictures."""


def exhibits(
    classes: Sequence[str], ids: Sequence[str], labels_P: Indices, probabilities_PC: Numbers
) -> tuple[list[Exhibit], dict[str, int]]:
    """Tables and pictures of one evaluation, and for each picture's file the place of what it shows."""
    guesses_P = probabilities_PC.argmax(axis=1)
    confusion_CC = figures.confusion(labels_P, guesses_P, len(classes))
    worst = worst_mistakes(labels_P, probabilities_PC)
    files = {f"mistake-{number:02d}.png": place for number, place in enumerate(worst)}
    pictures = tuple(
        ExhibitPicture(
            image=name,
            title=f"{classes[guesses_P[place]]} instead of {classes[labels_P[place]]}",
            note=f"{probabilities_PC[place].max():.0%} sure, {probabilities_PC[place, labels_P[place]]:.0%} for the "
            f"truth; {ids[place]}",
        )
        for name, place in files.items()
    )
    found = [_confusion(classes, confusion_CC)]
    if pictures:
        note = "Wrong answers, the surest first. Some may be pictures with a wrong class."
        found.append(Exhibit(title="Worst mistakes", note=note, pictures=pictures))
    right_P = (guesses_P == labels_P).astype(np.float64)
    return [*found, _classes(classes, confusion_CC), _calibration(probabilities_PC.max(axis=1), right_P)], files


def worst_mistakes(labels_P: Indices, probabilities_PC: Numbers) -> list[int]:
    """Places of wrong answers, the surest first."""
    guesses_P, sure_P = probabilities_PC.argmax(axis=1), probabilities_PC.max(axis=1)
    wrong = np.flatnonzero(guesses_P != labels_P)
    return sorted(wrong.tolist(), key=lambda place: (-sure_P[place], place))[:MOST_MISTAKES]


def _confusion(classes: Sequence[str], confusion_CC: Indices) -> Exhibit:
    note = "A row is a true class, a column what its pictures were named. Off the diagonal stand mistakes."
    shown = np.arange(len(classes))
    if len(classes) > MOST_CLASSES:
        mistakes_C = confusion_CC.sum(axis=0) + confusion_CC.sum(axis=1) - 2 * np.diagonal(confusion_CC)
        shown = np.sort(np.argsort(-mistakes_C, kind="stable")[:MOST_CLASSES])
        note += f" Of {len(classes)} classes the {MOST_CLASSES} with most mistakes."
    names = tuple(classes[int(place)] for place in shown)
    cells = tuple(tuple(float(confusion_CC[row, column]) for column in shown) for row in shown)
    table = ExhibitTable(
        of_rows="true class", of_columns="named", rows=names, columns=names, cells=cells, shading="matrix"
    )
    return Exhibit(title="Confusion matrix", note=note, table=table)


def _classes(classes: Sequence[str], confusion_CC: Indices) -> Exhibit:
    precision_C, recall_C, f1_C = figures.by_class(confusion_CC)
    there_C, named_C = confusion_CC.sum(axis=1), confusion_CC.sum(axis=0)
    cells = tuple(
        (
            float(precision_C[place]) if named_C[place] else None,
            float(recall_C[place]) if there_C[place] else None,
            float(f1_C[place]) if named_C[place] + there_C[place] else None,
            float(there_C[place]),
        )
        for place in range(len(classes))
    )
    columns = ("precision", "recall", "F1", "pictures")
    table = ExhibitTable(of_rows="class", rows=tuple(classes), columns=columns, cells=cells, decimals=(3, 3, 3, 0))
    return Exhibit(title="Each class", note="A dash: nothing was named so, or nothing is of this class.", table=table)


def _calibration(sure_P: Numbers, right_P: Numbers) -> Exhibit:
    bins_P = figures.bins_of(sure_P)
    rows, cells = list[str](), list[tuple[float | None, ...]]()
    for number in range(figures.NUM_BINS):
        inside = bins_P == number
        if inside.any():
            rows.append(f"{number / figures.NUM_BINS:.0%} to {(number + 1) / figures.NUM_BINS:.0%}")
            cells.append((float(sure_P[inside].mean()), float(right_P[inside].mean()), float(inside.sum())))
    columns = ("mean confidence", "share right", "pictures")
    table = ExhibitTable(
        of_rows="confidence", rows=tuple(rows), columns=columns, cells=tuple(cells), decimals=(3, 3, 0)
    )
    note = f"{figures.NUM_BINS} bins of equal width, without the empty ones. Confidence and share should be equal."
    return Exhibit(title="Calibration", note=note, table=table)
