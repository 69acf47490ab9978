"""Whether two machines run the same Darkroom: a digest of its programs' source."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

from shared.machine.libraries import LIBRARIES

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("evaluator", "shared", "tasks", "trainer")
DARKROOM = "Darkroom"


def versions() -> dict[str, str]:
    """Library → its version on this machine; of Darkroom, of which a version has many states, the sources' digest."""
    return {DARKROOM: source_digest(), **{name: importlib.metadata.version(name) for name in LIBRARIES}}


def source_digest(root: Path = ROOT) -> str:
    """Of every module of the programs that make results; 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(path for program in PROGRAMS for path in (root / program).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
