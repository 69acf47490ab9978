"""A snapshot to take away, in the formats that the run's task names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dashboard.data.reader import RunReader
from dashboard.server.files import download_url
from dashboard.server.jobs.exports import Exports, target_of
from dashboard.text.formatting import size
from dashboard.text.language import say
from shared.run_folder.file_to_ship import file_state
from shared.run_folder.records.export_format import ExportFormat

FIRST_CHOICE = "ComfyUI"
"""Most people draw with this program."""
State = Literal["ready", "making", "absent", "failed"]


@dataclass(frozen=True)
class Download:
    """The snapshot in the format of some programs."""

    name: str
    """As `run.py export --format` takes it."""
    programs: str
    label: str
    url: str
    """Relative to the page; empty unless `ready`."""
    state: State
    bytes: int
    primary: bool
    message: str = ""
    """Why it failed."""


def downloads(reader: RunReader, step: int, exports: Exports | None, strength: float = 1.0) -> tuple[Download, ...]:
    """Every format, the one to offer first at the front; none where the snapshot no longer exists, and only what was
    converted before where its file is another one by now. strength: at which to use it."""
    if reader.manifest(step) is None:
        return ()
    forms = sorted(reader.exports, key=lambda form: FIRST_CHOICE not in form.programs)
    labels = {form.name: _program(form) for form in forms}
    labels |= {form.name: _offer(_program(form), strength) for form in forms[:1]}
    offered = [_download(reader, step, form, exports, labels[form.name], is_first=form is forms[0]) for form in forms]
    if file_state(reader.run, step) != "same":
        offered = [one for one, form in zip(offered, forms, strict=True) if one.state == "ready" and not form.file]
    return tuple(offered)


def _program(form: ExportFormat) -> str:
    return form.programs.partition(",")[0]


def _offer(program: str, strength: float) -> str:
    if strength == 1.0:
        return say("Download for {program}", program=program)
    return say("Download for {program}, to use at strength {strength}", program=program, strength=f"{strength:g}")


def _download(
    reader: RunReader, step: int, form: ExportFormat, exports: Exports | None, label: str, *, is_first: bool
) -> Download:
    file = reader.run.snapshot(step) / form.file if form.file else target_of(reader.run, step, form)
    if num_bytes := _size(file):
        url = download_url(reader.name, str(file.relative_to(reader.run.path)))
        return Download(form.name, form.programs, f"{label} ({size(num_bytes)})", url, "ready", num_bytes, is_first)
    failure = exports.failure(file) if exports else ""
    state: State = "making" if exports and exports.running(file) else "failed" if failure else "absent"
    return Download(form.name, form.programs, label, "", state, 0, is_first, failure)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
