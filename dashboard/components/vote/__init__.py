"""The page of votes: it asks for the next two pictures itself, and sends what the person answers."""

from __future__ import annotations

from typing import Any

from dashboard.components.module import module_component
from dashboard.text.language import current, say

_vote = module_component("vote", "vote.js", '<div class="darkroom-vote"></div>')


def show_vote(run_name: str, *, key: str) -> None:
    """Two pictures of a run at a time."""
    _vote(key=key, data=vote_data(run_name))


def vote_data(run_name: str) -> dict[str, Any]:
    """What the page draws."""
    return {"run": run_name, "lang": current(), "words": vote_words()}


def vote_words() -> dict[str, str]:
    """The texts of the page of votes."""
    return {
        "heading": say("Which picture is better?"),
        "hint": say("Two snapshots drew the same prompt with the same seed. Which ones is hidden."),
        "left": say("A is better"),
        "right": say("B is better"),
        "equal": say("Equal"),
        "skip": say("Skip"),
        "undo": say("Undo"),
        "pictureLeft": say("Picture A"),
        "pictureRight": say("Picture B"),
        "reference": say("reference"),
        "missingFile": say("the picture file is missing or damaged"),
        "loading": say("Loading …"),
        "keys": say("← A · → B · ↓ equal · S skips · U takes the last vote back"),
        "referenceKey": say("R shows the reference"),
        "voter": say("Your name"),
        "voterHint": say("Votes are kept by voter. Without a name, this browser has a random one."),
        "showResult": say("Show result"),
        "hideResult": say("Hide result"),
        "askResult": say("It says which snapshots lead. Votes after that are no longer blind."),
        "counting": say("The votes are being counted …"),
        "strength": say("Strength over the base model, votes and metrics together, with its 95 % interval"),
        "strengthAlone": say("Strength over the base model by the votes alone, with its 95 % interval"),
        "snapshot": say("snapshot"),
        "chance": say("best with"),
        "votes": say("votes"),
        "metric": say("metric"),
        "agreement": say("How often a metric preferred the same picture, with its 95 % interval; the line is chance"),
        "voters": say("Votes by voter"),
        "problems": say("Not counted"),
        "unsent": say("{count} votes are not saved yet; trying again …", count="{count}"),
        "offline": say("The dashboard does not answer; trying again …"),
    }
