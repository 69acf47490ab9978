"""The Data page: it asks for the pictures itself, a page of them at a time, and sends what a person changes.

Python sends only which run, what is sought, and the texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.components.module import module_component
from dashboard.text.language import current, say

_dataset = module_component("dataset", "dataset.js", '<div class="darkroom-dataset"></div>')


def show_dataset(data: dict[str, Any], *, key: str) -> Any:
    """The pictures; returns what was just asked for."""
    return _dataset(key=key, data=data, on_asked_change=lambda: None).asked


def dataset_data(run_name: str, view: Mapping[str, Any]) -> dict[str, Any]:
    """What the page draws. view: what is sought."""
    return {"run": run_name, "lang": current(), "view": dict(view), "words": dataset_words()}


def dataset_words() -> dict[str, Any]:
    """The texts of the page."""
    return {
        "heading": say("Data"),
        "find": say("Find in captions and names"),
        "split": say("Split"),
        "anySplit": say("all pictures"),
        "splits": {
            "train": say("trained on"),
            "held_out": say("held out"),
            "left_out": say("left out"),
            "regularization": say("for regularisation"),
        },
        "only": say("Show"),
        "anyKind": say("everything"),
        "kinds": {
            "alike": say("near-duplicates"),
            "bare": say("without a caption"),
            "changed": say("changed since the run was made"),
            "cut": say("captions that are cut off"),
            "masked": say("with a mask"),
            "missing": say("without a picture file"),
        },
        "replaceTags": say("Replace tags …"),
        "changes": say("Changes …"),
        "writeCaptions": say("Write captions …"),
        "stopWriting": say("Stop writing"),
        "model": say("Model"),
        "modelHint": say(
            "A folder, or a hub id: a Florence-2, a BLIP, or a tagger. It runs on this machine, in a program of its "
            "own. What it writes can be undone under Changes."
        ),
        "forBare": say("pictures without a caption"),
        "forAll": say("all pictures, in place of their captions"),
        "start": say("Start"),
        "range": say("{first} to {last} of {count}", first="{first}", last="{last}", count="{count}"),
        "none": say("No picture fits."),
        "empty": say("This run has recorded no data set."),
        "previous": say("Previous page"),
        "next": say("Next page"),
        "captionOf": say("Caption of {picture}", picture="{picture}"),
        "noCaption": say("no caption"),
        "save": say("Save"),
        "discard": say("Discard"),
        "saved": say("Saved."),
        "changedIn": say("{count} captions changed.", count="{count}"),
        "undone": say("Undone."),
        "undo": say("Undo"),
        "redo": say("Redo"),
        "theirs": say("The caption is now:"),
        "before": say("In the run: {caption}", caption="{caption}"),
        "new": say("not in this run"),
        "tokens": say("{count} tokens", count="{count}"),
        "oneToken": say("1 token"),
        "cut": say("{count} cut off", count="{count}"),
        "alike": say("looks like {pictures}", pictures="{pictures}"),
        "more": say("and {count} more", count="{count}"),
        "mask": say("mask"),
        "maskOf": say("Mask of {picture}", picture="{picture}"),
        "enlarge": say("Enlarge: {picture}", picture="{picture}"),
        "noPicture": say("no picture"),
        "close": say("Close"),
        "findTag": say("Find"),
        "replaceBy": say("Replace by"),
        "replaceHint": say("An empty field takes the tag away. Upper and lower case count as the same."),
        "wholeTag": say("whole tags, between commas"),
        "anyText": say("any part of a caption"),
        "replaceIn": say("Replace in {count} captions", count="{count}"),
        "noChanges": say("No caption was changed on this page yet."),
        "changesHint": say("Old captions are kept in .darkroom/captions in the folder of the data set."),
        "unsaved": say("Not saved: {count}", count="{count}"),
        "loading": say("Loading …"),
        "offline": say("The dashboard does not answer; trying again …"),
        "notSent": say("The dashboard does not answer. Press the button again."),
    }
