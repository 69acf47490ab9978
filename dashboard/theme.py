"""Streamlit's theme as the CSS variables that the components read, for pages and moments without Streamlit."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

CONFIG = Path(__file__).parent / ".streamlit" / "config.toml"


def css_variables(scheme: Literal["light", "dark"]) -> str:
    """`blueColor` is `--st-blue-color`."""
    colors = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"][scheme]
    dashed = {"".join(f"-{c.lower()}" if c.isupper() else c for c in name): value for name, value in colors.items()}
    return " ".join(f"--st-{name}: {value};" for name, value in dashed.items())
