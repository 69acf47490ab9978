"""The first screen of a run as one document: what to ship, why, the pictures to look at, and what is still to come.

`dataclasses.asdict` of it is what the browser gets. Everything is a text or a number; texts that come from files are
texts, neither HTML nor Markdown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any, Literal, TypeVar

from dashboard.data import alert_texts
from dashboard.data.reader import RunReader
from dashboard.server.jobs.exports import Exports
from dashboard.server.jobs.rechecks import Rechecks
from dashboard.story.evidence import Evidence, gather
from dashboard.story.filmstrip import Cell, filmstrip
from dashboard.story.pictures import Pictures, pictures
from dashboard.story.progress.status import Can, Status, status
from dashboard.story.verdict.verdict import Verdict, verdict
from dashboard.text.language import say
from shared.errors import DarkroomError

log = logging.getLogger(__name__)
Told = TypeVar("Told")


@dataclass(frozen=True)
class Trouble:
    """Why a part cannot be told."""

    text: str


@dataclass(frozen=True)
class AlertLine:
    """What deserves attention."""

    level: Literal["good", "warn", "bad"]
    text: str
    log: str = ""
    """The program whose log says more; empty where there is none."""


@dataclass(frozen=True)
class Screen:
    """Everything of it."""

    run: str
    run_id: str
    live: bool
    """Whether a program is at work on the run: only then does anything change."""
    status: Status
    verdict: Verdict
    pictures: Pictures
    strip: tuple[Cell, ...]
    alerts: tuple[AlertLine, ...]


def screen(
    reader: RunReader,
    now: datetime,
    zone: tzinfo,
    *,
    left: int | None = None,
    right: int | None = None,
    exports: Exports | None = None,
    rechecks: Rechecks | None = None,
) -> Screen:
    """The first screen in the viewer's language and time zone.

    Args:
        reader: of the run.
        now: the time, aware.
        zone: in which times are told.
        left: step of the pictures on the left; None: the base model's.
        right: likewise on the right; None: the best snapshot's, else the newest.
        exports: those of this server: whether a file is being converted. None: not known.
        rechecks: likewise: whether the code that is there now finds another verdict.
    """
    evidence = _try(lambda: gather(reader, now, zone))
    if isinstance(evidence, Trouble):
        return _unreadable(reader, evidence)
    told: dict[str, Any] = {
        "status": _try(lambda: status(evidence)),
        "verdict": _try(lambda: verdict(evidence, exports, rechecks)),
        "pictures": _try(lambda: pictures(evidence, left, right)),
        "strip": _try(lambda: filmstrip(evidence)),
        "alerts": _try(lambda: _alerts(evidence)),
    }
    whole = {name: part for name, part in told.items() if not isinstance(part, Trouble)}
    broken = [part for part in told.values() if isinstance(part, Trouble)]
    shown = replace(_unreadable(reader, broken[0] if broken else Trouble("")), live=evidence.programs.live, **whole)
    return replace(shown, alerts=(*(AlertLine("bad", one.text) for one in broken), *shown.alerts))


def _try(make: Callable[[], Told]) -> Told | Trouble:
    """One part; a file that nobody foresaw must not take the other parts with it."""
    try:
        return make()
    except Exception as error:
        log.exception("a part of the first screen could not be told")
        hint = error.hint if isinstance(error, DarkroomError) else ""
        return Trouble(f"{error} {hint}".strip() or type(error).__name__)


def _unreadable(reader: RunReader, trouble: Trouble) -> Screen:
    """What stands where something cannot be told."""
    title = say("This run cannot be read")
    return Screen(
        run=reader.name,
        run_id=reader.run_id,
        live=False,
        status=Status((title,), "bad", 0.0, Can()),
        verdict=Verdict("failed", title, "bad", trouble.text),
        pictures=Pictures(None, None, (), (), title),
        strip=(),
        alerts=(),
    )


def _alerts(evidence: Evidence) -> tuple[AlertLine, ...]:
    alerts = alert_texts.of_run(evidence.reader, evidence.programs.trainer, evidence.now)
    logs = {path.stem for path in evidence.reader.run.logs.glob("*.log")}
    return tuple(
        AlertLine(alert.level, alert_texts.sentence(alert), alert.log if alert.log in logs else "") for alert in alerts
    )
