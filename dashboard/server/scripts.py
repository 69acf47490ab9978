"""The page's own scripts and styles: ES modules as they are, served by URL so that a browser loads each once.

The version in the URL is that of all of them, so that a module and those it imports always belong together. They are
served from one folder, so a module imports any other as `./name.js`, whichever folder holds it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.server.files import FOREVER

DASHBOARD = Path(__file__).parents[1]
COMPONENTS = DASHBOARD / "components"
NAMES = ("early.css", "early.js", "figure.css", "figure.js", "chart.js", "watch.js")
SOURCES = [
    DASHBOARD / "style.css",
    *(COMPONENTS / name for name in NAMES),
    *(file for room in ("screen", "wall", "vote", "dataset") for file in sorted((COMPONENTS / room).glob("*.[jc]s*"))),
]
FILES = {file.name: file.read_bytes() for file in SOURCES}
MODULES = tuple(name for name in FILES if name.endswith(".js"))
STYLES = "styles.css"  # all style sheets as one file
IMPORTED = re.compile(rb'from "\./([\w.]+)"')
SERVED = FILES | {STYLES: b"\n".join(text for name, text in FILES.items() if name.endswith(".css"))}
LATER = ' fetchpriority="low"'  # what is not needed for the first drawing
WALL = ("dom.js", *(file.name for file in sorted((COMPONENTS / "wall").glob("*.js"))))
TYPES = {".js": "text/javascript", ".css": "text/css"}
VERSION = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:12]


def script_url(name: str) -> str:
    """The URL of a module or a style sheet, relative to the page."""
    return f"scripts/{VERSION}/{name}"


def links(first: Collection[str] = MODULES) -> str:
    """For the head of the page: styles before anything is drawn, modules before anything asks for them, and some of
    them first."""
    modules = sorted(MODULES, key=lambda name: name not in first)
    return f'<link rel="stylesheet" href="{script_url(STYLES)}">' + "".join(
        f'<link rel="modulepreload" href="{script_url(name)}"{"" if name in first else LATER}>' for name in modules
    )


def imported_by(name: str) -> set[str]:
    """A module and all that it imports, directly or not."""
    found, new = set[str](), {name}
    while new:
        found |= new
        new = {text.decode() for module in new for text in IMPORTED.findall(FILES[module])} - found
    return found


def import_map() -> str:
    """The wall's modules inside a page that has no server: `import … from "darkroom/wall.js"`."""
    sources = {name: FILES[name] for name in WALL}
    named = {name: source.replace(b'from "./', b'from "darkroom/') for name, source in sources.items()}
    urls = {
        f"darkroom/{name}": f"data:text/javascript;base64,{base64.b64encode(source).decode()}"
        for name, source in named.items()
    }
    return json.dumps({"imports": urls})


def script_routes() -> list[Route]:
    """Of any version: a page that was opened before an update gets what there is now."""

    def script(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in SERVED:
            raise HTTPException(404)
        return Response(SERVED[name], media_type=TYPES[Path(name).suffix], headers=FOREVER)

    return [Route("/scripts/{version}/{name}", script)]
