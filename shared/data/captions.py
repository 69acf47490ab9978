"""Captions: cleaning, checking and varying them."""

from __future__ import annotations

import random
import re

MAX_CHARACTERS = 10_000
"""The text encoders read 77 tokens; a longer file is something else."""


def tidy(text: str) -> str:
    """One line, single spaces."""
    return " ".join(text.split())


def fault(caption: str) -> str | None:
    """Why a tidy caption cannot be used; None when it can."""
    if not caption:
        return "the caption is empty"
    if len(caption) > MAX_CHARACTERS:
        return f"{len(caption):,} characters, at most {MAX_CHARACTERS:,}; is this a caption?"
    control = next((character for character in caption if ord(character) < 32 or 127 <= ord(character) < 160), None)
    return f"the caption holds the control character {control!r}" if control else None


def with_trigger(caption: str, trigger_word: str) -> str:
    """The caption with the trigger word as its first tag; the word alone if there is no caption.

    Unchanged if it contains the word already, ignoring case.
    """
    if not trigger_word or _has(caption, trigger_word):
        return caption
    return f"{trigger_word}, {caption}" if caption else trigger_word


def with_article(noun: str) -> str:
    """`a dress`, `an apron`; what has an article already keeps it."""
    if noun.casefold().startswith(("a ", "an ", "the ")):
        return noun
    return f"{'an' if noun[:1].casefold() in 'aeiou' else 'a'} {noun}"


def shuffled(caption: str, keep_tags: int, seed: int) -> str:
    """Comma-separated tags in another order; the first `keep_tags` stay in front."""
    tags = [tag.strip() for tag in caption.split(",")]
    rest = tags[keep_tags:]
    random.Random(seed).shuffle(rest)
    return ", ".join([*tags[:keep_tags], *rest])


def thinned(caption: str, share: float, keep_tags: int, trigger_word: str, seed: int) -> str:
    """The caption without some of its comma-separated tags: each is left out with the probability `share`.

    The first `keep_tags` stay, and so do tags that hold the trigger word.
    """
    draw = random.Random(seed)
    words = [word.strip() for word in trigger_word.split(",") if word.strip()]
    tags = [tag.strip() for tag in caption.split(",")]
    kept = [tag for tag in tags[keep_tags:] if draw.random() >= share or any(_has(tag, word) for word in words)]
    return ", ".join([*tags[:keep_tags], *kept])


def _has(text: str, word: str) -> bool:
    """Whether a text contains a whole word, ignoring case."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
