"""The first screen as HTML that needs no script and no server: values to HTML, all text escaped."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from dashboard.story.filmstrip import Cell
from dashboard.story.pictures import Pick, PictureCell
from dashboard.story.screen import Screen
from dashboard.story.verdict.rows import Row
from dashboard.text.language import say

STYLE = Path(__file__).with_suffix(".css")
SIGNS = {"better": "▲", "same": "=", "worse": "▼", "": ""}
Inline = Callable[[str], str]
"""Path within the run folder → the picture as a data URL; empty where it cannot be read."""


def screen_html(shown: Screen, picture: Inline, thumbnail: Inline) -> str:
    """Verdict, pictures and filmstrip."""
    verdict = shown.verdict
    words = [
        f"<h1>{html.escape(verdict.headline)}</h1>",
        f'<p class="sentence">{_with_code(verdict.sentence)}</p>',
        f"<ul>{_rows(verdict.rows)}</ul>",
        f'<ul class="cautions">{_lines(verdict.cautions)}</ul>',
        f'<p class="muted">{html.escape(verdict.runner_up.words)}</p>' if verdict.runner_up else "",
    ]
    picks = "".join(_pick(pick, picture) for pick in shown.pictures.picks if pick.kind != "newest")
    note = f'<p class="muted">{html.escape(shown.pictures.note)}</p>' if shown.pictures.note else ""
    strip = "".join(_cell(cell, thumbnail) for cell in shown.strip)
    return (
        f'<section class="first" data-tone="{verdict.tone}"><div>{"".join(words)}</div><div>{picks}{note}</div>'
        f'</section><ul class="strip" tabindex="0">{strip}</ul>'
    )


def path_of(url: str) -> str:
    """`pictures/<run>/references/a%20b.png?v=1` → `references/a b.png`."""
    return unquote(url.partition("?")[0]).partition("/")[2].partition("/")[2]


def _rows(rows: Sequence[Row]) -> str:
    ends = [0.0, *(end for row in rows for end in (row.low, row.high) if end is not None)]
    least, room = min(ends), max(ends) - min(ends) or 1.0

    def place(value: float) -> str:
        return f"{100 * (value - least) / room:.1f}%"

    def bar(row: Row) -> str:
        if row.low is None or row.high is None:
            return ""
        width = f"{100 * (row.high - row.low) / room:.1f}%"
        span = f'<i class="range" style="left:{place(row.low)};width:{width}"></i>'
        return f'<span class="bar"><i class="zero" style="left:{place(0)}"></i>{span}</span>'

    return "".join(
        f'<li class="row" data-better="{row.better}"><b>{html.escape(row.title)}</b> {html.escape(row.words)}{bar(row)}'
        f'<span class="caveat">{html.escape(row.caveat)}</span></li>'
        for row in rows
    )


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"<li>{_with_code(text)}</li>" for text in texts)


def _with_code(text: str) -> str:
    """What stands between backticks is code."""
    parts = enumerate(html.escape(text).split("`"))
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in parts)


def _pick(pick: Pick, picture: Inline) -> str:
    cells = "".join(_picture(cell, picture) for cell in pick.cells)
    words, prompt = html.escape(pick.words), html.escape(pick.prompt)
    return f'<p class="prompt"><b>{words}</b> <span class="muted">{prompt}</span></p><div class="cells">{cells}</div>'


def _picture(cell: PictureCell, picture: Inline) -> str:
    data = picture(path_of(cell.url)) if cell.url else ""
    image = f'<img src="{data}" alt="{html.escape(cell.alt)}">' if data else html.escape(say("no picture"))
    numbers = html.escape(" · ".join(cell.numbers))
    return f"<figure><figcaption>{html.escape(cell.title)}</figcaption>{image}<div>{numbers}</div></figure>"


def _cell(cell: Cell, thumbnail: Inline) -> str:
    data = thumbnail(path_of(cell.thumbnail)) if cell.thumbnail else ""
    image = f'<img src="{data}" alt="">' if data else ""
    won = f" {cell.wins}/{cell.of}" if cell.of else ""
    marks = f"{SIGNS[cell.mark]}{won}{' ★' if cell.best else ''}"
    title, number = html.escape(cell.words), html.escape(say("step {step}", step=cell.step))
    return f'<li title="{title}" class="{"best" if cell.best else cell.state}">{image}<b>{number}</b> {marks}</li>'
