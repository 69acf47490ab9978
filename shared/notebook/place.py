"""Where a notebook runs: what of its disk stays, how long a session lasts, and how its ports are reached."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.machine.hardware import Gpu

HOUR = 3600


@dataclass(frozen=True)
class Place:
    """Colab, Kaggle, or a Jupyter server of one's own."""

    name: Literal["Colab", "Kaggle", "Jupyter"]
    local: Path
    """Where training writes: a disk of the machine."""
    kept: Path | None
    """Where copies outlast the session; None: `local` does."""
    earlier: tuple[Path, ...] = ()
    """Where copies of earlier sessions may lie, read only."""
    seconds: int | None = None
    """After which training stops in good order, before the session is ended; None: sessions do not end."""

    @property
    def home(self) -> Path:
        """Config, report and exports: what a person wants to find again."""
        return self.kept or self.local


def here(environment: Mapping[str, str] | None = None, modules: Mapping[str, object] | None = None) -> Place:
    """By what Colab and Kaggle set. Both end a session after 12 hours; training stops an hour before."""
    known = os.environ if environment is None else environment
    imported = sys.modules if modules is None else modules
    if "COLAB_RELEASE_TAG" in known or "google.colab" in imported:
        return Place("Colab", Path("/content/darkroom"), Path("/content/drive/MyDrive/darkroom"), seconds=11 * HOUR)
    if "KAGGLE_KERNEL_RUN_TYPE" in known:
        inputs = sorted(Path("/kaggle/input").glob("*/darkroom"))
        return Place(
            "Kaggle",
            Path(tempfile.gettempdir(), "darkroom"),
            Path("/kaggle/working/darkroom"),
            tuple(inputs),
            11 * HOUR,
        )
    return Place("Jupyter", Path("darkroom").resolve(), None)


def card_problem(card: Gpu, built_for: list[str]) -> str:
    """Why torch cannot compute on a card; empty where it can. built_for: what `torch.cuda.get_arch_list` says.

    Code for `sm_75` runs on capability 7.5 to 7.9, and `compute_75` is translated for any later card.
    """
    major, minor = card.compute_capability
    known = [(name.partition("_")[0], int("".join(filter(str.isdigit, name.partition("_")[2])))) for name in built_for]
    runs = any(
        (kind == "sm" and number // 10 == major and number % 10 <= minor)
        or (kind == "compute" and divmod(number, 10) <= (major, minor))
        for kind, number in known
    )
    if runs or not built_for or not major:
        return ""
    return (
        f"{card.name} has compute capability {major}.{minor}, and this torch is built for {', '.join(built_for)} only: "
        "choose another accelerator (on Kaggle GPU T4 × 2), or install a build of torch that lists "
        f"sm_{major}{minor}"
    )
