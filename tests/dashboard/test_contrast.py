from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

SETTINGS = Path(__file__).resolve().parents[2] / "dashboard" / ".streamlit" / "config.toml"
THEMES = tomllib.loads(SETTINGS.read_text())["theme"]
TEXT = ("textColor", "grayTextColor", "greenColor", "orangeColor", "redColor", "blueColor", "violetColor")


def contrast(one: str, other: str) -> float:
    """The WCAG ratio of two `#rrggbb`."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_from_both_backgrounds_and_lines_can_be_seen(theme: str) -> None:
    colors = THEMES[theme]
    for background in ("backgroundColor", "secondaryBackgroundColor"):
        for name in TEXT:
            assert contrast(colors[name], colors[background]) >= 4.5, (name, background)
        assert contrast(colors["grayColor"], colors[background]) >= 3, "a line of a chart"
