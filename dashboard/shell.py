"""The frame of every page: the bar with the choice of the run and the pages; then the page itself.

The address is the whole state: page, `run`, and what the page adds (`x`, `smoothing`, `step`, `lang`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from dashboard import url_state
from dashboard.components.sheet import show_sheet
from dashboard.data.runs import id_of, run_names, runs_folder, starts_with_all
from dashboard.pages import PATHS, page_titles
from dashboard.panels import LANGUAGE, RUN_IDS, is_another
from dashboard.panels.bar import bar
from dashboard.panels.job_queue import queue_panel
from dashboard.story.sweep import sweep_data, sweeps
from dashboard.text.language import LANGUAGES, best_match, say, use

VIEWS = Path(__file__).parent / "views"


def shell() -> None:
    """The frame around the page that the address names."""
    st.set_page_config(page_title="Darkroom", page_icon="📷", layout="wide")
    url_state.read()
    st.session_state[LANGUAGE] = viewer_language()
    use(st.session_state[LANGUAGE])
    pages = {name: page_of(name, title) for name, title in page_titles().items()}
    page = st.navigation([*pages.values()], position="hidden")
    names = run_names()
    if not names:
        wait_for_a_run(st.session_state[LANGUAGE])
        return
    asked = st.session_state.get("run") or st.query_params.get("run")
    if starts_with_all(names, asked) and page == pages["overview"]:
        st.switch_page(pages["runs"])
    name = asked or names[0]
    run_id = id_of(name, names)
    if name not in names or is_another(name, run_id):
        show_gone(name, names, run_id)
        return
    if run_id:
        st.session_state.setdefault(RUN_IDS, {})[name] = run_id
    st.session_state["run"] = name
    link_pages(pages)
    shown = st.session_state[url_state.PAGE] = next(key for key in pages if pages[key] == page)
    bar(name, run_id, shown)
    page.run()
    url_state.write()


def page_of(name: str, title: str) -> st.Page:
    """The page of `views/<name>.py`."""
    return st.Page(VIEWS / f"{name}.py", title=title, url_path=PATHS[name] or name, default=name == "overview")


def link_pages(pages: Mapping[str, st.Page]) -> None:
    """Streamlit's own links, which nobody sees: the bar presses them, since only they change the page in the browser
    before the old page's parts are drawn again."""
    with st.container(key="page_links"):
        for name, page in pages.items():
            st.container(key=f"page_{name}").page_link(page)


def viewer_language() -> str:
    """`?lang=`, else the browser's."""
    chosen = st.session_state.get("lang")
    return chosen if chosen in LANGUAGES else best_match(st.context.locale)


def show_gone(name: str, names: list[str], run_id: str) -> None:
    """Instead of a page: the run of the address is not there, or another one has its name. Nothing of either is shown
    before the viewer has chosen."""
    st.session_state["run"] = name
    url_state.keep()
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.markdown("# Darkroom", width="content")
        others = [other for other in names if other != name]
        st.selectbox(
            say("Run"),
            others,
            index=None,
            placeholder=say("Choose another run"),
            key="another_run",
            on_change=lambda: st.session_state.update(run=st.session_state["another_run"]),
            label_visibility="collapsed",
            width=320,
        )
    quoted = f"`{name.replace('`', '')}`"  # it comes from an address, and a warning is Markdown
    if name in names:
        st.warning(say("Another run has the name {run} now.", run=quoted), icon=":material/warning:")
        st.button(say("Show the new run"), on_click=lambda: st.session_state[RUN_IDS].pop(name))
    else:
        text = say("The run {run} no longer exists: it was removed or renamed.", run=quoted)
        st.warning(text, icon=":material/warning:")
    look_again(names, name, run_id)


@st.fragment(run_every=1.0)
def wait_for_a_run(language: str) -> None:
    """The page of a folder without runs of its own; it shows the first one as soon as there is one."""
    use(language)
    if run_names():
        st.rerun()
    st.markdown("# Darkroom")
    st.info(
        say(
            "No run in {folder} yet. Start one with `python run.py demo`; it then appears here.",
            folder=runs_folder(),
        )
    )
    queue_panel()
    for name, (sweep, record) in sweeps().items():
        show_sheet(sweep_data(sweep, record), key=f"sweep_{name}")


@st.fragment(run_every=10.0)
def look_again(names: list[str], name: str, run_id: str) -> None:
    """Notice if the run came back, and offer those that were created meanwhile."""
    if run_names() != names or id_of(name, names) != run_id:
        st.rerun()


shell()
