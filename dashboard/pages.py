"""The pages: their names, which are those of the files in `views`, their paths, and their titles."""

from __future__ import annotations

from dashboard.text.language import say

PATHS = {
    "runs": "runs",
    "overview": "",
    "samples": "pictures",
    "vote": "vote",
    "snapshots": "snapshots",
    "compare": "compare",
    "data": "data",
    "logs": "logs",
    "settings": "config",
    "system": "system",
}
FORMER_PATHS = {"samples": "pictures"}
"""Of links that people have kept → where they lead."""


def page_titles() -> dict[str, str]:
    """Every page by its name, in the order of use."""
    return {
        "runs": say("Runs"),
        "overview": say("Overview"),
        "samples": say("Pictures"),
        "vote": say("Vote"),
        "snapshots": say("Snapshots"),
        "compare": say("Compare"),
        "data": say("Data"),
        "logs": say("Logs"),
        "settings": say("Config"),
        "system": say("System"),
    }
