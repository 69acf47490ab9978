"""An error that a cell shows as its two lines, without a traceback; the cells below it are not run."""

from __future__ import annotations

from shared.errors import DarkroomError


class CellError(DarkroomError):
    """What happened, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """Called by IPython."""
        return [f"error: {self}", *([f"hint: {self.hint}"] if self.hint else [])]
