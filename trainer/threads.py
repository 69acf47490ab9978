"""How many threads a trainer on a CPU computes with. Sums, and so the last bits of every weight, depend on it.

The number is part of a checkpoint, and a resumed run takes it from there: it ends bit for bit like one that nothing
interrupted. OMP_NUM_THREADS, then `train.cpu_threads`, override it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch

from tasks import devices

VARIABLE = "OMP_NUM_THREADS"
Setting = int | Literal["auto", "half", "all"]


@dataclass(frozen=True)
class Threads:
    """number: of this process. notice: what the user should know about it; empty if there is nothing."""

    number: int
    notice: str = ""


@dataclass(frozen=True)
class Cores:
    """What this machine lets one process of the trainer use, if `processes` of them share it."""

    all: int
    """The threads that torch takes by itself: the cores that this process may run on, without hyperthreads."""
    half: int
    """What is left beside an evaluator, which takes as many."""

    @classmethod
    def here(cls) -> Cores:
        """As torch sees them before a number is set."""
        processes = devices.num_local_processes()
        return cls(max(1, torch.get_num_threads() // processes), devices.half_of_cores(processes))


def take(device: torch.device, setting: Setting, before: int | None, *, resumes: bool, alone: bool) -> str:
    """Set the number of threads of this process, if it computes on a CPU. Returns a notice; it may be empty.

    The other arguments are those of `choose`.
    """
    if device.type != "cpu":
        return ""
    if VARIABLE in os.environ:
        return _changed(torch.get_num_threads(), before)
    chosen = choose(setting, before, Cores.here(), resumes=resumes, alone=alone)
    torch.set_num_threads(chosen.number)
    return chosen.notice


def choose(setting: Setting, before: int | None, cores: Cores, *, resumes: bool, alone: bool) -> Threads:
    """The number of threads by the setting; `auto`: the one of the steps before, else all cores if alone, else half.

    before: of the checkpoint; None: there is none, or it is of a version that always took half. resumes: there is a
    checkpoint. alone: no evaluator shares the machine.
    """
    own = cores.all if alone else cores.half
    if setting != "auto":
        number = setting if isinstance(setting, int) else cores.all if setting == "all" else cores.half
        return Threads(number, _changed(number, before))
    if not resumes:
        return Threads(own)
    kept = cores.half if before is None else before
    if kept > max(cores.all, cores.half):
        return Threads(own, _changed(own, kept))
    return Threads(kept, _kept(kept, own))


def _changed(number: int, before: int | None) -> str:
    if before in (None, number):
        return ""
    return (
        f"training goes on with {number} threads, the steps before were made with {before}: sums are rounded in "
        "another order, so it does not end bit for bit like an uninterrupted run"
    )


def _kept(number: int, own: int) -> str:
    if number == own:
        return ""
    effect = "more cores are free" if number < own else "the evaluator beside it may be slow"
    return (
        f"training goes on with {number} threads as it began, and {effect}: "
        f"`--allow-change train.cpu_threads train.cpu_threads={own}` takes {own}, which changes the last bits"
    )
