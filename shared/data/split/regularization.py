"""Pictures of the subject's class (Ruiz et al. 2023, DreamBooth, §3.2): a model that trains on them beside one dress
can still draw other dresses. They are used for training only: never held out, never a reference, without the trigger
word.

Folders are recognised by the names that guides and programs give them (`reg/1_dress` beside `img/10_sks dress`), or
named by `data.regularization_path`, as kohya's `--reg_data_dir` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from shared.data import sources
from shared.data.sources import KOHYA_FOLDER, Pair, ScanReport
from shared.errors import DataError

AUTO, NONE = "auto", "none"
PREFIX = "regularization/"
"""Prefix of ids from a separate folder."""
_NAMES = re.compile(r"(regs?|regulari[sz]ation)([-_ ]?(images?|imgs?|pictures|data))?|class[-_ ](images?|data)", re.I)
_ONLY_ABOVE_KOHYA_FOLDERS = re.compile(r"class(es)?", re.I)
"""Names that a subject's folder may have too."""


def recognise(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs, with those in folders of such names marked; none is marked if all would be."""
    marked = [replace(pair, is_regularization=_is_named_for_it(pair.id)) for pair in pairs]
    return list(pairs) if all(pair.is_regularization for pair in marked) else marked


def read_beside(pairs: Sequence[Pair], data: Path, folder: Path, report: ScanReport) -> list[Pair]:
    """The same pairs and those of `folder`, marked, ids beginning with `regularization/`.

    If `folder` is inside the data set, its pairs are already there and keep their ids.

    Raises:
        DataError: `folder` is no data set, or holds the data set.
    """
    inside, around = folder.resolve(), data.resolve()
    if around == inside or around.is_relative_to(inside):
        raise DataError(
            f"data.regularization_path {folder} holds data.path {data}",
            "name the folder of class pictures only",
        )
    if inside.is_relative_to(around):
        return [
            replace(pair, is_regularization=pair.is_regularization or pair.image.resolve().is_relative_to(inside))
            for pair in pairs
        ]
    class_pairs = sources.read(folder, report)
    if not class_pairs and not report.problems:
        raise DataError(f"data.regularization_path {folder} holds no pictures", "name a folder of captioned pictures")
    return [*pairs, *(replace(pair, id=PREFIX + pair.id, is_regularization=True) for pair in class_pairs)]


def folders(pairs: Sequence[Pair]) -> list[str]:
    """Folders of the marked pairs, below the data set's folder."""
    return sorted({str(PurePosixPath(pair.id).parent) for pair in pairs if pair.is_regularization})


def _is_named_for_it(pair_id: str) -> bool:
    names = PurePosixPath(pair_id).parent.parts
    return any(
        _NAMES.fullmatch(name)
        or (_ONLY_ABOVE_KOHYA_FOLDERS.fullmatch(name) and any(map(KOHYA_FOLDER.fullmatch, names[depth + 1 :])))
        for depth, name in enumerate(names)
    )
