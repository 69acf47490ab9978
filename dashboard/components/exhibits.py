"""Tables and pictures of a result that its task chose to show. Values to HTML, all text escaped.

Their titles and sentences are the task's: those that have no translation stay as they are.
"""

from __future__ import annotations

import html

from dashboard.data.reader import RunReader
from dashboard.server.files import picture_url
from dashboard.text.language import say
from shared.run_folder.records.exhibit import Exhibit, ExhibitPicture, ExhibitTable
from shared.run_folder.run_dir import ResultKind, step_name

KINDS: tuple[ResultKind, ...] = ("confirmations", "evaluations")
"""The final, which looks at more, before the first evaluation."""


def exhibits_html(reader: RunReader, step: int) -> str:
    """Everything that a task shows of a step; empty where there is nothing."""
    for kind in KINDS:
        result = reader.result(step, kind)
        if result and result.exhibits:
            folder = f"{kind}/{step_name(step)}/images"
            shown = "".join(_exhibit(one, reader.name, folder) for one in result.exhibits)
            count = say(
                "Of {count} {sample}s.", count=len(result.samples), sample=say(reader.descriptions.words.sample)
            )
            return f'<div class="exhibits"><p>{html.escape(count)}</p>{shown}</div>'
    return ""


def _exhibit(one: Exhibit, run_name: str, folder: str) -> str:
    table = _table(one.table) if one.table else ""
    figures = "".join(_figure(picture, run_name, folder) for picture in one.pictures)
    pictures = f'<div class="drawings">{figures}</div>' if figures else ""
    note = f"<p>{html.escape(say(one.note))}</p>" if one.note else ""
    return f"<section><h3>{html.escape(say(one.title))}</h3>{note}{table}{pictures}</section>"


def _table(table: ExhibitTable) -> str:
    corner = " \\ ".join(say(text) for text in (table.of_rows, table.of_columns) if text)
    head = "".join(f'<th scope="col">{html.escape(say(name))}</th>' for name in table.columns)
    lines = [_line(table, place) for place in range(len(table.rows))]
    top = f'<thead><tr><th scope="col">{html.escape(corner)}</th>{head}</tr></thead>'
    kind = "exhibit matrix" if table.shading == "matrix" else "exhibit"
    return f'<div class="wide" tabindex="0"><table class="{kind}">{top}<tbody>{"".join(lines)}</tbody></table></div>'


def _line(table: ExhibitTable, place: int) -> str:
    cells, decimals = table.cells[place], table.decimals or (0,) * len(table.columns)
    total = sum(value for value in cells if value is not None)
    drawn = "".join(
        _shaded(value, total, decimals[other], is_right=place == other)
        if table.shading == "matrix"
        else f"<td>{_spelled(value, decimals[other])}</td>"
        for other, value in enumerate(cells)
    )
    return f'<tr><th scope="row">{html.escape(table.rows[place])}</th>{drawn}</tr>'


def _shaded(value: float | None, total: float, decimals: int, *, is_right: bool) -> str:
    """The darker, the larger its share of the row; an empty cell off the diagonal has no number."""
    share = round(100 * value / total) if value and total > 0 else 0
    text = _spelled(value, decimals) if value or is_right else ""
    colour = "good" if is_right else "bad"
    return f'<td class="{colour}" style="--share:{share}%">{text}</td>'


def _spelled(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def _figure(picture: ExhibitPicture, run_name: str, folder: str) -> str:
    url = html.escape(picture_url(run_name, f"{folder}/{picture.image}"))
    title, note = html.escape(picture.title), html.escape(picture.note)
    return (
        f'<figure><a href="{url}" target="_blank"><img loading="lazy" src="{url}" alt="{title}"></a>'
        f"<figcaption>{title}<span>{note}</span></figcaption></figure>"
    )
