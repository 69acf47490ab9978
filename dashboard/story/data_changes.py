"""The changes of captions in words, and what a replacement would change."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from dashboard.data.data_set import DataSet
from dashboard.text.language import say
from shared.data.editing.change import Change
from shared.data.editing.history import Known
from shared.data.editing.tags import How, replaced
from shared.run_folder.times import parse_time

SHOWN = 8
LISTED = 50
HOWS: dict[str, How] = {"tag": "tag", "text": "text"}


def replacements(data: DataSet, find: str, replacement: str, how: str) -> dict[str, str]:
    """Id → the caption that it gets; only those that change. A picture for regularisation is changed like others."""
    form = HOWS.get(how, "tag")
    made = {row.id: replaced(row.caption, find, replacement, form) for row in data.rows.values() if row.image}
    return {pair_id: caption for pair_id, caption in made.items() if caption != data.rows[pair_id].caption}


def preview(data: DataSet, find: str, replacement: str, how: str) -> dict[str, Any]:
    """How many captions change, and some of them. Those that would be empty are named: they cannot be written."""
    made = replacements(data, find, replacement, how)
    emptied = [pair_id for pair_id, caption in made.items() if not caption]
    shown = [
        {"id": pair_id, "before": data.rows[pair_id].caption, "after": caption}
        for pair_id, caption in [*made.items()][:SHOWN]
    ]
    return {"count": len(made), "emptied": len(emptied), "rows": shown, "words": counted(len(made), len(emptied))}


def counted(count: int, emptied: int) -> str:
    """In a sentence."""
    if emptied:
        return say("{count} captions would be left empty. Replace the tag by another one.", count=emptied)
    if not count:
        return say("No caption has it.")
    return say("1 caption changes.") if count == 1 else say("{count} captions change.", count=count)


def change_rows(data: DataSet, zone: tzinfo) -> dict[str, Any]:
    """The newest first; an undo stands at what it took back."""
    known = data.captioned.history.changes() if data.captioned and not data.fixed else []
    rows = [change_row(one, zone) for one in known if one.change.kind != "undo"][:LISTED]
    return {"rows": rows}


def change_row(known: Known, zone: tzinfo) -> dict[str, Any]:
    """undo: the change that the button takes back: this one, or what took it back."""
    change = known.change
    return {
        "time": f"{parse_time(change.created).astimezone(zone):%Y-%m-%d %H:%M}",
        "words": in_words(change),
        "count": len({entry.id for entry in change.entries}),
        "undone": bool(known.undone_by),
        "undo": known.undone_by or change.id,
    }


def in_words(change: Change) -> str:
    """What was done."""
    count = len({entry.id for entry in change.entries})
    match change.kind:
        case "replace":
            return say("{what} in {count} captions", what=change.words, count=count)
        case "caption":
            return say("{count} captions written by {model}", count=count, model=change.words)
        case _:
            return change.entries[0].id if change.entries else ""
