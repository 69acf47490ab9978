"""Tags found in captions and replaced. Pure."""

from __future__ import annotations

import re
from typing import Literal

from shared.data.captions import tidy

How = Literal["tag", "text"]
"""`tag`: what stands between commas, whole; `text`: any part of a caption."""


def replaced(caption: str, find: str, replacement: str, how: How) -> str:
    """The caption with every `find` replaced, ignoring case; an empty replacement takes it away.

    A tag that the caption has already is not written twice. A caption without `find` is returned as it is.
    """
    wanted, new = tidy(find), tidy(replacement)
    if not wanted:
        return caption
    if how == "text":
        changed = re.sub(re.escape(wanted), lambda _: new, caption, flags=re.IGNORECASE)
        return caption if changed == caption else tidy(changed)
    tags = [tag.strip() for tag in caption.split(",")]
    if wanted.casefold() not in {tag.casefold() for tag in tags}:
        return caption
    changed_tags = [new if tag.casefold() == wanted.casefold() else tag for tag in tags]
    first: dict[str, int] = {}
    for position, tag in enumerate(changed_tags):
        first.setdefault(tag.casefold(), position)
    kept = [
        tag
        for position, tag in enumerate(changed_tags)
        if tag and (tag.casefold() != new.casefold() or first[tag.casefold()] == position)
    ]
    return ", ".join(kept)
