"""The star and the note of a snapshot, written to the run when somebody says so."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.data import notes
from dashboard.data.notes import MAX_CHARACTERS, NoteConflictError
from dashboard.data.reader import RunReader
from dashboard.panels import act, sentence
from dashboard.text.language import say
from shared.errors import RunFolderError
from shared.run_folder.notes import Notes


def show_notes(reader: RunReader, step: int, noted: Notes | None) -> None:
    """noted: None if notes.json cannot be read; then nothing is written over it."""
    if noted is None:
        if problem := reader.damaged.get(reader.run.notes):
            st.error(sentence(problem), icon=":material/error:")
        return
    star = f"star_{reader.run_id}_{step}"
    st.session_state[star] = step in noted.starred
    st.toggle(say("Star"), key=star, on_change=give_star, args=(reader, step, star))
    show_note(reader, step, noted.texts.get(step, ""))
    if trouble := st.session_state.get(trouble_of(reader, step)):
        st.error(trouble, icon=":material/error:")


def show_note(reader: RunReader, step: int, there: str) -> None:
    """The note to edit. What another tab wrote meanwhile is shown beside it, and replaced only by a second save."""
    if len(there) > MAX_CHARACTERS:
        show_long_note(there)
        return
    key = f"note_{reader.run_id}_{step}"
    seen = st.session_state.setdefault(f"{key}_seen", there)
    if changed := there != seen:
        st.warning(say("Another tab has changed this note. It says:"), icon=":material/edit_note:")
        st.text(there or "–")
        st.button(say("Take this text over"), key=f"{key}_take", on_click=take_over, args=(key, there))
    with st.form(f"{key}_form", border=False):
        st.text_area(
            say("Note"),
            "" if key in st.session_state else there,  # not set in the session: that would replace what was typed
            key=key,
            height=120,
            max_chars=MAX_CHARACTERS,
            placeholder=say("What did you see?"),
        )
        label = say("Save and replace the other text") if changed else say("Save note")
        st.form_submit_button(label, icon=":material/save:", on_click=save_note, args=(reader, step, key, there))


def show_long_note(there: str) -> None:
    """One that was written outside: its end is only in the file, where an edit here would lose it."""
    st.text(there[:MAX_CHARACTERS] + " …")
    st.caption(
        say(
            "This note has {count} characters; the first {most} are shown. Change it in notes.json.",
            count=f"{len(there):,}",
            most=f"{MAX_CHARACTERS:,}",
        )
    )


def give_star(reader: RunReader, step: int, key: str) -> None:
    """As the toggle says now."""
    attempt(reader, step, lambda: notes.star(reader.run, step, st.session_state[key]))


def save_note(reader: RunReader, step: int, key: str, seen: str) -> None:
    """What stands in the box; `seen`: the note that was shown when it was saved."""

    def save() -> None:
        text = st.session_state[key]
        notes.note(reader.run, step, text, seen)
        st.session_state[f"{key}_seen"] = text.strip()

    attempt(reader, step, save)


def take_over(key: str, there: str) -> None:
    """Into the box comes what the other tab wrote."""
    st.session_state[key] = st.session_state[f"{key}_seen"] = there


def attempt(reader: RunReader, step: int, do: Callable[[], None]) -> None:
    """Write, or keep in words why not."""
    trouble = ""
    try:
        act(reader, do)
    except NoteConflictError:
        trouble = say("The note was not saved: another tab has changed it. Both texts are shown here.")
    except RunFolderError as error:
        trouble = sentence(error)
    except OSError as error:
        trouble = say("The note was not saved: {reason}.", reason=error.strerror or type(error).__name__)
    st.session_state[trouble_of(reader, step)] = trouble


def trouble_of(reader: RunReader, step: int) -> str:
    """The session's key of why the last try to write failed."""
    return f"note_trouble_{reader.run_id}_{step}"
