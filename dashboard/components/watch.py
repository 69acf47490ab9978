"""Draws a panel again when what it shows has changed: the browser learns the versions of a run from what the bar asks.

A fragment that runs by the clock sends everything again at every tick. This component, invisible, stands in the panel
and has it run when a version differs from the one it was drawn with.
"""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.components.module import module_component

_mount = module_component("watch", "watch.js", '<div class="darkroom-watch"></div>')


def watch(
    run: str,
    parts: Sequence[str],
    drawn: str,
    *,
    seconds: float,
    again: float | None = None,
    key: str,
    is_another: bool = False,
) -> None:
    """Have the panel around it drawn again.

    Args:
        run: name of the run.
        is_another: it is not the run that the bar shows.
        parts: of its folder, see `dashboard.data.versions`.
        drawn: their version that the panel shows.
        seconds: the least time between two drawings.
        again: seconds after which it is drawn though nothing has changed; None: never.
        key: unique on the page.
    """
    data = {"run": run, "parts": list(parts), "drawn": drawn, "seconds": seconds, "again": again}
    data["isAnother"] = is_another
    _mount(key=f"watch_{key}", data=data, on_changed_change=lambda: None)
