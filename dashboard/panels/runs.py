"""All runs as cards: open one, say something about it, or compare several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import url_state
from dashboard.components.screen import show_runs
from dashboard.data import notes
from dashboard.data.notes import NoteConflictError
from dashboard.data.runs import open_reader
from dashboard.text import language
from dashboard.text.language import say
from shared.errors import DarkroomError

VIEW = ("filter", "sort", "ticked")
SAVED = "run_note_saved"  # in the session: what became of the note that was saved last


def runs_panel(run_name: str) -> None:
    """Drawn once; from then on the browser asks for what it shows."""
    view = {key: st.session_state.get(key) for key in VIEW}
    asked = show_runs(runs_data(run_name, view, st.session_state.get(SAVED)), key="runs")
    if isinstance(asked.get("view"), dict):
        keep_view(asked["view"])
    match asked:
        case {"do": "open", "run": str(name)}:
            st.session_state["run"] = name
            url_state.write()
            st.switch_page("views/overview.py")
        case {"do": "compare", "runs": [str(first), *others]} if others:
            st.session_state["run"] = first
            st.session_state["compare"] = [other for other in others if isinstance(other, str)]
            url_state.write()
            st.switch_page("views/compare.py")
        case {"do": "note", "run": str(name)}:
            st.session_state[SAVED] = save(name, asked)
            st.rerun()
        case _:
            pass


def runs_data(run_name: str, view: Mapping[str, Any], saved: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the page draws. view: what is sought and ticked; saved: what became of a note."""
    return {"lang": language.current(), "run": run_name, "view": dict(view), "saved": saved}


def keep_view(view: dict[str, Any]) -> None:
    """What is sought and ticked belongs to the address."""
    for key in ("filter", "sort"):
        st.session_state[key] = str(view.get(key) or "")
    st.session_state["ticked"] = [name for name in view.get("ticked") or [] if isinstance(name, str)]
    url_state.write()


def save(name: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Write tags and note of a run; returns what the browser is told, in a conflict with what there is instead."""
    seen = tuple(map(str, asked.get("seenTags") or ())), str(asked.get("seenNote") or "")
    trouble, there = "", {}
    try:
        run = open_reader(name).run
        try:
            notes.describe(run, map(str, asked.get("tags") or ()), str(asked.get("note") or ""), seen)
        except NoteConflictError:
            trouble = say("The note was not saved: another tab has changed it. Both texts are shown here.")
            found = notes.read_notes(run)
            there = {"tags": list(found.tags), "note": found.about[: notes.MAX_CHARACTERS]}
    except DarkroomError as error:
        trouble = f"{error}. {error.hint}".strip()
    except OSError as error:
        trouble = say("The note was not saved: {reason}.", reason=error.strerror or type(error).__name__)
    return {"id": asked.get("id"), "trouble": trouble, "isConflict": bool(there), **there}
