"""A prompt that a person asks for in the dashboard, for a run of an edit model: whose sources are to be edited.

`turn the shirt red --ci kimono-03` names the sources of a prompt of the run itself, by its id. No other file can be
named: a request comes from a browser.
"""

from __future__ import annotations

SOURCE = "--ci"


def with_source(prompt: str, prompt_id: str) -> str:
    """The prompt with the sources of this prompt of the run, unless it names others."""
    return prompt if SOURCE in prompt.split() else f"{prompt} {SOURCE} {prompt_id}"


def split(prompt: str) -> tuple[str, str]:
    """What to draw, and the id of the prompt whose sources are edited; empty if it names none."""
    text, _, prompt_id = f"{prompt} ".partition(f" {SOURCE} ")
    return text.strip(), prompt_id.strip()
