"""Votes by URL: the next pictures to compare, a vote, and what all votes say.

A vote is a POST that names the two pictures; one that does not exist is refused with a sentence. A vote that is sent
twice counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.data.reader import RunReader
from dashboard.server.jobs.recounts import RECOUNTS
from dashboard.server.posts.post import RefusedError, Told, post_route
from dashboard.server.screen import answer, reader_of
from dashboard.story.vote.ballot import ballot, drawn_in
from dashboard.story.vote.result import is_behind, vote_result
from dashboard.text.language import say
from shared.run_folder.phrase import in_unit
from shared.run_folder.records.vote import Vote, voter_id
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now
from shared.run_folder.votes import append_vote, missing_picture, read_votes

FIELDS = ("id", "prompt_id", "seed", "left", "right", "answer", "seconds")


def vote_routes(ask_for_count: Callable[[RunDir], None] = RECOUNTS.ask) -> list[Route]:
    """ask_for_count: called with a run whose votes are to be counted."""

    def next_ballot(request: Request) -> Response:
        query = request.query_params
        pending = tuple(filter(None, query.get("pending", "").split(",")))
        return answer(
            request,
            lambda: asdict(ballot(reader_of(request.path_params["run"]), voter_id(query.get("voter", "")), pending)),
        )

    def result(request: Request) -> Response:
        def made() -> dict[str, Any]:
            reader = reader_of(request.path_params["run"])
            if is_behind(reader, read_votes(reader.run)):
                ask_for_count(reader.run)
            return asdict(vote_result(reader))

        return answer(request, made)

    def vote(request: Request, reader: RunReader, told: Told) -> Response:
        given = _vote(reader, told)
        is_new = append_vote(reader.run, given)
        if is_new:
            ask_for_count(reader.run)
        again = given if given.answer == "withdrawn" else None
        pending = [str(one) for one in told.get("pending") or ()]
        return answer(request, lambda: {"is_new": is_new, **asdict(ballot(reader, given.voter, pending, again))})

    return [
        Route("/ballot/{run}.json", next_ballot),
        Route("/votes/{run}.json", result),
        post_route("/votes/{run}.json", vote),
    ]


def _vote(reader: RunReader, told: Told) -> Vote:
    """The vote that was sent.

    Raises:
        RefusedError: something of it is missing or wrong, or a picture does not exist.
    """
    fields = {name: told[name] for name in FIELDS if name in told}
    voter = voter_id(str(told.get("voter") or ""))
    try:
        given = Vote.model_validate({**fields, "run_id": reader.run_id, "voter": voter, "created": utc_now()})
    except ValidationError as error:
        wrong = ", ".join(sorted({str(part["loc"][0]) for part in error.errors() if part["loc"]}) or ["left, right"])
        raise RefusedError(422, say("This vote cannot be read. Wrong or missing: {fields}.", fields=wrong)) from None
    if given.answer == "withdrawn":
        if given.id not in read_votes(reader.run).ids:
            raise RefusedError(404, say("There is no such vote to take back."))
    elif problem := missing_picture(given, drawn_in(reader, given.steps)):
        raise RefusedError(404, say("The vote was refused: {problem}.", problem=in_unit(problem, reader.unit)))
    return given
