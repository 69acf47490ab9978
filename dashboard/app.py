"""The application that `python -m dashboard` serves.

Beside the pages it serves what they show by URL: pictures and results of the runs folder (`DARKROOM_RUNS`), and
plotly.js from the installed package, so that nothing is fetched from elsewhere. Streamlit reads its settings from
`.streamlit` beside the script that is named here.
"""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from dashboard.files import routes
from dashboard.gate import Gate
from dashboard.page import page_routes
from dashboard.runs import runs_folder
from shared import access

app = st.App(
    Path(__file__).with_name("shell.py"),
    routes=[*page_routes(), *routes(runs_folder())],
    middleware=[Middleware(Gate, admission=access.admission())],
)
