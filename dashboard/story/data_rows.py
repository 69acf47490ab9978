"""What the Data page says: the pictures that are sought, a page of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from dashboard.data.data_set import DataSet, Row, in_use, mask_of, why_fixed
from dashboard.data.reader import RunReader
from dashboard.server.jobs.captioners import CAPTIONERS
from dashboard.text.language import say
from shared.data.editing import captioner_status
from shared.data.editing.captioner_status import CaptionerStatus

PAGE_LENGTH = 48
MAX_ALIKE = 6
KINDS: dict[str, Callable[[Row], bool]] = {
    "alike": lambda row: bool(row.alike),
    "bare": lambda row: row.is_bare,
    "changed": lambda row: row.is_changed or row.recorded is None,
    "cut": lambda row: row.tokens_cut > 0,
    "masked": lambda row: row.mask is not None,
    "missing": lambda row: row.image is None,
}
SPLITS = ("train", "held_out", "left_out", "regularization")


@dataclass(frozen=True)
class Sought:
    """What a viewer looks for."""

    words: str = ""
    split: str = ""
    kind: str = ""
    page: int = 1


def document(reader: RunReader, data: DataSet, sought: Sought) -> dict[str, Any]:
    """What `dataset.js` draws."""
    rows = list(data.rows.values())
    found = select(rows, sought)
    last = max(1, -(-len(found) // PAGE_LENGTH))
    page = min(max(1, sought.page), last)
    start = (page - 1) * PAGE_LENGTH
    busy = "" if data.fixed else in_use(data)
    return {
        "run": reader.name,
        "run_id": reader.run_id,
        "place": reader.config.data.path,
        "total": len(rows),
        "found": len(found),
        "start": start,
        "page": page,
        "pages": last,
        "splits": {split: sum(row.split == split for row in rows) for split in SPLITS},
        "kinds": {name: sum(map(fits, rows)) for name, fits in KINDS.items()},
        "notes": notes(rows, data),
        "fixed": why_fixed(data) or busy,
        "captioner": captioner(data),
        "rows": [row_of(reader, row, data) for row in found[start : start + PAGE_LENGTH]],
    }


def captioner(data: DataSet) -> dict[str, Any]:
    """What the program does that writes captions, or how it ended."""
    folder = data.captioned.folder if data.captioned else None
    known = captioner_status.read(folder) if folder else None
    if folder is None or (known is None and not CAPTIONERS.is_starting(folder)):
        return {"is_at_work": False, "words": CAPTIONERS.failure(folder) if folder else ""}
    if CAPTIONERS.is_starting(folder) and (known is None or not known.is_at_work):
        return {"is_at_work": True, "words": say("The model is being loaded …")}
    assert known
    return {"is_at_work": known.is_at_work, "words": progress(known, CAPTIONERS.failure(folder))}


def progress(known: CaptionerStatus, failure: str) -> str:
    """In a sentence; nothing of one that ended well long ago."""
    values = {"done": known.done, "total": known.total, "model": known.model}
    if known.is_at_work and known.state == "loading":
        return say("The model is being loaded …")
    if known.is_at_work:
        return say("{model} writes captions: {done} of {total}", **values)
    if failure or known.state == "failed":
        return say("Writing captions failed: {reason}", reason=failure or known.message)
    if known.state in ("loading", "writing"):
        return say("The program that wrote captions ended unexpectedly, after {done} of {total}.", **values)
    if known.state == "stopped":
        return say("Writing captions was stopped after {done} of {total}.", **values)
    return say(
        "{model} has written captions: {done} of {total}, {skipped} left alone.", skipped=known.skipped, **values
    )


def select(rows: list[Row], sought: Sought) -> list[Row]:
    """Those that fit, by id; near-duplicates side by side."""
    words = sought.words.casefold().split()
    fits = KINDS.get(sought.kind)
    found = [
        row
        for row in rows
        if (sought.split not in SPLITS or row.split == sought.split)
        and (fits is None or fits(row))
        and all(word in f"{row.id}\n{row.caption}\n{row.alike}".casefold() for word in words)
    ]
    return sorted(found, key=lambda row: (row.alike if sought.kind == "alike" else "", row.id))


def notes(rows: list[Row], data: DataSet) -> list[str]:
    """What is to be known of all of them."""
    texts = list[str]()
    if data.fixed == "examples" and rows:
        texts.append(say("Of each example the beginning is shown."))
    if rows and not data.is_recorded and data.fixed not in ("classes", "examples"):
        texts.append(
            say(
                "Buckets, tokens and near-duplicates are not recorded: training has not started, or the run is of an "
                "earlier version."
            )
        )
    if changed := sum(row.is_changed for row in rows):
        texts.append(
            say(
                "{count} of {all} captions are not those that this run was made with. Undo the changes to resume it, "
                "or train a new run with --new.",
                count=changed,
                all=len(rows),
            )
        )
    return texts


def row_of(reader: RunReader, row: Row, data: DataSet) -> dict[str, Any]:
    """One picture."""
    alike = [pair_id for pair_id in data.groups.get(row.alike, []) if pair_id != row.id]
    is_masked = row.image is not None and mask_of(row, reader.config) is not None
    return {
        "id": row.id,
        "caption": row.caption,
        "bare": row.is_bare,
        "recorded": row.recorded if row.is_changed else "",
        "new": row.recorded is None,
        "split": row.split,
        "bucket": row.bucket,
        "tokens": row.tokens,
        "cut": row.tokens_cut,
        "alike": alike[:MAX_ALIKE],
        "more_alike": max(0, len(alike) - MAX_ALIKE),
        "group": row.alike,
        "url": picture_url(reader.name, row) if row.image else "",
        "mask": picture_url(reader.name, row, "mask") if is_masked else "",
    }


def picture_url(run_name: str, row: Row, part: str = "picture") -> str:
    """Relative to the page; with `&large` a larger copy."""
    version = ""
    if row.image:
        try:
            version = str(row.image.stat().st_mtime_ns)
        except OSError:
            version = "0"
    return f"data/{quote(run_name)}/{part}?{urlencode({'id': row.id, 'v': version})}"


def sought_of(query: Mapping[str, str]) -> Sought:
    """From an address."""
    page = query.get("page", "")
    number = int(page) if page.isdecimal() and len(page) < 7 else 1
    return Sought(query.get("find", "")[:500], query.get("split", ""), query.get("only", ""), number)
