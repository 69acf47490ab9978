"""Which pictures to look at first: the typical prompt and the worst, drawn by two snapshots, beside the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dashboard.data.reader import RunReader
from dashboard.server.files import picture_url
from dashboard.text.formatting import metric_name, number
from dashboard.text.language import say
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records import Sample
from shared.run_folder.run_dir import step_name


@dataclass(frozen=True)
class PictureCell:
    """One picture."""

    title: str
    url: str
    """Relative to the page; empty where there is no picture."""
    small_url: str
    """Of a copy of at most 384 pixels."""
    alt: str
    numbers: tuple[str, ...] = ()
    """Each with its name: `visual loss 0.06`."""


@dataclass(frozen=True)
class Pick:
    """One prompt, drawn on either side."""

    kind: Literal["typical", "worst", "newest"]
    words: str
    prompt_id: str
    prompt: str
    seed: int
    gain: float | None
    """Of the right side over the left, in units of the composite; more is better. None: not known."""
    cells: tuple[PictureCell, ...]
    """Reference, left, right."""


@dataclass(frozen=True)
class Pictures:
    """Two snapshots side by side."""

    left: int | None
    right: int | None
    titles: tuple[str, ...]
    """Of the columns: reference, left, right."""
    picks: tuple[Pick, ...]
    note: str = ""
    """Why there is no picture, or none of what was asked for."""


def pictures(reader: RunReader, left: int | None, right: int | None) -> Pictures:
    """What was drawn at two steps."""
    drawn, best = reader.drawn_steps(), reader.best()
    if not drawn:
        return Pictures(left, right, (), (), say("Waiting for the first pictures, drawn by the base model …"))
    if reader.has_no_pictures():
        return Pictures(left, right, (), (), say("The results of this run have no pictures."))
    left = left if left in drawn else BASE_MODEL if BASE_MODEL in drawn else drawn[0]
    right = right if right in drawn else best.step if best and best.step in drawn else drawn[-1]
    titles = (say("reference"), side_title(left), side_title(right))
    ours, theirs = (_samples(reader, step) for step in (left, right))
    first = next(iter(theirs.values()), None)
    cells = (
        ()
        if first is None
        else (
            _reference(reader, first),
            *(
                _cell(reader, s, o.get(_key(first)), t)
                for s, o, t in ((left, ours, titles[1]), (right, theirs, titles[2]))
            ),
        )
    )
    if first is None:
        return Pictures(left, right, titles, ())
    pick = Pick("typical", say("typical"), first.prompt_id, first.prompt, first.seed, None, cells)
    return Pictures(left, right, titles, (pick,))


def side_title(step: int) -> str:
    """A column's."""
    return say("base") if step == BASE_MODEL else say("step {step}", step=step)


def _samples(reader: RunReader, step: int) -> dict[tuple[str, int], Sample]:
    result = reader.result(step)
    return {_key(sample): sample for sample in result.samples} if result else {}


def _key(sample: Sample) -> tuple[str, int]:
    return sample.prompt_id, sample.seed


def _reference(reader: RunReader, sample: Sample) -> PictureCell:
    path = f"references/{sample.prompt_id}.png"
    if not (reader.run.path / path).is_file():
        return PictureCell(say("reference"), "", "", say("no picture"))
    url, small = _urls(reader, path, reader.run_id)
    return PictureCell(say("reference"), url, small, say("Reference: {prompt}", prompt=sample.prompt))


def _cell(reader: RunReader, step: int, sample: Sample | None, title: str) -> PictureCell:
    if sample is None or not sample.image:
        return PictureCell(title, "", "", say("no picture"))
    version = dict(reader.evaluation_versions()).get(step, "")
    url, small = _urls(reader, f"evaluations/{step_name(step)}/images/{sample.image}", version)
    numbers = tuple(
        f"{metric_name(column)} {number(sample.metrics.get(column.name), 2)}" for column in reader.descriptions.losses
    )
    return PictureCell(title, url, small, say("{title}: {prompt}", title=title, prompt=sample.prompt), numbers)


def _urls(reader: RunReader, path: str, version: str) -> tuple[str, str]:
    url = picture_url(reader.name, path)
    return f"{url}?v={version}", f"{url}?v={version}&small"
