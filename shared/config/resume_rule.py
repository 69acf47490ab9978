"""Whether a setting may change when a run is resumed: each field of a table carries one of these rules."""

from __future__ import annotations

from enum import Enum


class Rule(Enum):
    """What a setting's change would do to a run; a refusal quotes it."""

    SESSION = "it says where the run lies, who hears of it, or where the dashboard listens"
    UPKEEP = "it only decides when and where something is saved, or how long training lasts: the steps stay the same"
    STEPS = "every further step comes out differently"
    STATE = "the adapter and the optimizer's state were made with it"
    START = "the run began from it"
    STREAM = "it decides which picture comes when, and the run is in the middle of that"
    SPLIT = "it decides which pictures and captions are held out for evaluation"
    RESULTS = "results already made could not be compared with later ones"


CHANGEABLE = frozenset({Rule.UPKEEP, Rule.STEPS})
"""What `--allow-change` can change at any time; RESULTS may change until the first evaluation."""
