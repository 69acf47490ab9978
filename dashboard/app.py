"""The server: `python -m streamlit run dashboard/app.py` from the repository root.

Streamlit finds `app` by reading this file. Beside the pages it serves what they show by URL: pictures and results of the
runs folder (`DARKROOM_RUNS`) and plotly.js from the installed package, so that nothing is fetched from elsewhere.
"""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from dashboard.access import token
from dashboard.files import routes
from dashboard.gate import Gate
from dashboard.runs import runs_folder
from shared import lifeline

lifeline.watch()

app = st.App(
    Path(__file__).with_name("views") / "shell.py",
    routes=routes(runs_folder()),
    middleware=[Middleware(Gate, token=token())],
)
