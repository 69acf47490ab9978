"""Files that the browser fetches by URL: pictures inside the runs folder, byte for byte, files of snapshots and exports
to download, and plotly.js from its package."""

from __future__ import annotations

import functools
import gzip
import importlib.metadata
import importlib.resources
from collections.abc import Container
from pathlib import Path
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from dashboard.server.thumbnails import is_huge, is_large, thumbnail
from shared.files.regular import own_file

PICTURE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
PLOTLY_FILE = Path(str(importlib.resources.files("plotly"))) / "package_data" / "plotly.min.js"
PLOTLY_URL = f"plotly.min.js?v={importlib.metadata.version('plotly')}"


def download_url(run_name: str, path: str) -> str:
    """The URL of a file of a snapshot or an export to download, relative to the page."""
    return f"adapters/{quote(run_name)}/{quote(path)}"


def picture_url(run_name: str, path: str, *, small: bool = False) -> str:
    """The URL of a picture of a run, relative to the page; `small`: a copy of at most 384 pixels."""
    return f"pictures/{quote(run_name)}/{quote(path)}{'?small' if small else ''}"


def find_download(runs: Path, path: str) -> Path | None:
    """A file of a snapshot or an export, of any type: tasks choose their own; None if it is neither, or missing."""
    runs = runs.resolve()
    file = own_file(runs / path, runs)
    folders = file.relative_to(runs).parts[1:-1] if file else ()
    return file if folders[:1] in (("snapshots",), ("exports",)) else None


def find_file(runs: Path, path: str, endings: Container[str]) -> Path | None:
    """The file at `path` below the runs folder; None if it has another ending, is missing, or leads outside."""
    file = own_file(runs / path, runs)
    return file if file and Path(path).suffix.lower() in endings and file.suffix.lower() in endings else None


def routes(runs: Path) -> list[Route]:
    """The routes that `st.App` serves beside the page."""

    def picture(request: Request) -> Response:  # not async, so that Starlette uses a thread: thumbnails take time
        file = found_or_404(find_file(runs, request.path_params["path"], PICTURE_TYPES))
        if "small" in request.query_params and is_large(file):
            if is_huge(file):
                raise HTTPException(413)
            try:
                return Response(thumbnail(file), media_type="image/webp", headers=FOREVER)
            except (OSError, ValueError, SyntaxError):
                raise HTTPException(415) from None
        return FileResponse(file, media_type=PICTURE_TYPES[file.suffix.lower()], headers=FOREVER)

    async def adapter(request: Request) -> FileResponse:
        path = request.path_params["path"]
        file = found_or_404(find_download(runs, path))
        run_name, folder = path.partition("/")[0], file.parent.name
        name = file.name if folder == "exports" else f"{run_name}-{folder}{file.suffix}"
        return FileResponse(file, media_type="application/octet-stream", filename=name)

    def plotly_script(request: Request) -> Response:
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return FileResponse(PLOTLY_FILE, media_type="text/javascript", headers=FOREVER)
        headers = FOREVER | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Response(packed_plotly(), media_type="text/javascript", headers=headers)

    return [
        Route("/pictures/{path:path}", picture),
        Route("/adapters/{path:path}", adapter),
        Route("/plotly.min.js", plotly_script),
    ]


@functools.cache
def packed_plotly() -> bytes:
    """plotly.js as browsers take it, packed once: its 5 MB at every new visitor would keep a core busy."""
    return gzip.compress(PLOTLY_FILE.read_bytes(), compresslevel=6)


def found_or_404(path: Path | None) -> Path:
    """The path; raises a 404 if there is none."""
    if path is None:
        raise HTTPException(404)
    return path
