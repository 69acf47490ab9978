"""Charts as JSON by URL: unchanged, one is not sent again, and one that fails leaves the others alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from math import isfinite
from typing import Any
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.charts.axis import Look
from dashboard.charts.parts import Part
from dashboard.data.reader import RunReader
from dashboard.server.screen import answer, reader_of
from dashboard.story.curves import (
    OPTIONS,
    Chart,
    Window,
    frontier_chart,
    look_of,
    overlay_chart,
    quality_chart,
    system_chart,
    training_chart,
)
from dashboard.story.sweep import sweep_chart
from dashboard.text import language
from dashboard.text.language import current, say
from shared.errors import RunFolderError

PARTS: tuple[Part, ...] = ("first", "further")


def figure_url(run_name: str, chart: str, **asked: object) -> str:
    """The URL of a chart of a run, relative to the page, in the viewer's language. asked: see `chart_of`."""
    return f"figures/{quote(run_name)}/{chart}.json?{urlencode({**asked, 'lang': current()}, doseq=True)}"


def looked_at(look: Look) -> dict[str, object]:
    """A look as an address says it."""
    chosen = dict(zip(OPTIONS, (look.log_x, look.log_y, look.clip, look.anchors), strict=True))
    return {"x": look.x, "smoothing": f"{look.span:g}", "scales": ",".join(name for name in chosen if chosen[name])}


def figure_routes() -> list[Route]:
    """The function is not async, so that Starlette runs each request in a thread of its own."""

    def figure(request: Request) -> Response:
        name, query = request.path_params["chart"], request.query_params
        return answer(request, lambda: asdict(chart_of(reader_of(request.path_params["run"]), name, query)))

    return [Route("/figures/{run}/{chart}.json", figure)]


def chart_of(reader: RunReader, name: str, query: QueryParams) -> Chart:
    """`training-first`, `quality-further`, … as `x`, `smoothing`, `scales`, `low` and `high` want it; `frontier`;
    `compare`, also with the runs named by `with`; `system-2` over `over`; `sweep-trials` and `sweep-importance` of the
    sweep named by `of`.

    Raises:
        RunFolderError: there is no such chart, or a run that is compared cannot be read.
    """
    kind, _, part = name.partition("-")
    if kind == "system" and part.isdecimal():
        return system_chart(reader, int(part), "step" if query.get("over") == "step" else "relative")
    if name == "frontier":
        return frontier_chart(reader)
    if kind == "sweep":
        return sweep_chart(query.get("of", ""), part)
    scales = query.get("scales", "").split(",")
    look = look_of(query.get("x"), number_of(query.get("smoothing")), scales, reader)
    look = replace(look, window=window_of(query))
    if name == "compare":
        others = [reader_of(other) for other in query.getlist("with")]
        language.count_in(reader.unit)
        return overlay_chart([reader, *others], look)
    make: Any = {"training": training_chart, "quality": quality_chart}.get(kind)
    if make is None or part not in PARTS:
        raise RunFolderError(say("There is no such chart."))
    return make(reader, look, part)


def window_of(query: QueryParams) -> Window | None:
    """The zoomed part of the axis; None is all of it."""
    low, high = number_of(query.get("low")), number_of(query.get("high"))
    return (low, high) if low is not None and high is not None and low < high else None


def number_of(text: str | None) -> float | None:
    """A number of the address; None if it is none."""
    with suppress(TypeError, ValueError):
        return number if isfinite(number := float(text)) else None  # type: ignore[arg-type]
    return None
