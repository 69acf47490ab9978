"""Texts from files, where the page writes Markdown: a reason may hold `![](http://…)`, which would load a picture from
there, and a run may be called `**best**`.

A code span is the one place where Markdown, its links and Streamlit's own shortcodes leave text alone. The page's style
draws it like the text around it.
"""

from __future__ import annotations

import re


def verbatim(text: object) -> str:
    """The text as a code span, line breaks as blanks; a dash for an empty one."""
    words = " ".join(str(text).split())
    if not words:
        return "–"
    fence = "`" * (max((len(run) for run in re.findall("`+", words)), default=0) + 1)
    margin = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{margin}{words}{margin}{fence}"
