"""Which parts of a run have changed, as JSON that the page asks for again and again: unchanged, it is not sent."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.data.versions import is_live, versions
from shared.run_folder.run_dir import RunDir


def version_routes(runs: Path) -> list[Route]:
    """The function is not async, so that Starlette asks the disk in another thread."""

    def of_run(request: Request) -> Response:
        name = request.path_params["run"]
        run = RunDir(runs / name)
        if name.startswith(".") or not run.record.is_file():
            raise HTTPException(404)
        body = json.dumps({"live": is_live(run), "versions": versions(run)}).encode()
        headers = {"ETag": f'"{zlib.crc32(body):x}"', "Cache-Control": "no-store"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    return [Route("/versions/{run}.json", of_run)]
