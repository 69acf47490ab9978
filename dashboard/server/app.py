"""The application that `python -m dashboard` serves.

Beside the pages it serves what they show by URL: pictures and numbers of the runs folder (`DARKROOM_RUNS`), and
plotly.js from the installed package, so that the page loads nothing from other sites. Streamlit reads its settings from
`.streamlit` beside the script named here.
"""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from dashboard.data.runs import runs_folder
from dashboard.server.auth import Gate
from dashboard.server.data import data_routes
from dashboard.server.drawn import drawn_routes
from dashboard.server.figures import figure_routes
from dashboard.server.files import routes
from dashboard.server.page import elsewhere_routes, page_routes
from dashboard.server.posts.captions import caption_routes
from dashboard.server.posts.control import control_routes
from dashboard.server.posts.run_notes import run_note_routes
from dashboard.server.posts.votes import vote_routes
from dashboard.server.screen import screen_routes
from dashboard.server.scripts import script_routes
from shared.config import access

app = st.App(
    Path(__file__).parents[1] / "shell.py",
    routes=[
        *page_routes(),
        *script_routes(),
        *screen_routes(),
        *figure_routes(),
        *drawn_routes(),
        *data_routes(),
        *caption_routes(),
        *vote_routes(),
        *control_routes(),
        *run_note_routes(),
        *routes(runs_folder()),
        *elsewhere_routes(),
    ],
    middleware=[Middleware(Gate, admission=access.admission())],
)
