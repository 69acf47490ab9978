"""Which pictures to look at first: a typical prompt, the worst, and the newest, each beside its reference."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Literal

from dashboard.data.reader import RunReader
from dashboard.server.files import picture_url
from dashboard.story.evidence import Evidence
from dashboard.story.progress.status import clock
from dashboard.text.formatting import number
from dashboard.text.language import say
from shared.data.references import source_names
from shared.run_folder.metric_descriptions import Column
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.run_dir import step_name
from shared.run_folder.times import parse_time, seconds_since
from shared.statistics.paired import PromptValues, prompts

JUST_NOW_SECONDS = 60.0


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
    """Each with its name: `look 0.06`, on the right with ▲ or ▼ where it is better or worse than on the left."""


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
    """As the titles: reference, left, right."""


@dataclass(frozen=True)
class Pictures:
    """Two snapshots side by side."""

    left: int | None
    right: int | None
    titles: tuple[str, ...]
    """Of the columns: source, reference, left, right; no source and no reference where no prompt has one."""
    picks: tuple[Pick, ...]
    note: str = ""
    """Why there is no picture, or not of what was asked for."""
    absent: bool = False
    """Whether results of this run have no pictures: no room is kept for them."""


def pictures(evidence: Evidence, left: int | None = None, right: int | None = None) -> Pictures:
    """What two steps drew; None: the base model on the left, the best snapshot on the right."""
    reader, drawn = evidence.reader, evidence.results
    if not drawn:
        waits = evidence.programs.live or evidence.programs.trainer is None
        waiting = say("Waiting for the first pictures, drawn by the base model …")
        return Pictures(None, None, (), (), waiting if waits else say("Nothing was drawn in this run."))
    if reader.has_no_pictures():
        shown = any(result.exhibits for result in drawn.values())
        elsewhere = say("What this run shows in place of samples is on the page Pictures.")
        note = elsewhere if shown else say("The results of this run have no pictures.")
        return Pictures(None, None, (), (), note, absent=True)
    asked = [step for step in (left, right) if step is not None and step not in drawn]
    left = left if left in drawn else min(drawn)
    right = right if right in drawn else _right(evidence)
    sides = (side_title(evidence, left), side_title(evidence, right))
    titles = (say("reference"), *sides) if evidence.has_references else sides
    titles = (say("source"), *titles) if evidence.has_sources else titles
    note = say("Nothing was drawn at step {step}.", step=asked[0]) if asked else ""
    return Pictures(left, right, titles, tuple(_picks(evidence, left, right)), note)


def side_title(evidence: Evidence, step: int | None) -> str:
    """A column's."""
    if step is None:
        return say("no snapshot yet")
    if step == BASE_MODEL:
        return say("base")
    return say("step {step}", step=step) + (
        " ★" if evidence.best and evidence.best.step == step and evidence.best.is_chosen else ""
    )


def typical_pair(evidence: Evidence) -> tuple[str, int] | None:
    """(prompt id, seed) of a picture that shows what most prompts do at the best snapshot; None without pictures."""
    left, right = min(evidence.results, default=None), _right(evidence)
    shown = evidence.results.get(right if right is not None else BASE_MODEL)
    if shown is None:
        return None
    gains = _gains(evidence, left, right)
    sample = _sample_of(shown, _nearest_median(gains) if gains else None)
    return (sample.prompt_id, sample.seed) if sample else None


def _right(evidence: Evidence) -> int | None:
    """The best snapshot, else the newest; None before the first."""
    best, snapshots = evidence.best, evidence.results.keys() - {BASE_MODEL}
    return best.step if best and best.step in snapshots else max(snapshots, default=None)


def _picks(evidence: Evidence, left: int | None, right: int | None) -> list[Pick]:
    gains = _gains(evidence, left, right)
    newest = _newest(evidence)
    if not gains:
        picks = [_pick(evidence, "typical", say("First prompt"), left, right, None, None)]
    else:
        typical, worst = _nearest_median(gains), min(gains, key=lambda prompt: (gains[prompt], prompt))
        lost = gains[worst] < 0
        least = say("Worst: worse than on the left") if lost else say("Worst: the smallest gain")
        picks = [_pick(evidence, "typical", say("Typical"), left, right, typical, gains[typical])]
        if worst != typical:
            picks.append(_pick(evidence, "worst", least, left, right, worst, gains[worst]))
    if newest is not None and newest != left:
        gained = _gains(evidence, left, newest)
        words, prompt = _newest_words(evidence, newest), max(gained, key=lambda one: gained[one], default=None)
        picks.append(_pick(evidence, "newest", words, left, newest, prompt, gained.get(prompt or "")))
    return [pick for pick in picks if pick]


def _newest(evidence: Evidence) -> int | None:
    """What was evaluated last."""
    results = [result for step, result in evidence.results.items() if step != BASE_MODEL]
    return max(results, key=lambda result: parse_time(result.created)).step if results else None


def _newest_words(evidence: Evidence, step: int) -> str:
    created = evidence.results[step].created
    if seconds_since(created, evidence.now) < JUST_NOW_SECONDS:
        return say("Newest: step {step}, just now", step=step)
    time = clock(parse_time(created), evidence.now, evidence.zone)
    return say("Newest: step {step}, {time}", step=step, time=time)


def _gains(evidence: Evidence, left: int | None, right: int | None) -> PromptValues:
    """Of the right over the left, by prompt; empty where they cannot be compared."""
    before, after = (evidence.results.get(-1 if step is None else step) for step in (left, right))
    if before is None or after is None:
        return {}
    ours, theirs = evidence.gains.of(before), evidence.gains.of(after)
    return {prompt: theirs[prompt] - ours[prompt] for prompt in theirs if prompt in ours}


def _nearest_median(gains: PromptValues) -> str:
    middle = median(gains.values())
    return min(gains, key=lambda prompt: (abs(gains[prompt] - middle), prompt))


def _sample_of(result: EvaluationResult, prompt: str | None) -> Sample | None:
    """The first of a prompt; of the first prompt where None is asked for."""
    unit = prompts(result.samples)
    return next((one for one in result.samples if prompt is None or unit[one.prompt_id] == prompt), None)


def _pick(
    evidence: Evidence,
    kind: Literal["typical", "worst", "newest"],
    words: str,
    left: int | None,
    right: int | None,
    prompt: str | None,
    gain: float | None,
) -> Pick | None:
    shown = evidence.results.get(right if right is not None else BASE_MODEL)
    sample = _sample_of(shown, prompt) if shown else None
    if sample is None:
        return None
    real = [_reference(evidence.reader, sample)] if evidence.has_references else []
    made_from = [_source(evidence.reader, sample)] if evidence.has_sources else []
    cells = *made_from, *real, _cell(evidence, left, sample), _cell(evidence, right, sample, left)
    return Pick(kind, words, sample.prompt_id, sample.prompt, sample.seed, gain, cells)


def _reference(reader: RunReader, sample: Sample) -> PictureCell:
    if not sample.has_reference:
        return PictureCell(say("reference"), "", "", say("no reference"))
    alt = say("Reference: {prompt}", prompt=sample.prompt or sample.prompt_id)
    return _given(reader, f"{sample.prompt_id}.png", say("reference"), alt)


def _source(reader: RunReader, sample: Sample) -> PictureCell:
    """What is edited: the first of several."""
    if not sample.num_sources:
        return PictureCell(say("source"), "", "", say("no source"))
    alt = say("Source: {prompt}", prompt=sample.prompt or sample.prompt_id)
    return _given(reader, source_names(sample.prompt_id, 1)[0], say("source"), alt)


def _given(reader: RunReader, name: str, title: str, alt: str) -> PictureCell:
    """A picture that comes with the prompt."""
    path = f"references/{name}"
    if not (reader.run.path / path).is_file():
        return PictureCell(title, "", "", say("no picture"))
    return PictureCell(title, *urls(reader, path, reader.run_id), alt)


def _cell(evidence: Evidence, step: int | None, wanted: Sample, other: int | None = None) -> PictureCell:
    """other: the step with which its numbers are compared."""
    title = side_title(evidence, step)
    sample, before = (_drawn(evidence, one, wanted) for one in (step, other))
    if step is None or sample is None or not sample.image:
        return PictureCell(title, "", "", say("no picture"))
    numbers = tuple(
        f"{say(column.topic)} {number(sample.metrics.get(column.name), 2)}{_sign(column, sample, before)}"
        for column in evidence.reader.descriptions.losses
        if column.counts_for(has_reference=sample.has_reference) and _is_measured(evidence, column)
    )
    alt = say("{title}: {prompt}", title=title, prompt=sample.prompt or sample.prompt_id)
    return PictureCell(title, *sample_urls(evidence.reader, step, sample), alt, numbers)


def _is_measured(evidence: Evidence, column: Column) -> bool:
    """Whether any snapshot has a number of it: a dash under every picture says nothing."""
    values = (row.get(column.name) for row in evidence.rows.values())
    return any(isinstance(value, float) and isfinite(value) for value in values)


def _drawn(evidence: Evidence, step: int | None, wanted: Sample) -> Sample | None:
    """The picture of the same prompt and seed."""
    result = evidence.results.get(step) if step is not None else None
    same = (
        (one for one in result.samples if (one.prompt_id, one.seed) == (wanted.prompt_id, wanted.seed))
        if result
        else ()
    )
    return next(iter(same), None)


def _sign(column: Column, sample: Sample, before: Sample | None) -> str:
    """Whether a number is better or worse than before, where that can be seen."""
    value, other = sample.metrics.get(column.name), before.metrics.get(column.name) if before else None
    if value is None or other is None or number(value, 2) == number(other, 2):
        return ""
    return {1: " ▼", -1: " ▲", 0: ""}[column.worsening * (1 if value > other else -1)]


def sample_urls(reader: RunReader, step: int, sample: Sample) -> tuple[str, str]:
    """Of what was drawn at a step: (the picture, its small copy)."""
    path = f"evaluations/{step_name(step)}/images/{sample.image}"
    return urls(reader, path, f"{reader.run_id}-{reader.evaluation_version(step):x}")


def urls(reader: RunReader, path: str, version: str) -> tuple[str, str]:
    """(the picture, its small copy), relative to the page; a new version has a new URL."""
    url = f"{picture_url(reader.name, path)}?v={version}"
    return url, f"{url}&small"
