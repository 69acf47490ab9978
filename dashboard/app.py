"""The server: `python -m streamlit run dashboard/app.py` from the repository root.

Streamlit finds `app` by reading this file. Beside the pages it serves what they show by URL: pictures and results of
the runs folder (`DARKROOM_RUNS`) and plotly.js from the installed package, so that nothing is fetched from elsewhere.
"""

import os
import sys
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from dashboard.files import routes
from dashboard.gate import Gate
from dashboard.runs import runs_folder
from shared import access, lifeline

lifeline.watch()
token = access.token_for(st.get_option("server.address") or "")
if token and not os.environ.get(access.VARIABLE):  # nobody else has said it
    port = st.get_option("server.port")
    sys.stderr.write(f"dashboard: {access.link(st.get_option('server.address') or '', port, token)}\n")

app = st.App(
    Path(__file__).with_name("views") / "shell.py",
    routes=routes(runs_folder()),
    middleware=[Middleware(Gate, token=token)],
)
