"""What the browser draws before Streamlit is there: the bar, and the main part of the page.

Streamlit draws nothing before its scripts are loaded, its WebSocket is connected and the page's script has run. The
page therefore carries what these components need, and `early.js` draws them at once; they ask for their documents
themselves.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from dashboard.components.dataset import dataset_data
from dashboard.components.screen import bar_words, log_data, machine_data, runs_words, screen_words, snapshots_words
from dashboard.components.vote import vote_data
from dashboard.data.runs import id_of, run_names, starts_with_all
from dashboard.panels.bar import bar_data
from dashboard.panels.compare import compared, contest_data, contestant, others_than
from dashboard.panels.data import VIEW as DATA_VIEW
from dashboard.panels.first_screen import first_screen_data
from dashboard.panels.logs import role_at_first
from dashboard.panels.pictures import KEYS, pictures_data
from dashboard.panels.runs import VIEW, runs_data
from dashboard.panels.settings import settings_data
from dashboard.panels.snapshots import table_data
from dashboard.server.screen import one_of, reader_of
from dashboard.server.scripts import imported_by, links, script_url
from dashboard.story.log import STARTS, logs_of
from dashboard.text import language
from dashboard.theme import css_variables
from dashboard.url_state import PARSERS
from shared.errors import DarkroomError

SCRIPT = "early.js"
STYLE = f"""<style>
:root {{ --st-font: "Source Sans", sans-serif; --st-code-font: "Source Code Pro", monospace; {css_variables("light")} }}
@media (prefers-color-scheme: dark) {{ :root {{ {css_variables("dark")} }} }}
</style>"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One component of the page."""

    name: str
    """Of the component, of its module and of the function that the module exports."""
    key: str
    """Of the container that Streamlit will have for it."""
    data: dict[str, Any]


def early(page: str, query: Mapping[str, str]) -> str:
    """For the head of a page, in the language that is spoken; empty where Python must first decide what to show."""
    names, asked = run_names(), query.get("run")
    run = asked or next(iter(names), "")
    run_id = id_of(run, names)
    if page == "overview" and starts_with_all(names, asked):
        page = "runs"
    if not run_id:
        return ""
    bar = Part("bar", "bar", bar_data(run, run_id, page) | {"words": bar_words()})
    parts = [part for part in (main_part(page, run, query), bar) if part]
    given = {"lang": language.current(), "parts": [asdict(part) for part in parts]}
    data = json.dumps(given, ensure_ascii=False).replace("<", "\\u003c")
    modules = set[str]().union(*(imported_by(f"{name}.js") for name in ("early", *(part.name for part in parts))))
    return (
        f'{links(modules)}{STYLE}<script type="application/json" id="darkroom-given">{data}</script>'
        f'<script type="module" src="{script_url(SCRIPT)}"></script>'
    )


def main_part(page: str, run: str, query: Mapping[str, str]) -> Part | None:
    """What a person came for; None where that is not ready, or only Python can draw it."""
    try:
        return MAIN[page](run, query) if page in MAIN else None
    except DarkroomError:
        return None  # the panel says it
    except Exception:  # noqa: BLE001 - the edge: the bar stays, and the panel says it in its place
        _log.exception("%s could not be drawn early", page)
        return None


def first_screen(run: str, query: Mapping[str, str]) -> Part:
    """Verdict, pictures, filmstrip."""
    data = first_screen_data(run, chosen("left", query), chosen("step", query))
    return Part("screen", "first_screen", data | {"words": screen_words()})


def all_runs(run: str, query: Mapping[str, str]) -> Part:
    """The cards."""
    return Part("runs", "runs", runs_data(run, {key: chosen(key, query) for key in VIEW}) | {"words": runs_words()})


def pictures(run: str, query: Mapping[str, str]) -> Part | None:
    """The wall."""
    reader = reader_of(run)
    data = pictures_data(reader, {name: chosen(key, query) for name, key in KEYS.items()})
    return Part("wall", f"wall_{reader.run_id}", data) if data else None


def snapshots(run: str, query: Mapping[str, str]) -> Part | None:
    """The table."""
    reader = reader_of(run)
    data = table_data(reader, chosen("step", query), chosen("order", query), None)
    return Part("snapshots", f"snapshots_{reader.run_id}", data | {"words": snapshots_words()}) if data else None


def vote(run: str, query: Mapping[str, str]) -> Part:
    """Two pictures."""
    return Part("vote", "vote", vote_data(run))


def data_set(run: str, query: Mapping[str, str]) -> Part:
    """The pictures that are trained on and held out."""
    return Part("dataset", "dataset", dataset_data(run, {key: chosen(key, query) for key in DATA_VIEW}))


def machine(run: str, query: Mapping[str, str]) -> Part:
    """The machine now."""
    return Part("machine", "machine", machine_data(run))


def comparison(run: str, query: Mapping[str, str]) -> Part | None:
    """Which run wins, and on what."""
    names = compared(others_than(run), chosen("compare", query))
    contestants = [contestant(reader_of(name)) for name in (run, *names)]
    return Part("sheet", "contest", contest_data(contestants, run)) if names else None


def settings(run: str, query: Mapping[str, str]) -> Part:
    """All of them."""
    return Part("sheet", "settings", settings_data(reader_of(run)))


def program_log(run: str, query: Mapping[str, str]) -> Part | None:
    """The newest lines of a program, or those from an error on."""
    roles, asked = sorted(logs_of(reader_of(run).run)), chosen("role", query)
    role = asked if asked in roles else role_at_first(roles) if roles else None
    return Part("log", "log", log_data(run, role, one_of(STARTS, chosen("at", query)))) if role else None


def chosen(key: str, query: Mapping[str, str]) -> Any:
    """What the address says; None if it says nothing that can be read."""
    with suppress(KeyError, ValueError):
        return PARSERS[key](query[key])
    return None


MAIN: dict[str, Callable[[str, Mapping[str, str]], Part | None]] = {
    "runs": all_runs,
    "overview": first_screen,
    "samples": pictures,
    "vote": vote,
    "snapshots": snapshots,
    "compare": comparison,
    "data": data_set,
    "logs": program_log,
    "settings": settings,
    "system": machine,
}
"""Page → its main part."""
