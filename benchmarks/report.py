"""A benchmark's dated report: what was asked, on what it was measured, what was printed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.row import HEADER, Row
from shared.files.replacing import replace_file

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "diffusers", "peft", "accelerate")


def about(load: float) -> str:
    """When, on what, with what. load: the machine's before the measurement."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return (
        f"{datetime.now(UTC):%d %B %Y}, commit {commit or 'unknown'}; {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, {versions}; load before it {load:.1f}"
    )


def write(question: str, title: str, method: str, rows: Sequence[Row], facts: Sequence[str], load: float) -> Path:
    """`reports/[question]_[hardware]_[yyyymm].md`, in place of an earlier one of this month."""
    target = ROOT / "benchmarks" / "reports" / f"{question}_{os.cpu_count()}-core-cpu_{datetime.now(UTC):%Y%m}.md"
    table = "\n".join([HEADER, *map(str, rows)])
    listed = "\n".join(f"* {fact}" for fact in facts)
    body = f"# {title}\n\n`python -m benchmarks.{question}`, {about(load)}.\n\n{method}\n\n{table}\n\n{listed}\n"
    replace_file(target, body.encode())
    return target
