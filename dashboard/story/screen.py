"""The first screen of a run as one document: what to ship, why, the pictures to look at, and what is still to come.

`dataclasses.asdict` of it is what the browser gets. Everything is a text or a number; texts that come from files are
texts, neither HTML nor Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from dashboard.data import alert_texts
from dashboard.data.reader import RunReader
from dashboard.server.exports import Exports
from dashboard.story.evidence import gather
from dashboard.story.filmstrip import Cell, filmstrip
from dashboard.story.pictures import Pictures, pictures
from dashboard.story.status import Status, status
from dashboard.story.verdict import Verdict, verdict


@dataclass(frozen=True)
class AlertLine:
    """What deserves attention."""

    level: Literal["good", "warn", "bad"]
    text: str


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
) -> Screen:
    """The first screen in the viewer's language and time zone.

    Args:
        reader: of the run.
        now: the time, aware.
        zone: in which times are told.
        left: step of the pictures on the left; None: the base model's.
        right: likewise on the right; None: the best snapshot's, else the newest.
        exports: those of this server: whether a file is being converted. None: not known.
    """
    evidence = gather(reader, now, zone)
    alerts = alert_texts.of_run(reader, evidence.programs.trainer, now)
    return Screen(
        run=reader.name,
        run_id=reader.run_id,
        live=evidence.programs.live,
        status=status(evidence),
        verdict=verdict(evidence, exports),
        pictures=pictures(evidence, left, right),
        strip=filmstrip(evidence),
        alerts=tuple(AlertLine(alert.level, alert_texts.sentence(alert)) for alert in alerts),
    )
