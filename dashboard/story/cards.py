"""Every run as one card: what became of it, its best picture, and what was set otherwise than in the others.

A card is told anew only when a file of its run was written, or while a program is at work on it. Of the results it
reads the base model's, the best snapshot's and the newest one's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any

from dashboard.data.comparison import differs, flatten, is_important, spell
from dashboard.data.notes import MAX_CHARACTERS, MAX_TAG_CHARACTERS, MAX_TAGS
from dashboard.data.reader import RunReader, version_of
from dashboard.data.runs import open_reader, run_names, runs_folder
from dashboard.story.evidence import Evidence, gather
from dashboard.story.gains import num_won
from dashboard.story.pictures import sample_urls, typical_pair
from dashboard.story.progress.backlog import num_prompts
from dashboard.story.progress.programs import read_programs
from dashboard.story.progress.status import seconds_at_work, status
from dashboard.story.verdict.verdict import headline_of
from dashboard.story.wording import of_units
from dashboard.text.formatting import duration
from dashboard.text.language import counting, current, say
from dashboard.text.setting_words import setting_words, value_words
from shared.run_folder.averages import label
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.run_dir import RunDir

log = logging.getLogger(__name__)
MIN_KEPT = 500
VIEWS = 4
"""Cards kept for each run, at least: of viewers with other languages and time zones."""
MAX_SETTINGS = 200


@dataclass(frozen=True)
class Setting:
    """One that is not the same in all runs."""

    name: str
    value: str
    words: str
    """Name and value as people call them."""
    short: str


@dataclass(frozen=True)
class Card:
    """One run."""

    name: str
    state: tuple[str, ...]
    """What its programs do, the most important first."""
    tone: str
    live: bool = False
    created: str = ""
    headline: str = ""
    """The verdict; empty before there is one."""
    headline_tone: str = "quiet"
    thumbnail: str = ""
    """URL of the best snapshot's picture, as the filmstrip shows it."""
    best: str | None = None
    best_words: str = ""
    """`best: step 600`."""
    wins: int | None = None
    """Prompts on which the best snapshot is better than the base model."""
    of: int | None = None
    """Prompts compared."""
    won: str = ""
    """`16 of 16 prompts`."""
    seconds: float | None = None
    """Of training: from the start to the last sign of life."""
    duration: str = ""
    settings: tuple[Setting, ...] = ()
    """Only those that differ between the runs shown."""
    tags: tuple[str, ...] = ()
    note: str = ""
    """What people say of the run."""
    notes_trouble: str = ""
    """Why tags and note cannot be changed here."""


@dataclass(frozen=True)
class _Told:
    card: Card
    values: Mapping[str, str]
    """Every setting by name."""


_kept: dict[tuple[Any, ...], tuple[Any, _Told]] = {}
_lock = threading.Lock()


def cards(now: datetime, zone: tzinfo) -> list[Card]:
    """All runs, in the order of `run_names`."""
    names = run_names()
    room = max(MIN_KEPT, VIEWS * len(names))
    told = [_told(name, now, zone, room) for name in names]
    readable = [one.values for one in told if one.values]
    settings = dict.fromkeys(name for values in readable for name in values)
    differing = [name for name in settings if differs(name, readable)][:MAX_SETTINGS]
    return [
        replace(one.card, settings=tuple(_setting(name, one.values[name]) for name in differing if name in one.values))
        for one in told
    ]


def _setting(name: str, value: str) -> Setting:
    return Setting(name, value, setting_words(name), value_words(name, value))


def _told(name: str, now: datetime, zone: tzinfo, room: int) -> _Told:
    """As before where nothing was written since and nobody is at work. room: cards to keep."""
    run = RunDir(runs_folder() / name)
    key = (str(run.path), current(), str(zone), now.astimezone(zone).date())
    try:
        version = _version(run)
        with _lock:
            kept = _kept.get(key)
        if kept and kept[0] == version and not kept[1].card.live:
            return kept[1]
        reader = open_reader(name)
        with counting(reader.unit):
            told = _tell(reader, now, zone)
    except Exception as error:  # one run must not take the others from the page
        log.debug("no card of %s", name, exc_info=error)
        return _Told(Card(name, (say("cannot be read"),), "bad"), {})
    with _lock:
        while len(_kept) >= room:
            _kept.pop(next(iter(_kept)))
        _kept[key] = (version, told)
    return told


def _version(run: RunDir) -> tuple[Any, ...]:
    """Changes whenever something is written that a card tells of."""
    files = (run.record, run.config, run.best, run.metrics_csv, run.metric_descriptions, run.notes)
    folders = (run.evaluations, run.snapshots, run.confirmations, run.processes)
    files = (*files, *sorted(run.snapshots.glob("step-*/*.safetensors")))  # links to files that may change
    programs = sorted(run.processes.glob("*.json")) if run.processes.is_dir() else []
    return (read_programs(run).live, *(version_of(path) for path in (*files, *folders, *programs)))


def _tell(reader: RunReader, now: datetime, zone: tzinfo) -> _Told:
    best, evaluated = reader.best(), reader.evaluated_steps()
    wanted = {BASE_MODEL, *evaluated[-1:], *([best.step] if best else [])}
    evidence = gather(reader, now, zone, sorted(wanted & set(evaluated)))
    shown, seconds = status(evidence), seconds_at_work(evidence)
    card = Card(
        reader.name,
        shown.parts[:2],
        shown.tone,
        evidence.programs.live,
        reader.run.read_record().created,
        thumbnail=_thumbnail(evidence),
        seconds=seconds,
        duration="" if seconds is None else duration(seconds),
        **_said(reader),
    )
    if best:
        better = evidence.gains.of(evidence.results[best.step]) if best.step in evidence.results else {}
        _, headline, tone = headline_of(evidence, best)
        won, words = num_won(better), say("best: step {step}", step=best.step) if best.is_chosen else ""
        card = replace(card, headline=headline, headline_tone=tone, best=label(best.step), best_words=words)
        if better:
            card = replace(card, wins=won, of=len(better), won=of_units(won, len(better), evidence.unit))
    return _Told(card, _values(reader))


def _values(reader: RunReader) -> dict[str, str]:
    """What cards compare."""
    values = flatten(reader.known_settings) | {"evaluation.num_prompts": num_prompts(reader)}
    return {key: spell(value) for key, value in values.items() if is_important(key)}


def _said(reader: RunReader) -> dict[str, Any]:
    """Tags and note of the run; what is too long to be changed here is cut."""
    notes = reader.notes()
    if notes is None:
        problem = reader.damaged.get(reader.run.notes)
        return {"notes_trouble": f"{problem}. {problem.hint}" if problem else say("cannot be read")}
    is_long = len(notes.about) > MAX_CHARACTERS or len(notes.tags) > MAX_TAGS
    trouble = say("The note of this run is too long to be changed here. Change it in notes.json.") if is_long else ""
    tags = tuple(tag[:MAX_TAG_CHARACTERS] for tag in notes.tags[:MAX_TAGS])
    return {"tags": tags, "note": notes.about[:MAX_CHARACTERS], "notes_trouble": trouble}


def _thumbnail(evidence: Evidence) -> str:
    """Of the typical prompt, by the best snapshot; by the newest before there is a best."""
    pair, best = typical_pair(evidence), evidence.best
    step = best.step if best and best.step in evidence.results else max(evidence.results, default=None)
    if pair is None or step is None:
        return ""
    samples = [sample for sample in evidence.results[step].samples if sample.image]
    same = (sample for sample in samples if (sample.prompt_id, sample.seed) == pair)
    sample = next(same, samples[0] if samples else None)
    return sample_urls(evidence.reader, step, sample)[1] if sample else ""
