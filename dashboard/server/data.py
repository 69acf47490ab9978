"""The data set of a run by URL: a page of its pictures as JSON, the pictures and masks themselves, what a replacement
would change, and the changes so far.

A run folder may come from anybody and name any place as its data. So nothing is sent as it is: what can be read as a
picture is drawn again, no larger than a screen shows it.
"""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.data.data_set import DATA_SETS, DataSet, mask_of
from dashboard.data.reader import RunReader
from dashboard.server.files import FOREVER
from dashboard.server.screen import answer, reader_of
from dashboard.server.thumbnails import is_huge, mask_copy, picture_copy
from dashboard.story.data_changes import change_rows, preview
from dashboard.story.data_rows import document, sought_of
from dashboard.text.formatting import zone_of
from shared.errors import DarkroomError

SMALL, LARGE = 384, 1600
"""Pixels at the longer side."""


def data_routes() -> list[Route]:
    """The functions are not async, so that Starlette runs each request in a thread of its own."""

    def rows(request: Request) -> Response:
        return answer(request, lambda: document(*of(request), sought_of(request.query_params)))

    def changes(request: Request) -> Response:
        zone = zone_of(request.query_params.get("zone"))
        return answer(request, lambda: change_rows(of(request)[1], zone))

    def replaced(request: Request) -> Response:
        query = request.query_params

        def made() -> Any:
            return preview(of(request)[1], query.get("find", ""), query.get("replace", ""), query.get("how", ""))

        return answer(request, made)

    return [
        Route("/data/{run}.json", rows),
        Route("/data/{run}/changes.json", changes),
        Route("/data/{run}/replaced.json", replaced),
        Route("/data/{run}/{part:str}", picture),
    ]


def of(request: Request) -> tuple[RunReader, DataSet]:
    """The run of the address, and its data set."""
    reader = reader_of(request.path_params["run"])
    return reader, DATA_SETS.of(reader)


def picture(request: Request) -> Response:
    """A picture of the data set or its mask, with `&large` a larger copy, drawn again."""
    try:
        reader, data = of(request)
    except DarkroomError:
        raise HTTPException(404) from None
    row = data.rows.get(request.query_params.get("id", ""))
    is_mask = request.path_params["part"] == "mask"
    file = (mask_of(row, reader.config) if is_mask else row.image) if row else None
    if row is None or file is None:
        raise HTTPException(404)
    if is_huge(file):
        raise HTTPException(413)
    side = LARGE if "large" in request.query_params else SMALL
    try:
        made = mask_copy(file, side, alpha=file == row.image) if is_mask else picture_copy(file, side)
    except (OSError, ValueError, SyntaxError, DarkroomError):
        raise HTTPException(415) from None
    return Response(made, media_type="image/webp", headers=FOREVER)
