"""Pairs for an edit model: a picture is what its caption, an instruction, makes of the sources beside it.

The first source is what is edited; further ones are only looked at. Whether sources are used is `data.sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from shared.data.buckets import have_same_shape
from shared.data.pictures import Header
from shared.data.sources import Pair, ScanReport

Kind = Literal["files", "off"]


def used(pairs: Sequence[Pair], kind: Kind, report: ScanReport) -> list[Pair]:
    """The same pairs; without their sources where these are not used, which is a notice.

    A picture without a source, or with one that is missing, is a problem where they are.
    """
    with_sources = [pair for pair in pairs if pair.sources]
    if kind == "files":
        report.problems.extend(fault for faults in report.source_faults.values() for fault in faults)
        bare = [pair for pair in pairs if not pair.sources and pair.image not in report.source_faults]
        report.without_source.update(pair.image for pair in bare)
        report.problems.extend(
            f"{pair.image}: no source {pair.image.stem}.source{pair.image.suffix} beside it" for pair in bare
        )
        return list(pairs)
    if with_sources:
        report.notices.append(
            f"{len(with_sources)} picture(s) have sources, such as {with_sources[0].sources[0]}, which are "
            "not used: set data.sources = 'files' to train an edit model"
        )
    return [replace(pair, sources=()) for pair in pairs]


def notices(pairs: Sequence[Pair], header: Callable[[Path], Header]) -> Iterator[str]:
    """That pictures have another shape than the source that they are made from."""
    apart = [
        pair
        for pair in pairs
        if pair.sources and not have_same_shape(header(pair.image).size, header(pair.sources[0]).size)
    ]
    if apart:
        yield (
            f"{len(apart)} picture(s) have another shape than their source, such as {apart[0].image}: both keep their "
            "own, and what the instruction leaves alone is not measured there"
        )
