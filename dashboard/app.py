"""The server: `python -m streamlit run dashboard/app.py` from the repository root.

Streamlit finds `app` by reading this file. Beside the page it serves what the page shows by URL: the pictures of the
runs folder (`DARKROOM_RUNS`) and plotly.js from the installed package, so that nothing is fetched from elsewhere.
"""

from pathlib import Path

import streamlit as st

from dashboard.files import routes
from dashboard.runs import runs_folder
from shared import lifeline

lifeline.watch()

app = st.App(Path(__file__).with_name("views") / "live.py", routes=routes(runs_folder()))
