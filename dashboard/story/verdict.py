"""Which snapshot to ship, why, and what is not certain, in words that need no table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dashboard.data.best_snapshot import best_file
from dashboard.data.reader import RunReader
from dashboard.server.exports import Exports, target_of
from dashboard.server.files import download_url
from dashboard.text.formatting import size
from dashboard.text.language import say
from shared.run_folder.records import ExportFormat

Kind = Literal["ship", "leading", "unproven", "waiting", "failed"]
PRIMARY_PROGRAM = "ComfyUI"


@dataclass(frozen=True)
class Row:
    """One metric that counts, against the base model."""

    title: str
    words: str
    """`better on 20 of 20 prompts`."""
    better: bool | None
    """None: no clear difference."""
    delta: float | None
    """More is better, whatever the metric's own direction; in its own units of the composite, so that the bars of
    different metrics compare. None: unknown, as are both ends then."""
    low: float | None
    high: float | None
    caveat: str = ""


@dataclass(frozen=True)
class RunnerUp:
    """The best of the others."""

    step: int
    words: str


@dataclass(frozen=True)
class Download:
    """The snapshot in the format of some programs."""

    name: str
    """As `run.py export --format` takes it."""
    programs: str
    label: str
    url: str
    """Relative to the page; empty unless `ready`."""
    state: Literal["ready", "making", "absent", "failed"]
    bytes: int
    primary: bool
    message: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Verdict:
    """What to ship."""

    kind: Kind
    headline: str
    tone: Literal["good", "quiet", "warn", "bad"]
    sentence: str
    step: int | None = None
    """The snapshot it is about."""
    rows: tuple[Row, ...] = ()
    cautions: tuple[str, ...] = ()
    runner_up: RunnerUp | None = None
    downloads: tuple[Download, ...] = ()
    path: str = ""
    """The file to copy."""
    reason: str = ""
    """The evaluator's own, in full."""


def verdict(reader: RunReader, *, live: bool, exports: Exports | None = None) -> Verdict:
    """The verdict so far."""
    best = reader.best()
    if best is None:
        return Verdict("waiting", say("Waiting for the first snapshot"), "quiet", "")
    if not best.better_than_base:
        kind, headline, tone = "unproven", say("Nothing beats the base model yet"), "warn"
    elif live and best.confirmation is None:
        kind, headline, tone = "leading", say("Leading so far: step {step}", step=best.step), "quiet"
    else:
        kind, headline, tone = "ship", say("Ship step {step}", step=best.step), "good"
    return Verdict(
        kind,
        headline,
        tone,
        "",
        best.step,
        downloads=downloads(reader, best.step, exports),
        path=str(best_file(reader.run, best)),
        reason=best.reason,
    )


def downloads(reader: RunReader, step: int, exports: Exports | None) -> tuple[Download, ...]:
    """Every format that the run names, the one to offer first at the front."""
    forms = sorted(reader.exports, key=lambda form: PRIMARY_PROGRAM not in form.programs)
    return tuple(_download(reader, step, form, exports, primary=form is forms[0]) for form in forms)


def _download(reader: RunReader, step: int, form: ExportFormat, exports: Exports | None, *, primary: bool) -> Download:
    file = reader.run.snapshot(step) / form.file if form.file else target_of(reader.run, step, form)
    name = form.programs.partition(",")[0]
    label = say("Download for {program}", program=name) if primary else name
    if file.is_file():
        num_bytes = file.stat().st_size
        url = download_url(reader.name, str(file.relative_to(reader.run.path)))
        return Download(form.name, form.programs, f"{label} ({size(num_bytes)})", url, "ready", num_bytes, primary)
    making = exports is not None and exports.running(file) is not None
    failure = exports.failure(file) if exports else ""
    state = "making" if making else "failed" if failure else "absent"
    return Download(form.name, form.programs, label, "", state, 0, primary, failure)
