"""The snapshots: all in a table, the chosen one in full, to take away."""

from __future__ import annotations

import html
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from dashboard import url_state
from dashboard.components.exhibits import exhibits_html
from dashboard.components.screen import Asked, show_snapshots
from dashboard.components.snapshot_details import facts_html, head_html, numbers_html, signs_html
from dashboard.data.drawings import sheets_html
from dashboard.data.reader import RunReader
from dashboard.panels import act, refreshed
from dashboard.panels.evaluate_now import requests_panel
from dashboard.panels.notes import show_notes
from dashboard.panels.waiting import wait_for_training
from dashboard.server.files import download_url
from dashboard.server.jobs import exports
from dashboard.text import language
from dashboard.text.formatting import duration, size, zone_of
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.command_name import as_called
from shared.run_folder.averages import label
from shared.run_folder.notes import Notes
from shared.run_folder.records.deleted_snapshot import DeletedSnapshot
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.manifest import FileEntry, Manifest


@refreshed("snapshots", "metrics", "evaluations", "notes", "settings", seconds=4.0)
def snapshots_panel(reader: RunReader) -> float | None:
    """A click on a row opens the snapshot beside the table, and on every other page."""
    state, opened = st.session_state, f"opened_{reader.run_id}"
    table = table_data(reader, state.get("step"), state.get("order"), state.get(opened))
    if not table:
        return wait_for_training(reader, say("Waiting for the first snapshot …"))
    state.setdefault(opened, table["step"])  # stays: notes are typed
    with st.container(key="snapshots_page"):
        with st.container(key="snapshots_table"):
            for asked in show_snapshots(table, key=f"snapshots_{reader.run_id}"):
                obey(asked)
        with st.container(border=True, key="snapshot"):
            show_snapshot(reader, shown_step(reader, state.get("step"), state[opened]), reader.notes())
    return None


def table_data(reader: RunReader, chosen: int | None, order: str | None, opened: int | None) -> dict[str, Any] | None:
    """What the table draws; None while there is no snapshot. chosen: the step of the address; opened: the one that is
    shown without it."""
    steps, best = steps_of(reader), reader.best()
    if not steps:
        return None
    first = best.step if best and best.step in steps else steps[0]
    step = shown_step(reader, chosen, first if opened is None else opened)
    return {"run": reader.name, "lang": language.current(), "order": order or "", "step": step}


def steps_of(reader: RunReader) -> list[int]:
    """The newest first, then the averages."""
    return [*sorted(reader.snapshot_steps(), reverse=True), *reader.averages()]


def shown_step(reader: RunReader, chosen: int | None, opened: int) -> int:
    """The chosen step, if it has a snapshot."""
    return chosen if chosen is not None and chosen in steps_of(reader) else opened


def obey(asked: Asked) -> None:
    """Which snapshot is open and how they are sorted belongs to the address."""
    match asked:
        case {"do": "open", "step": int(step)}:
            st.session_state["step"] = step
        case {"do": "order", "order": str(order)}:
            st.session_state["order"] = order
        case _:
            return
    url_state.write()


def show_snapshot(reader: RunReader, step: int, noted: Notes | None) -> None:
    """Verdict, what to take away, star and note, its numbers, and what may be asked of the evaluators."""
    deleted = reader.deleted(step)
    manifest = deleted.snapshot if deleted else reader.manifest(step)
    st.html(head_html(reader, step))
    if step in (*reader.drawn_steps(), *reader.averages()) and not reader.has_no_pictures():
        view = {"run": reader.name, "step": str(step)}
        st.page_link(
            "views/samples.py", label=say("Pictures of this snapshot"), icon=":material/image:", query_params=view
        )
    if sheets := sheets_html(reader.run, step):
        st.html(sheets)
    if shown := exhibits_html(reader, step):
        with st.expander(say("What it gets right and wrong")):
            st.html(shown)
    if deleted:
        st.info(deleted_words(deleted), icon=":material/delete:")
    else:
        show_file(reader, step, manifest)
    show_notes(reader, step, noted)
    now, zone = datetime.now(UTC), zone_of(st.context.timezone)
    st.html(numbers_html(reader, step) + signs_html(reader, step) + facts_html(manifest, now, zone))
    requests_panel(reader.name, step)


def deleted_words(deleted: DeletedSnapshot) -> str:
    """Why there is no file."""
    return say(
        "The weights of this snapshot were deleted ({size}): train.snapshots_total_limit is {limit}. Its results and "
        "pictures stay.",
        size=size(deleted.num_bytes),
        limit=deleted.limit,
    )


def show_file(reader: RunReader, step: int, manifest: Manifest | None) -> None:
    """What ships: to download, to copy, to convert."""
    folder = reader.run.snapshot(step)
    if damage := reader.damage(step):
        st.warning(say("This snapshot is damaged: {damage}", damage=verbatim(damage)), icon=":material/warning:")
    if damage or not manifest:
        return
    downloads_panel(reader.name, step, manifest.files)
    for entry in manifest.files:
        st.code(str(folder / entry.name), language=None, wrap_lines=True)
    if converted := to_convert(reader):
        with st.expander(say("On the command line")):
            run = shlex.quote(str(reader.run.path))
            lines = [f"python run.py export {run} --step {label(step)} --format {form.name}" for form in converted]
            st.code(as_called("\n".join(lines)), language=None, wrap_lines=True)


def to_convert(reader: RunReader) -> list[ExportFormat]:
    """The formats that no file of a snapshot has already."""
    return [form for form in reader.exports if not form.file]


def download_html(reader: RunReader, path: str, num_bytes: int, programs: str = "") -> str:
    """A link that saves a file of the run. programs: who reads it; the file's name is shown when empty."""
    if programs:
        text = say("Download for {programs} ({size})", programs=programs, size=size(num_bytes))
    else:
        text = say("Download {file} ({size})", file=path.rpartition("/")[2], size=size(num_bytes))
    url = html.escape(download_url(reader.name, path))
    return f'<a class="download" href="{url}" download>{html.escape(text)}</a>'


@refreshed("exports", seconds=1.0)
def downloads_panel(reader: RunReader, step: int, files: Sequence[FileEntry]) -> float | None:
    """The snapshot's files as they are, and the formats other programs read: a link where there is a file, else a
    button that makes it."""
    converted, programs = to_convert(reader), {form.file: form.programs for form in reader.exports}
    with st.container(horizontal=True, gap="small", key="downloads"):
        for entry in files:
            path = (reader.run.snapshot(step) / entry.name).relative_to(reader.run.path).as_posix()
            st.html(download_html(reader, path, entry.size, programs.get(entry.name, "")), width="content")
        for form in converted:
            target = exports.target_of(reader.run, step, form)
            if target.exists():
                link = download_html(reader, f"exports/{target.name}", target.stat().st_size, form.programs)
                st.html(link, width="content")
            else:
                convert_button(reader, step, form)
    for form in converted:
        if failure := exports.EXPORTS.failure(exports.target_of(reader.run, step, form)):
            st.error(verbatim(failure), icon=":material/error:")
    return 1.0 if exports.EXPORTS.is_busy() else None


def convert_button(reader: RunReader, step: int, form: ExportFormat) -> None:
    """Begins an export; while it is at work, says for how long."""
    server = exports.EXPORTS
    job = server.running(exports.target_of(reader.run, step, form))
    programs, time = verbatim(form.programs), duration(job.seconds()) if job else ""
    making = say("Converting for {programs} … {time}", programs=programs, time=time) if job else ""
    st.button(
        making or say("Convert for {programs}", programs=programs),
        key=f"export_{form.name}_{reader.run_id}_{step}",
        icon=":material/hourglass_top:" if job else ":material/swap_horiz:",
        disabled=server.is_busy(),
        on_click=act,
        args=(reader, server.start, reader.run, step, form),
    )
