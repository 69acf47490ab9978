"""Cards that only torch knows of: AMD's through ROCm, Apple's through MPS.

torch is asked in a process of its own, once, and only where it was built for such cards: NVIDIA's are asked of their
driver, which is faster.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
import subprocess
import sys
from typing import Any

ASK_SECONDS = 60.0
ASK = """
import json, torch
cards = []
if torch.version.hip:
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        bf16 = torch.cuda.get_device_capability(index) >= (9, 0) and torch.cuda.is_bf16_supported()
        name = torch.cuda.get_device_name(index)
        cards.append({"kind": "rocm", "name": name, "free": free, "total": total, "bf16": bf16})
elif torch.backends.mps.is_available():
    cards.append({"kind": "mps", "name": "", "free": 0, "total": torch.mps.recommended_max_memory(), "bf16": False})
print(json.dumps(cards))
"""
"""mem_get_info counts bytes; MPS names none in use by others, because Apple's cards share the machine's memory."""


def may_have_some() -> bool:
    """Whether torch was built for such cards: told without importing it."""
    return "+rocm" in importlib.metadata.version("torch") or (sys.platform, platform.machine()) == ("darwin", "arm64")


@functools.cache
def ask() -> tuple[dict[str, Any], ...]:
    """What torch tells of each; empty where it was built for others, or fails."""
    if not may_have_some():
        return ()
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=ASK_SECONDS, check=True
        )
        return tuple(json.loads(done.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return ()
