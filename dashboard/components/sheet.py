"""Headings, sentences and tables that Python has prepared, drawn in the browser as they are: a text is never read as
Markdown or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from dashboard.components.module import module_component

Block = dict[str, Any]

_sheet = module_component("sheet", "sheet.js", '<div class="darkroom-sheet"></div>')


def show_sheet(data: dict[str, Any], *, key: str) -> None:
    """Show what `sheet_data` returns."""
    _sheet(key=key, data=data)


def sheet_data(name: str, blocks: Sequence[Block]) -> dict[str, Any]:
    """name: its class in the page's style."""
    return {"name": name, "blocks": list(blocks)}


def words(kind: Literal["heading", "sentence", "remark"], text: str) -> Block:
    """One line; a remark is small."""
    return {"kind": kind, "text": text}


def table(frame: pd.DataFrame) -> Block:
    """As text."""
    return {"kind": "table", "heads": [*frame.columns], "rows": frame.astype(str).to_numpy().tolist()}
