"""The wall of pictures: each prompt as its sources, the reference, A and B show it, compared in the browser.

Python sends the steps that can be chosen; the browser fetches results and pictures by URL, once each. What a person
chooses comes back as one dictionary, which goes into the page's address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import streamlit as st

from dashboard.components.module import module_component
from dashboard.story.drawn import Drawn
from dashboard.text.formatting import metric_name
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import MetricDescriptions

Column = dict[str, Any]
Choice = dict[str, Any]

_wall = module_component("wall", "wall.js", '<div class="darkroom-wall"></div>')


def wall_data(
    run: str,
    run_id: str,
    *,
    descriptions: MetricDescriptions,
    drawn: Sequence[Drawn] = (),
    columns: Sequence[Column] = (),
    defaults: tuple[int | None, int | None] = (None, None),
    choice: Choice | None = None,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """What wall.js draws.

    Args:
        run: name of the run whose references are shown.
        run_id: keeps the caches of two runs of one name apart.
        descriptions: of the numbers under the pictures.
        drawn: what A and B can be.
        columns: in place of A and B, where nothing can be chosen: each with `run`, `step`, `version` and `title`. Those
            after the first are compared with it.
        defaults: steps of A and B while nobody has chosen.
        choice: `left` (A), `right` (B), `sort` and `prompt`, as the address has them.
        remarks: sentences over the wall.
    """
    return {
        "run": run,
        "runId": run_id,
        "drawn": [asdict(one) for one in drawn],
        "columns": list(columns),
        "defaults": dict(zip(("left", "right"), defaults, strict=True)),
        "choice": choice or {},
        "remarks": list(remarks),
        "metrics": [[column.name, say(column.topic), column.worsening] for column in descriptions.losses],
        "pointers": [[column.name, metric_name(column)] for column in descriptions.pointers],
        "words": wall_words(),
    }


def show_wall(data: dict[str, Any], *, key: str, on_choice: Callable[[Choice], None] | None = None) -> None:
    """Show what `wall_data` returns; `on_choice` is called with what the viewer chose, in the form of its `choice`."""

    def note() -> None:
        chosen = st.session_state[key].get("chosen")
        if on_choice and isinstance(chosen, dict):
            on_choice(chosen)

    _wall(key=key, data=data, on_chosen_change=note)


def wall_words() -> dict[str, str]:
    """The texts of the wall."""
    return lens_words() | {
        "sides": say("Snapshots compared"),
        "earlier": say("Earlier step as {side}", side="{side}"),
        "later": say("Later step as {side}", side="{side}"),
        "swap": say("Swap A and B"),
        "sort": say("Sort"),
        "prompts": say("prompt order"),
        "improved": say("most improved"),
        "worst": say("worst first"),
        "lost": say("got worse than A"),
        "size": say("Size"),
        "small": say("S"),
        "medium": say("M"),
        "large": say("L"),
        "summary": say(
            "{right} against {left}: better on {won} of {all} prompts, worse on {lost}.",
            right="{right}", left="{left}", won="{won}", all="{all}", lost="{lost}",
        ),
        "noGains": say(
            "{right} and {left} cannot be compared as a whole: a number is missing.", right="{right}", left="{left}"
        ),
        "same": say("A and B are the same snapshot."),
        "noneLost": say("No picture got worse than A."),
        "noReference": say("no reference"),
        "source": say("source"),
        "noSource": say("no source"),
        "notDrawn": say("Nothing was drawn at step {step}.", step="{step}"),
        "noSnapshot": say("no snapshot yet"),
        "allSteps": say("All steps"),
        "closeSteps": say("Close"),
        "stepsHint": say("Click: show as B. Shift-click: as A."),
        "betterBy": say("better by {gain}", gain="{gain}"),
        "worseBy": say("worse by {gain}", gain="{gain}"),
        "gainMeaning": say("Than A: all weighed metrics of this picture together, in units of the composite"),
        "keys": say("Keys"),
        "keysText": say(
            "← → prompt · ↑ ↓ step of B, with Shift of A · Home End first, newest · * best · x swaps A and B · "
            "s w k d side by side, wipe, blink, difference · Space held shows A · Enter enlarges · + − 0 zoom · "
            "Esc closes"
        ),
    }  # fmt: skip


def lens_words() -> dict[str, str]:
    """The texts of an enlarged picture and of the numbers under one."""
    return {
        "reference": say("reference"),
        "seed": say("seed"),
        "nothing": say("no picture"),
        "missingFile": say("the picture file is missing or damaged"),
        "compare": say("Compare"),
        "single": say("one"),
        "side": say("side by side"),
        "wipe": say("wipe"),
        "blink": say("blink"),
        "difference": say("difference"),
        "shown": say("Picture shown"),
        "previous": say("Previous prompt"),
        "next": say("Next prompt"),
        "close": say("Close"),
        "enlarge": say("Enlarge: {picture}", picture="{picture}"),
        "zoomIn": say("Zoom in"),
        "zoomOut": say("Zoom out"),
        "divider": say("Boundary between {left} and {right}", left="{left}", right="{right}"),
        "better": say("better than {side}", side="{side}"),
        "worse": say("worse than {side}", side="{side}"),
        "equal": say("as {side}", side="{side}"),
    }
