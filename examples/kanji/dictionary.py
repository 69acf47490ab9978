"""Characters and their English meanings, from KANJIDIC2."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

GRADES = frozenset(range(1, 9))
"""The jōyō kanji: grades 1 to 6 of school, and 8, the rest."""
NUM_MEANINGS = 3


@dataclass(frozen=True)
class Kanji:
    """One character."""

    character: str
    meaning: str
    """Up to three English meanings, joined by commas; no other character has the same."""


def read(path: Path) -> list[Kanji]:
    """The jōyō kanji in the dictionary's order. Of characters with the same meanings the first stays."""
    found: dict[str, Kanji] = {}
    with gzip.open(path) as file:
        for _, entry in ET.iterparse(file):
            if entry.tag != "character":
                continue
            if int(entry.findtext("misc/grade", "0")) in GRADES:
                meanings = [one.text or "" for one in entry.iter("meaning") if "m_lang" not in one.attrib]
                meaning = ", ".join(meanings[:NUM_MEANINGS]).lower()
                if meaning:
                    found.setdefault(meaning, Kanji(entry.findtext("literal", ""), meaning))
            entry.clear()
    return list(found.values())
