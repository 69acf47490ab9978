"""The snapshots: all in a table, the chosen one in full, to take away."""

from __future__ import annotations

import html
import shlex
from collections.abc import Sequence

import streamlit as st

from dashboard import url_state
from dashboard.data.drawings import sheets_html
from dashboard.data.notes import Notes
from dashboard.data.reader import RunReader
from dashboard.data.snapshot_table import snapshot_table, verdict_words
from dashboard.panels import act, refreshed
from dashboard.panels.evaluate_now import requests_panel
from dashboard.panels.notes import show_notes
from dashboard.panels.waiting import wait_for_training
from dashboard.server import exports
from dashboard.server.files import download_url
from dashboard.text.formatting import duration, metric_name, size
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.manifest import FileEntry, Manifest

SHORT_TABLE, TABLE_HEIGHT = 12, 420


@refreshed("snapshots", "metrics", "evaluations", "notes", "settings", seconds=4.0)
def snapshots_panel(reader: RunReader) -> float | None:
    """A click on a row chooses the snapshot below, and on every other page."""
    steps = sorted(reader.snapshot_steps(), reverse=True)
    if not steps:
        return wait_for_training(reader, say("Waiting for the first snapshot …"))
    best, noted = reader.best(), reader.notes()
    manifests = {step: manifest for step in steps if (manifest := reader.manifest(step))}
    best_step = best.step if best else None

    def choose() -> None:
        rows = st.session_state[f"snapshots_{reader.run_id}"]["selection"]["rows"]
        if rows:
            st.session_state["step"] = steps[rows[0]]
            url_state.write()

    st.dataframe(
        snapshot_table(steps, reader.metrics(), reader.descriptions, manifests, best, noted or Notes()),
        key=f"snapshots_{reader.run_id}",
        hide_index=True,
        height="content" if len(steps) <= SHORT_TABLE else TABLE_HEIGHT,
        on_select=choose,
        selection_mode="single-row",
        column_config={
            "☆": st.column_config.TextColumn(width=30),
            say("size, MB"): st.column_config.NumberColumn(format="%.2f"),
            say("published"): st.column_config.DatetimeColumn(format="MM-DD HH:mm"),
            **{
                metric_name(column): st.column_config.TextColumn(help=verbatim(say(column.meaning)))
                for column in reader.descriptions.compared
            },
        },
    )
    st.caption(say("Differences vs base model, each with its own 95 % interval over prompts."))
    chosen, opened = st.session_state.get("step"), f"opened_{reader.run_id}"
    st.session_state.setdefault(opened, best_step if best_step in steps else steps[0])  # stays, for notes are typed
    shown = chosen if chosen in steps else st.session_state[opened]
    show_snapshot(reader, shown, manifests.get(shown), noted)
    return None


def show_snapshot(reader: RunReader, step: int, manifest: Manifest | None, noted: Notes | None) -> None:
    """Verdict, contact sheets, file, star and note, and what may be asked of the evaluators."""
    row = reader.metrics().set_index("step").to_dict("index").get(step)
    with st.container(border=True, key="snapshot"):
        st.markdown(f"##### {say('Step {step}', step=step)}")
        st.text(verdict_words(step, row, reader.best()))
        if sheets := sheets_html(reader.run, step):
            st.html(sheets)
        left, right = st.columns([6, 5], gap="medium")
        with left:
            show_file(reader, step, manifest)
        with right:
            show_notes(reader, step, noted)
        requests_panel(reader.name, step)


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
        st.caption(f"sha256 {verbatim(entry.sha256)}")
    if converted := to_convert(reader):
        with st.expander(say("On the command line")):
            run = shlex.quote(str(reader.run.path))
            lines = [f"python run.py export {run} --step {step} --format {form.name}" for form in converted]
            st.code("\n".join(lines), language=None, wrap_lines=True)


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
            path = f"snapshots/{reader.run.snapshot(step).name}/{entry.name}"
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
