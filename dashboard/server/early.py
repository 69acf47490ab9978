"""What the browser draws before Streamlit is there: the bar, and the first screen of a run or all runs.

Streamlit draws nothing before its scripts are loaded, its WebSocket is connected and the page's script has run. The
page therefore carries what these components need, and `early.js` draws them at once; they ask for their documents
themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dashboard.components.screen import bar_words, runs_words, screen_words
from dashboard.data.runs import id_of, run_names, starts_with_all
from dashboard.panels.bar import bar_data
from dashboard.panels.first_screen import first_screen_data
from dashboard.panels.runs import VIEW, runs_data
from dashboard.server.scripts import imported_by, script_url
from dashboard.text import language
from dashboard.theme import css_variables
from dashboard.url_state import PARSERS

SCRIPT = "early.js"
MODULES = imported_by(SCRIPT)
STYLE = f"""<style>
:root {{ --st-font: "Source Sans", sans-serif; --st-code-font: "Source Code Pro", monospace; {css_variables("light")} }}
@media (prefers-color-scheme: dark) {{ :root {{ {css_variables("dark")} }} }}
</style>"""


def early(page: str, query: Mapping[str, str]) -> str:
    """For the head of a page, in the language that is spoken; empty where Python must first decide what to show."""
    names, asked = run_names(), query.get("run")
    run = asked or next(iter(names), "")
    run_id = id_of(run, names)
    if page == "overview" and starts_with_all(names, asked):
        page = "runs"
    if not run_id or page not in DRAWN:
        return ""
    bar = bar_data(run, run_id, page) | {"words": bar_words()}
    given = {"lang": language.current(), **DRAWN[page](run, query), "bar": bar}
    data = json.dumps(given, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'{STYLE}<script type="application/json" id="darkroom-given">{data}</script>'
        f'<script type="module" src="{script_url(SCRIPT)}"></script>'
    )


def first_screen(run: str, query: Mapping[str, str]) -> dict[str, Any]:
    """By the name of the component."""
    sides = chosen("left", query), chosen("step", query)
    return {"screen": first_screen_data(run, *sides) | {"words": screen_words()}}


def all_runs(run: str, query: Mapping[str, str]) -> dict[str, Any]:
    """By the name of the component."""
    view = {key: chosen(key, query) for key in VIEW}
    return {"runs": runs_data(run, view) | {"words": runs_words()}}


def chosen(key: str, query: Mapping[str, str]) -> Any:
    """What the address says; None if it says nothing that can be read."""
    with suppress(KeyError, ValueError):
        return PARSERS[key](query[key])
    return None


DRAWN = {"overview": first_screen, "runs": all_runs}
"""Pages whose main part `early.js` draws."""
