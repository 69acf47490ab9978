"""Texts that two steps have made of the same, side by side, with what differs marked. Values to HTML, all escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from dashboard.text.language import say
from shared.run_folder.records.exhibit import ExhibitText

WORD = re.compile(r"\s+|\w+|[^\w\s]")


def texts_html(texts: Sequence[ExhibitText], title: str, others: Sequence[ExhibitText] = (), other: str = "") -> str:
    """Each text under what it was made from. title: whose they are. others: of another step, called `other`; a text
    without one of the same id stands alone.
    """
    beside = {one.id: one for one in others}
    return "".join(_one(one, title, beside.get(one.id), other) for one in texts)


@lru_cache(maxsize=4096)
def marked(left: str, right: str) -> tuple[str, str]:
    """Both texts, what the other has not marked, by words."""
    before, after = WORD.findall(left), WORD.findall(right)
    gone, come = list[str](), list[str]()
    for kind, start, end, new_start, new_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        old, new = "".join(before[start:end]), "".join(after[new_start:new_end])
        gone.append(html.escape(old) if kind == "equal" else _tag("del", old))
        come.append(html.escape(new) if kind == "equal" else _tag("ins", new))
    return "".join(gone), "".join(come)


def _one(one: ExhibitText, title: str, beside: ExhibitText | None, other: str) -> str:
    sides = [(title, one.note, html.escape(one.text))]
    if beside is not None:
        left, right = marked(beside.text, one.text)
        sides = [(other, beside.note, left), (title, one.note, right)]
    asked = _block(say("asked"), "", html.escape(one.prompt)) if one.prompt else ""
    wanted = _block(say("expected"), "", html.escape(one.expected)) if one.expected else ""
    answers = "".join(_block(*side) for side in sides)
    return f'<article class="texts"><h4>{html.escape(one.id)}</h4>{asked}{wanted}{answers}</article>'


def _block(title: str, note: str, text: str) -> str:
    """text: HTML already."""
    more = f" <span>{html.escape(note)}</span>" if note else ""
    return f"<div><h5>{html.escape(title)}{more}</h5><pre>{text or '–'}</pre></div>"


def _tag(name: str, text: str) -> str:
    return f"<{name}>{html.escape(text)}</{name}>" if text else ""
