"""Lines of a command on the terminal."""

from __future__ import annotations

from rich.console import Console

from shared.command_name import as_called


def say(text: str) -> None:
    """As it is: brackets are no markup, and long lines are not broken."""
    Console(highlight=False, soft_wrap=True).print(as_called(text), markup=False)
