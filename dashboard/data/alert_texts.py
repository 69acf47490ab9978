"""What deserves attention, in the viewer's language: `shared.followers.alerts` over the tables that the page keeps."""

from __future__ import annotations

import os
import shutil
from datetime import datetime

from dashboard.data.events import typical
from dashboard.data.reader import RunReader
from dashboard.text.formatting import duration, size
from dashboard.text.language import say
from shared.errors import RunFolderError
from shared.followers import alerts
from shared.followers.alerts import SENTENCES, Alert, Bytes, Seconds
from shared.run_folder.heartbeat import is_alive, read_status, read_trackers
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.sharing.active_evaluators import read_active_evaluators


def sentence(alert: Alert) -> str:
    """The alert in words."""
    said = say(SENTENCES[alert.kind], **{name: _spell(name, value) for name, value in alert.values.items()})
    return f"{said.rstrip('.')}{say('. To cure it, {cure}.', cure=alert.cure)}" if alert.cure else said


def of_run(reader: RunReader, trainer: ProcessStatus | None, now: datetime) -> list[Alert]:
    """Everything that deserves attention, the gravest first."""
    alive, (evaluators, evaluating) = is_alive(trainer), read_active_evaluators(reader.run)
    importer = read_status(reader.run, "importer")
    waiting = len(reader.waiting_steps())
    all_alerts = [
        *damaged(reader),
        *alerts.ended_badly(trainer, alive, reader.run),
        *alerts.ended_badly(importer, is_alive(importer), reader.run),
        *(
            alert
            for slot, status in evaluators.items()
            for alert in alerts.ended_badly(status, slot in evaluating, reader.run, slot)
        ),
        *stalled(reader, trainer, now),
        *not_finite(reader),
        *alerts.notices(
            read_status(reader.run, "supervisor"),
            trainer,
            importer,
            *evaluators.values(),
            *read_trackers(reader.run).values(),
        ),
        *alerts.low_disk(shutil.disk_usage(reader.run.path).free),
        *overfitting(reader),
        *(alerts.unevaluated(waiting, bool(evaluating)) if alive or not evaluators else []),
        *alerts.failed_evaluations(reader.failures()),
    ]
    return sorted(all_alerts, key=lambda alert: alert.level != "bad")


def damaged(reader: RunReader) -> list[Alert]:
    """Files that cannot be read; what they should say is missing on the page."""
    for read in (reader.train, reader.validation, reader.system, reader.metrics, reader.best, reader.notes):
        read()  # what nobody has read yet is not known to be damaged
    for step in reader.evaluated_steps():
        reader.result(step)
    found = dict(reader.damaged)
    for path in sorted(reader.run.processes.glob("*.json")):
        try:
            ProcessStatus.read(path)
        except RunFolderError as error:
            found[path] = error
        except FileNotFoundError:
            continue
    return [
        Alert(
            "damaged",
            {"problem": str(error).rstrip("."), "cure": error.hint or say("move {path} away", path=path)},
            "bad",
        )
        for path, error in found.items()
        if os.path.lexists(path)
    ]


def of_steps(reader: RunReader) -> dict[int, str]:
    """Step → what to draw there; single steps without a loss are marked on its curve already."""
    lasting = [alert for alert in not_finite(reader) if alert.level == "bad"]
    marked = [*overfitting(reader), *lasting]
    return {alert.step: sentence(alert) for alert in marked if alert.step is not None}


def not_finite(reader: RunReader) -> list[Alert]:
    """Of the last steps."""
    recent = reader.train().tail(alerts.RECENT_STEPS)
    return alerts.not_finite(recent["step"].tolist(), recent["loss"].tolist())


def overfitting(reader: RunReader) -> list[Alert]:
    """At the newest snapshot."""
    validation = reader.validation()
    return alerts.overfitting(reader.best(), validation["step"].tolist(), validation["held_out_loss"].tolist())


def stalled(reader: RunReader, trainer: ProcessStatus | None, now: datetime) -> list[Alert]:
    """Since the last row."""
    recent = reader.train().tail(alerts.RECENT_STEPS)
    last = float(recent["timestamp"].iloc[-1]) if len(recent) else None
    usual = typical(recent["step_seconds"].to_numpy())
    return alerts.stalled(last, usual, trainer, is_alive(trainer), now)


def _spell(name: str, value: object) -> object:
    if isinstance(value, Seconds):
        return duration(value)
    if isinstance(value, Bytes):
        return size(value)
    return say(str(value)) if name == "program" else value
