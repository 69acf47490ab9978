"""The wall of pictures: rows of a prompt's pictures by reference, base model and snapshots, compared in the browser.

Python sends the list of steps; the browser fetches results and pictures by URL, once each. The browser returns the
chosen step, which goes into the page's address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components import v2 as components

from dashboard.text.formatting import metric_name
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import Column as Metric
from shared.run_folder.metric_descriptions import MetricDescriptions

_HERE = Path(__file__).parent
SCRIPT, STYLE, FRAME = (_HERE / f"wall.{kind}" for kind in ("js", "css", "html"))
Column = dict[str, Any]
Versions = Sequence[tuple[int, str]]

_mount = components.component(
    "darkroom_wall",
    html=FRAME.read_text(encoding="utf-8"),
    css=STYLE.read_text(encoding="utf-8"),
    js=SCRIPT.read_text(encoding="utf-8"),
)

REFERENCE: Column = {"kind": "reference"}
RUN_COLUMNS: list[Column] = [REFERENCE, {"kind": "base"}, {"kind": "selected"}, {"kind": "newest"}]


def wall_data(
    run: str,
    run_id: str,
    steps: Versions,
    *,
    descriptions: MetricDescriptions,
    best: int | None,
    step: int | None = None,
    columns: Sequence[Column] = RUN_COLUMNS,
    versions: Mapping[str, Versions] | None = None,
    plain: bool = False,
    limit: int | None = None,
) -> dict[str, Any]:
    """What wall.js draws.

    Args:
        run: name of the run whose references are shown and whose steps the slider walks.
        run_id: keeps the caches of two runs of one name apart.
        steps: evaluated steps, ascending, each with a text that changes when it is evaluated again.
        descriptions: of the numbers under the pictures.
        best: the step to star; also the one shown at first.
        step: the step chosen, None for the best.
        columns: `kind` is reference, base, selected, newest, or fixed with `run`, `step` and `title`.
        versions: steps of further runs that fixed columns name.
        plain: no toolbar, no lens.
        limit: the largest number of prompts.
    """
    return {
        "run": run,
        "runId": run_id,
        "steps": [list(pair) for pair in steps],
        "versions": {name: [list(pair) for pair in pairs] for name, pairs in (versions or {}).items()},
        "best": best,
        "step": step,
        "columns": list(columns),
        "metrics": [[metric.name, metric_name(metric), metric.without_reference] for metric in descriptions.losses],
        "pointers": [[column.name, metric_name(column)] for column in descriptions.pointers],
        "words": words(descriptions.losses),
        "plain": plain,
        "limit": limit,
    }


def show_wall(data: dict[str, Any], *, key: str, on_step: Callable[[int], None] | None = None) -> None:
    """Show what `wall_data` returns; `on_step` is called with the step that the viewer chose."""

    def note() -> None:
        chosen = st.session_state[key].get("step")
        if on_step and chosen is not None:
            on_step(int(chosen))

    _mount(key=key, data=data, on_step_change=note)


def words(captioned: Sequence[Metric]) -> dict[str, str]:
    """The texts of the wall; the numbers of the metrics stand under each picture."""
    return {
        "reference": say("reference"),
        "base": say("base"),
        "baseTitle": say("base, step"),
        "step": say("step"),
        "newest": say("newest"),
        "newestTitle": say("newest, step"),
        "best": say("best"),
        "seed": say("seed"),
        "stepShown": say("Step shown"),
        "compare": say("Compare"),
        "with": say("with"),
        "size": say("Size"),
        "side": say("side by side"),
        "wipe": say("wipe"),
        "blink": say("blink"),
        "difference": say("difference"),
        "small": say("S"),
        "medium": say("M"),
        "large": say("L"),
        "nothing": say("no picture"),
        "noReference": say("no reference"),
        "keys": say("Keys"),
        "keysText": say(
            "← → prompt · ↑ ↓ step · Home End first, newest · * best · s w k d side by side, wipe, blink, difference · "
            "b r n compare with base, reference, newest · Space held shows the other · Enter opens · + − 0 zoom · "
            "Esc closes"
        ),
        "legend": legend(captioned),
    }


def legend(captioned: Sequence[Metric]) -> str:
    """Which numbers stand under a picture with a reference, and without one, and which side of them is better."""
    alone = [metric for metric in captioned if metric.without_reference]
    paired = [metric for metric in captioned if not metric.without_reference]
    sentences = [
        say("Under each picture, against the reference: {metrics}.", metrics=_listed(paired)) if paired else "",
        say("Under a picture without a reference: {metrics}.", metrics=_listed(alone)) if alone else "",
    ]
    return " ".join(filter(None, sentences))


def _listed(captioned: Sequence[Metric]) -> str:
    better = {"lower": say("lower is better"), "higher": say("higher is better")}
    groups = {
        words: " · ".join(metric_name(metric) for metric in captioned if metric.direction == direction)
        for direction, words in better.items()
    }
    return "; ".join(f"{names} ({words})" for words, names in groups.items() if names)
