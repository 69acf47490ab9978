"""The bar on top of every page, the first screen, the table of snapshots, the cards of all runs, the machine, the logs:
they ask for their JSON documents themselves and draw them.

Python sends only which run, which page and the texts. What a person presses comes back as one trigger value, `asked`:
`{"do": "open", "step": 900}`, `{"do": "run", "run": "demo"}`, …; what was pressed before Streamlit was there comes
together, `{"do": "each", "asked": […]}`: of several values in a row Streamlit may lose one.
"""

from __future__ import annotations

from typing import Any

from dashboard.components.module import module_component
from dashboard.components.wall import lens_words
from dashboard.data.log_tail import Level, Start
from dashboard.text.language import current, say

Asked = dict[str, Any]

_bar, _screen, _runs, _snapshots, _machine, _log = (
    module_component(name, f"{name}.js", f'<div class="darkroom-{name}"></div>')
    for name in ("bar", "screen", "runs", "snapshots", "machine", "log")
)


def show_bar(data: dict[str, Any], *, key: str) -> list[Asked]:
    """The bar; returns what was just asked for, in order."""
    return _asked(_bar(key=key, data=data | {"words": bar_words()}, on_asked_change=lambda: None))


def show_first_screen(data: dict[str, Any], *, key: str) -> list[Asked]:
    """Verdict, pictures and filmstrip; returns what was just asked for, in order."""
    return _asked(_screen(key=key, data=data | {"words": screen_words()}, on_asked_change=lambda: None))


def show_runs(data: dict[str, Any], *, key: str) -> list[Asked]:
    """All runs; returns what was just asked for, in order."""
    return _asked(_runs(key=key, data=data | {"words": runs_words()}, on_asked_change=lambda: None))


def show_snapshots(data: dict[str, Any], *, key: str) -> list[Asked]:
    """The table of all snapshots; returns what was just asked for, in order."""
    return _asked(_snapshots(key=key, data=data | {"words": snapshots_words()}, on_asked_change=lambda: None))


def show_machine(run_name: str, *, key: str) -> None:
    """The machine at this moment, and the programs of the run."""
    _machine(key=key, data=machine_data(run_name))


def machine_data(run_name: str) -> dict[str, Any]:
    """What the machine's part of the page draws."""
    return {"run": run_name, "lang": current(), "heading": say("Programs")}


def show_log(
    run_name: str, role: str, *, key: str, count: int = 200, wanted: str = "", level: Level = "all", start: Start
) -> None:
    """Lines of a program's log; see `dashboard.data.log_tail.last_lines`."""
    chosen = {"count": count, "wanted": wanted, "level": level}
    _log(key=key, data=log_data(run_name, role, start) | chosen)


def log_data(run_name: str, role: str, start: Start) -> dict[str, Any]:
    """What the log's part of the page draws while nothing else is chosen."""
    chosen = {"role": role, "start": start, "count": 200, "wanted": "", "level": "all"}
    words = {"copy": say("Copy"), "copied": say("copied")}
    return {"run": run_name, "lang": current(), **chosen, "words": words}


def _asked(result: Any) -> list[Asked]:
    match result.asked:
        case {"do": "each", "asked": list(several)}:
            return [dict(one) for one in several if isinstance(one, dict)]
        case dict(one):
            return [dict(one)]
        case _:
            return []


def bar_words() -> dict[str, str]:
    """The texts of the bar."""
    return {
        "run": say("Run"),
        "pages": say("Pages"),
        "moreTab": say("More"),
        "more": say("More actions"),
        "pause": say("Pause"),
        "resume": say("Resume"),
        "stop": say("Stop"),
        "askStop": say("The trainer finishes its step, saves and stops. The same command resumes it."),
        "saveAndStop": say("Save and stop"),
        "keepTraining": say("Keep training"),
        "snapshot": say("Save snapshot now"),
        "report": say("Download report (one HTML file)"),
        "oneAlert": say("1 alert"),
        "openLog": say("Show the log of: {program}", program="{program}"),
        "alerts": say("{count} alerts", count="{count}"),
        "advice": say("The stop rule advises to end training."),
        "notYet": say("Not yet"),
        "offline": say("The dashboard does not answer; trying again …"),
        "notSent": say("The dashboard does not answer. Press the button again."),
    }


def screen_words() -> dict[str, Any]:
    """The texts of the first screen that do not depend on the run."""
    return lens_words() | {
        "verdict": say("Verdict"),
        "why": say("How it was decided"),
        "moreOfIt": say("Show {count} more", count="{count}"),
        "moreOne": say("Show 1 more"),
        "less": say("Show less"),
        "compare": say("Compare"),
        "vote": say("Vote"),
        "copyPath": say("copy path"),
        "copy": say("copy"),
        "copied": say("copied"),
        "making": say("{label} … converting", label="{label}"),
        "interval": say(
            "Difference to the base model, with its 95 % interval: {difference}", difference="{difference}"
        ),
        "scale": say("line: base model; to the right: better"),
        "prompt": say("Prompt"),
        "typical": say("typical"),
        "worst": say("worst"),
        "newest": say("newest"),
        "all": say("all pictures"),
        "wipe": say("wipe"),
        "filmstrip": say("Snapshots"),
        "base": say("base"),
        "signs": say("What the signs mean"),
        "meanings": sign_words(),
        "stripHint": say("Click or Enter: show on the right. With Shift: on the left."),
        "justNow": say("just now"),
        "evaluating": say("evaluating"),
        "waiting": say("waiting"),
        "planned": say("planned"),
        "failed": say("failed"),
        "skipped": say("skipped"),
    }


def sign_words() -> dict[str, str]:
    """What the signs of the filmstrip mean, by the field of a cell or the value of its mark."""
    return {
        "better": say("better than the base model (95 %)"),
        "same": say("no clear difference from the base model"),
        "worse": say("worse than the base model (95 %)"),
        "won": say("prompts on which it is better than the base model, of those compared"),
        "best": say("the best one"),
        "flagged": say("shows a sign of overfitting, or may not be shipped for another reason"),
        "starred": say("starred by a person"),
        "averaged": say("averaged weights"),
        "voted": say("people have compared its pictures (page Vote)"),
    }


def snapshots_words() -> dict[str, str]:
    """The texts of the table of snapshots."""
    return {
        "snapshots": say("Snapshots"),
        "step": say("step"),
        "verdict": say("verdict"),
        "won": say("prompts won"),
        "wonHelp": say("Prompts on which it is better than the base model, of those compared."),
        "note": say("note"),
        "sort": say("Sort by"),
        "open": say("Open step {step}", step="{step}"),
        "best": say("best"),
        "bestSoFar": say("best so far"),
        "flagged": say("flagged"),
        "starred": say("starred"),
        "averaged": say("averaged weights"),
        "evaluating": say("being evaluated"),
        "waiting": say("waits to be evaluated"),
        "planned": say("not trained yet"),
        "failed": say("could not be evaluated"),
        "skipped": say("will not be evaluated"),
        "missing": say("no value"),
        "scale": say(
            "Each number is the difference to the base model. The bar is its 95 % interval, the line the base model; "
            "to the right is better. Point at a number for its interval, at a heading for which numbers are better."
        ),
        "offline": say("The dashboard does not answer; trying again …"),
    }


def runs_words() -> dict[str, str]:
    """The texts of the page of all runs."""
    return {
        "filter": say("Filter by name, #tag, note or setting"),
        "filterByTag": say("Show the runs with this tag"),
        "addNote": say("Add tags or a note"),
        "edit": say("Edit"),
        "editOf": say("Tags and note of {run}", run="{run}"),
        "tags": say("Tags, separated by commas"),
        "note": say("Note"),
        "save": say("Save"),
        "replace": say("Save and replace the other text"),
        "cancel": say("Cancel"),
        "sort": say("Sort by"),
        "newest": say("newest"),
        "name": say("name"),
        "wins": say("prompts won"),
        "duration": say("duration"),
        "compare": say("Compare"),
        "tickTwo": say("Tick two runs to compare them."),
        "choose": say("Choose {run} to compare", run="{run}"),
        "none": say("No run matches the filter."),
        "offline": say("The dashboard does not answer; trying again …"),
        "notSent": say("The dashboard does not answer. Press the button again."),
        "settings": say("Settings that differ"),
    }
