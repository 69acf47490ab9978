"""What was drawn at each evaluated step, for the wall of pictures: the steps to choose from, and a step's pictures."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from dashboard.data.reader import RunReader, version_of
from dashboard.story.evidence import Evidence, gather
from dashboard.story.gains import gains
from dashboard.story.verdict.verdict import headline_of
from dashboard.text.language import say
from shared.run_folder.averages import is_average, label
from shared.run_folder.pending import BASE_MODEL
from shared.statistics.paired import prompts


@dataclass(frozen=True)
class Drawn:
    """One evaluated step that can be A or B."""

    step: int
    version: str
    """Changes when the step is evaluated again."""
    basis: str
    """Changes when its gains do though its pictures do not."""
    title: str
    """Over its pictures: `step 600`."""
    label: str
    """To choose it by: with what is to be known of it."""
    mark: str = ""
    """`best` or `leading`, as the verdict says; empty for every other one."""
    reason: str = ""
    """Why there are no pictures."""


@dataclass(frozen=True)
class DrawnSample:
    """One picture."""

    prompt_id: str
    prompt: str
    has_reference: bool
    num_sources: int
    """What it is made from: so many `references/<prompt_id>.source-1.png` …"""
    unit: int
    """Which of the result's prompts it belongs to: pictures with the same caption share one."""
    seed: int
    image: str
    metrics: dict[str, float | None]
    """The weighed ones that can be computed for it: with a reference others than without."""
    gain: float | None
    """Over the base model's, in units of the composite; more is better. None: not known."""
    lookalikes: dict[str, dict[str, str]]
    """Column that points to a training picture → its id and image."""


@dataclass(frozen=True)
class DrawnStep:
    """One step as the browser fetches it."""

    reason: str
    samples: tuple[DrawnSample, ...]


def drawn_steps(reader: RunReader, steps: Iterable[int] | None = None) -> list[Drawn]:
    """In the order of the steps. steps: those to take; None: all that were not skipped."""
    versions = dict(reader.evaluation_versions())
    known = sorted(versions if steps is None else versions.keys() & set(steps))
    evidence = gather(reader, datetime.now(UTC), UTC, steps=())
    basis, newest = _basis(reader), max((step for step in versions if not is_average(step)), default=None)
    return [_drawn(evidence, step, (versions[step], basis), step == newest) for step in known]


def default_sides(reader: RunReader, steps: Iterable[Drawn]) -> tuple[int | None, int | None]:
    """A: the base model. B: the best snapshot, else the newest."""
    able = [one.step for one in steps if not one.reason]
    best, snapshots = reader.best(), [step for step in able if step != BASE_MODEL]
    right = best.step if best and best.step in snapshots else max(snapshots, default=None)
    return min(able, default=None), right


def drawn_step(reader: RunReader, step: int) -> DrawnStep:
    """The pictures of a step with their numbers; why there are none."""
    result = reader.result(step)
    if result is None:
        problem = reader.damaged.get(reader.run.evaluation(step) / "result.json")
        return DrawnStep(str(problem) if problem else say("Nothing was drawn at step {step}.", step=step), ())
    losses = reader.descriptions.losses
    names = {
        kind: [column.name for column in losses if column.counts_for(has_reference=kind)] for kind in (True, False)
    }
    better = gains(reader, reader.result(BASE_MODEL)).of_pictures(result)
    unit_of = prompts(result.samples)
    places = {unit: place for place, unit in enumerate(dict.fromkeys(unit_of.values()))}
    samples = tuple(
        DrawnSample(
            sample.prompt_id,
            sample.prompt,
            sample.has_reference,
            sample.num_sources,
            places[unit_of[sample.prompt_id]],
            sample.seed,
            sample.image,
            {name: sample.metrics.get(name) for name in names[sample.has_reference]},
            better.get((sample.prompt_id, sample.seed)),
            {name: alike.model_dump() for name, alike in sample.lookalikes.items()},
        )
        for sample in result.samples
    )
    return DrawnStep(result.reason, samples)


def _basis(reader: RunReader) -> str:
    """What all gains of a run rest on."""
    best = reader.best()
    rests_on = (
        reader.evaluation_version(BASE_MODEL),
        version_of(reader.run.metric_descriptions),
        best.not_counted if best else (),
    )
    return f"{zlib.crc32(repr(rests_on).encode()):x}"


def _drawn(evidence: Evidence, step: int, version: tuple[str, str], is_newest: bool) -> Drawn:
    reader, best = evidence.reader, evidence.best
    is_base, reason = step == BASE_MODEL, _why_none(reader, step)
    mark = _mark(evidence) if best and best.step == step else ""
    signs = str(evidence.rows.get(step, {}).get("signals") or "nan") != "nan"
    notes = [
        say("best") if mark == "best" else say("leading") if mark else "",
        say("flagged") if signs or (best is not None and step in best.passed_over) else "",
        say("newest") if is_newest and not is_base else "",
        say("no picture") if reason else "",
        say("weights deleted") if step in reader.deleted_steps() else "",
    ]
    name = say("base model") if is_base else label(step)
    title = say("base") if is_base else say("step {step}", step=step)
    told = " · ".join(filter(None, [name, *notes]))
    return Drawn(step, *version, title, told, mark, reason)


def _mark(evidence: Evidence) -> str:
    """Of the snapshot that best.json names; none where nothing says that it is the best."""
    best = evidence.best
    if best and not best.is_chosen:
        return ""
    return "best" if best and headline_of(evidence, best)[0] == "ship" else "leading"


def _why_none(reader: RunReader, step: int) -> str:
    result = reader.result(step)
    if result and result.status == "ok":
        return ""
    return result.reason if result and result.reason else drawn_step(reader, step).reason or say("no picture")
