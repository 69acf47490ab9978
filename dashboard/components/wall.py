"""The wall of pictures, by URL: pictures that did not change are neither fetched nor drawn again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamlit.components import v2 as components

_HERE = Path(__file__).parent
_mount = components.component(
    "darkroom_wall",
    html='<div class="wall"></div>\n<!-- filled by wall.js -->',
    css=(_HERE / "wall.css").read_text(encoding="utf-8"),
    js=(_HERE / "wall.js").read_text(encoding="utf-8"),
)


def show_wall(wall: dict[str, Any], *, key: str) -> None:
    """Show what `dashboard.samples.wall` returns."""
    _mount(key=key, data=wall)
