"""A sweep on the page: what was found in sentences, its trials as a table, its charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dashboard.charts.sweep import importance_figure, spelled, trials_figure
from dashboard.components.sheet import sheet_data, words
from dashboard.data.runs import runs_folder
from dashboard.story.curves import Chart
from dashboard.text.language import say
from dashboard.text.phrases import told
from shared.command_name import as_called
from shared.run_folder.averages import label
from shared.sweeps.record import SweepRecord, TrialRecord
from shared.sweeps.sweep_dir import SweepDir, list_sweeps, readable

LOOK_SECONDS = 5.0


def sweeps() -> dict[str, tuple[SweepDir, SweepRecord]]:
    """By name, those whose record can be read, the last to be written first."""
    found = {sweep.path.name: (sweep, readable(sweep)) for sweep in list_sweeps(runs_folder())}
    return {name: (sweep, record) for name, (sweep, record) in found.items() if record}


def are_its_runs(sweep: SweepDir) -> bool:
    """Whether the runs of the page are the sweep's trials."""
    return sweep.runs.resolve() == runs_folder()


def sweep_data(sweep: SweepDir, record: SweepRecord) -> dict[str, Any]:
    """Who wins, and what is known of it."""
    heading = say("Sweep {name}", name=record.name)
    sentences = [words("sentence", told([one], str(one))) for one in record.sentences]
    states = {
        "running": say("The sweep is running."),
        "stopped": say("The sweep is stopped; the same command goes on."),
        "failed": say("The sweep has ended, because its trials failed; the same command goes on."),
        "finished": "",
    }
    remarks = [states[record.state]]
    if not are_its_runs(sweep):
        command = as_called(f"python run.py dashboard {sweep.runs}")
        remarks.append(say("Its trials are runs of their own: {command} shows them.", command=command))
    blocks = [words("heading", heading), *sentences, *(words("remark", text) for text in remarks if text)]
    return sheet_data("contest", blocks)


def trials_table(record: SweepRecord) -> pd.DataFrame:
    """The winner first, then by composite; those without one last."""
    return pd.DataFrame([_row(trial, record) for trial in _ordered(record)])


def sweep_chart(name: str, part: str) -> Chart:
    """`trials` or `importance`; nothing where there is no such sweep any more."""
    found = sweeps().get(name)
    if found is None:
        return Chart(None)
    _, record = found
    again = LOOK_SECONDS if record.state == "running" else None
    if part == "importance":
        return Chart(importance_figure(record), say("importance of settings"), LOOK_SECONDS, again)
    return Chart(trials_figure(record), say("settings and composite of every trial"), LOOK_SECONDS, again)


def _ordered(record: SweepRecord) -> Sequence[TrialRecord]:
    ranked = [number for setting in record.settings for number in setting.trials]
    place = {number: rank for rank, number in enumerate(ranked)}
    composite = {trial.number: trial.composite.delta if trial.composite else float("inf") for trial in record.trials}
    return sorted(record.trials, key=lambda one: (place.get(one.number, len(place)), composite[one.number], one.number))


def _row(trial: TrialRecord, record: SweepRecord) -> dict[str, str]:
    states = {
        "waiting": say("waiting"),
        "running": say("running"),
        "done": say("done"),
        "pruned": say("stopped early"),
        "failed": say("failed"),
    }
    found = trial.composite
    return {
        say("run"): trial.run,
        **{key: spelled(trial.values.get(key)) for key in record.space},
        say("seed"): str(trial.seed),
        say("state"): states[trial.state],
        say("steps"): f"{trial.step} / {trial.total}" if trial.total else "–",
        say("best step"): label(trial.best_step) if trial.best_step is not None else "–",
        say("composite"): f"{found.delta:+.2f} ({found.low:+.2f} … {found.high:+.2f})" if found else "–",
        say("reason"): trial.reason,
    }
