"""Captions: tidy, usable, varied without losing a word."""

from __future__ import annotations

import pytest

from shared.data import captions


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", "is empty"),
        ("a\x00dress", r"control character '\\x00'"),
        ("a \x1b[31m dress", "control character"),
        ("x" * 20_000, "20,000 characters"),
    ],
)
def test_a_caption_that_cannot_be_used_says_why(caption: str, reason: str) -> None:
    fault = captions.fault(caption)
    assert fault
    assert reason.replace("\\\\", "\\") in fault


@pytest.mark.parametrize("caption", ["a dress", "ein Kleid, grün", "着物", "👗 with emoji", "tag_one, (tag two:1.2)"])
def test_what_people_write_is_fine(caption: str) -> None:
    assert captions.fault(captions.tidy(f"  {caption}\n\t")) is None


def test_the_trigger_word_comes_first_unless_it_is_there() -> None:
    assert captions.with_trigger("a red dress", "ohwx") == "ohwx, a red dress"
    assert captions.with_trigger("an OHWX dress", "ohwx") == "an OHWX dress"
    assert captions.with_trigger("a heart", "art") == "art, a heart"
    assert captions.with_trigger("a red dress", "") == "a red dress"


def test_shuffling_keeps_the_front_and_every_tag() -> None:
    caption = "ohwx, dress, red, silk, long"
    seen = {captions.shuffled(caption, 2, seed) for seed in range(40)}
    assert len(seen) == 6
    for found in seen:
        assert found.startswith("ohwx, dress, ")
        assert sorted(found.split(", ")) == sorted(caption.split(", "))
    assert captions.shuffled(caption, 1, 7) == captions.shuffled(caption, 1, 7)
    assert captions.shuffled(caption, 9, 7) == caption
    assert captions.shuffled("one sentence without tags", 0, 7) == "one sentence without tags"


def test_dropping_tags_keeps_the_front_the_trigger_word_and_the_order() -> None:
    caption = "dress, red, ohwx style, silk, long"
    seen = [captions.thinned(caption, 0.5, 1, "OHWX", seed) for seed in range(400)]
    assert set(seen) == {
        ", ".join(["dress", *red, "ohwx style", *silk, *long])
        for red in ([], ["red"])
        for silk in ([], ["silk"])
        for long in ([], ["long"])
    }
    assert 150 < sum("red" in found for found in seen) < 250
    assert captions.thinned(caption, 0.5, 1, "OHWX", 7) == captions.thinned(caption, 0.5, 1, "OHWX", 7)
    assert captions.thinned("one sentence without tags", 0.9, 1, "", 7) == "one sentence without tags"
    assert {captions.thinned("silk", 0.5, 0, "", seed) for seed in range(40)} == {"silk", ""}
