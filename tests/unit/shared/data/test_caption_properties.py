"""Captions, whatever somebody wrote: cleaned once is clean, and nothing that was written goes lost or appears."""

from __future__ import annotations

from hypothesis import strategies as st

from shared.data.captions import fault, shuffled, thinned, tidy, with_trigger
from tests.properties import EXAMPLES, holds

TEXT = st.text(max_size=60)
TAGS = st.lists(st.text("abc dé漢-", min_size=1, max_size=6).map(str.strip).filter(bool), min_size=1, max_size=6)


@EXAMPLES
def test_a_tidy_caption_is_one_line_and_stays_as_it_is(examples: int) -> None:
    def check(text: str) -> None:
        caption = tidy(text)
        assert tidy(caption) == caption
        assert caption.split() == text.split()
        assert "\n" not in caption
        assert "  " not in caption
        if fault(caption) is None:
            assert caption
            assert caption.isprintable() or not any(ord(one) < 32 for one in caption)

    holds(check, examples, TEXT)


@EXAMPLES
def test_the_trigger_word_is_in_once_however_often_it_is_set(examples: int) -> None:
    def check(text: str, word: str) -> None:
        once = with_trigger(tidy(text), tidy(word))
        assert tidy(word).casefold() in once.casefold() or not tidy(word)
        assert tidy(text) in once
        if tidy(word).isalnum():
            assert with_trigger(once, tidy(word)) == once

    holds(check, examples, TEXT, st.text("abcDÉ漢 ", max_size=8))


@EXAMPLES
def test_shuffling_moves_tags_and_thinning_drops_some(examples: int) -> None:
    def check(tags: list[str], keep: int, seed: int, share: float) -> None:
        caption = ", ".join(tags)
        mixed = shuffled(caption, keep, seed)
        assert sorted(mixed.split(", ")) == sorted(tags)
        assert mixed.split(", ")[:keep] == tags[:keep]
        assert shuffled(caption, keep, seed) == mixed
        left = thinned(caption, share, keep, tags[-1], seed).split(", ")
        assert left[: min(keep, len(tags))] == tags[:keep]
        assert tags[-1] in left, "the trigger word stays"
        remaining = iter(tags)
        assert all(tag in remaining for tag in left if tag), "in their order, none added"

    holds(check, examples, TAGS, st.integers(0, 7), st.integers(0, 2**31), st.floats(0, 1))
