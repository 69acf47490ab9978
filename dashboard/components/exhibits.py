"""Tables, pictures and texts of a result that its task chose to show. Values to HTML, all text escaped.

Their titles and sentences are the task's: those that have no translation stay as they are.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial

from dashboard.components.texts import texts_html
from dashboard.data.reader import RunReader
from dashboard.server.files import picture_url
from dashboard.text.language import say
from shared.run_folder.averages import label
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.exhibit import Exhibit, ExhibitPicture, ExhibitTable
from shared.run_folder.run_dir import ResultKind, step_name

KINDS: tuple[ResultKind, ...] = ("confirmations", "evaluations")
"""The final, which looks at more, before the first evaluation."""


Picture = Callable[[str], str]
"""A picture's path in the run folder → its URL."""


def exhibits_html(reader: RunReader, step: int, beside: int = BASE_MODEL, picture: Picture | None = None) -> str:
    """Everything that a task shows of a step; empty where there is nothing. beside: step whose texts stand at the left.

    picture: of a page that is no dashboard's.
    """
    url = picture or partial(picture_url, reader.name)
    for kind in KINDS:
        result = reader.result(step, kind)
        if result and result.exhibits:
            folder, other = f"{kind}/{step_name(step)}/images", reader.result(beside, kind) or reader.result(beside)
            texts = {one.title: one for one in other.exhibits} if other and beside != step else {}
            shown = "".join(
                f"<section>{_exhibit(one, folder, url)}{_texts(one, step, texts.get(one.title), beside)}</section>"
                for one in result.exhibits
            )
            count = say(
                "Of {count} {sample}s.", count=len(result.samples), sample=say(reader.descriptions.words.sample)
            )
            return f'<div class="exhibits"><p>{html.escape(count)}</p>{shown}</div>'
    return ""


def has_texts(reader: RunReader, step: int) -> bool:
    """Whether texts are among what is shown of a step: two steps can then be chosen."""
    results = [result for kind in KINDS if (result := reader.result(step, kind))]
    return any(one.texts for result in results for one in result.exhibits)


def _exhibit(one: Exhibit, folder: str, url: Picture) -> str:
    table = _table(one.table) if one.table else ""
    figures = "".join(_figure(picture, folder, url) for picture in one.pictures)
    pictures = f'<div class="drawings">{figures}</div>' if figures else ""
    note = f"<p>{html.escape(say(one.note))}</p>" if one.note else ""
    return f"<h3>{html.escape(say(one.title))}</h3>{note}{table}{pictures}"


def _texts(one: Exhibit, step: int, other: Exhibit | None, beside: int) -> str:
    names = [say("Step {step}", step=label(number)) for number in (step, beside)]
    return texts_html(one.texts, names[0], other.texts if other else (), names[1])


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


def _figure(picture: ExhibitPicture, folder: str, url_of: Picture) -> str:
    url = html.escape(url_of(f"{folder}/{picture.image}"))
    title, note = html.escape(picture.title), html.escape(picture.note)
    return (
        f'<figure><a href="{url}" target="_blank"><img loading="lazy" src="{url}" alt="{title}"></a>'
        f"<figcaption>{title}<span>{note}</span></figcaption></figure>"
    )
