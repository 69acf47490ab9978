"""What the browser fetches by URL: pictures inside the runs folder, byte for byte, and plotly.js from its package."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
from pathlib import Path
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

PICTURE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
PLOTLY_URL = f"plotly.min.js?v={importlib.metadata.version('plotly')}"


def picture_url(run_name: str, run_id: str, path: str) -> str:
    """Where the page finds a picture, relative to itself; `run_id` keeps the caches of two runs of one name apart."""
    return f"pictures/{quote(run_name)}/{quote(path)}?v={quote(run_id)}"


def find_picture(runs: Path, path: str) -> Path | None:
    """The picture at `path` below the runs folder; None when it is none, is absent, or leads outside by any trick."""
    media_type = PICTURE_TYPES.get(Path(path).suffix.lower())
    try:
        found = (runs / path).resolve(strict=True)
    except (OSError, ValueError):
        return None
    return found if media_type and found.is_file() and found.is_relative_to(runs.resolve()) else None


def routes(runs: Path) -> list[Route]:
    """The routes that `st.App` serves beside the page."""
    plotly = Path(str(importlib.resources.files("plotly"))) / "package_data" / "plotly.min.js"

    async def picture(request: Request) -> FileResponse:
        found = find_picture(runs, request.path_params["path"])
        if found is None:
            raise HTTPException(404)
        return FileResponse(found, media_type=PICTURE_TYPES[found.suffix.lower()], headers=FOREVER)

    async def plotly_script(_: Request) -> FileResponse:
        return FileResponse(plotly, media_type="text/javascript", headers=FOREVER)

    return [Route("/pictures/{path:path}", picture), Route("/plotly.min.js", plotly_script)]
