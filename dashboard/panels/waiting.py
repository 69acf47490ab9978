"""The text of an empty page: what will appear here, or that no program is working on it."""

from __future__ import annotations

import streamlit as st

from dashboard.data.reader import RunReader
from dashboard.story.progress.awaited import Absent, from_evaluation, from_training

LOOK_SECONDS = 5.0


def wait_for_training(reader: RunReader, text: str) -> float:
    """For pages that the trainer fills; returns the seconds after which to look again."""
    return _tell(from_training(reader, text))


def wait_for_evaluation(reader: RunReader, text: str) -> float:
    """For pages that evaluators fill. Returns the seconds after which to look again."""
    return _tell(from_evaluation(reader, text))


def _tell(absent: Absent) -> float:
    st.info(absent.text, icon=":material/hourglass_empty:" if absent.awaited else ":material/info:")
    return LOOK_SECONDS
