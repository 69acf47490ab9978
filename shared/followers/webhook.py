"""Tells another program by HTTP what a person should know of a run: it finished, stopped, failed, or needs attention.

A thread of its own looks at the run's files and posts JSON; its `text` is what Slack and Mattermost show. Each message
is tried once, and each kind of alert is sent once a session. A failure here never affects the run; it is logged once.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Literal

from shared.errors import DarkroomError
from shared.followers.alerts import Alert, in_run
from shared.run_folder.averages import label
from shared.run_folder.file_to_ship import why_not_shippable
from shared.run_folder.heartbeat import left_behind, read_status
from shared.run_folder.phrase import in_unit
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now

Event = Literal["finished", "stopped", "failed", "alert"]
LOOK_SECONDS = 5.0
POST_SECONDS = 10.0


class Webhook:
    """Watches one session of a run until `end`."""

    def __init__(self, url: str, run: RunDir, say: Callable[[str], None], look_seconds: float = LOOK_SECONDS) -> None:
        self._url, self._run, self._say, self._look_seconds = url, run, say, look_seconds
        self._left = left_behind(run)
        self._ended = threading.Event()
        self._told: set[str] = set()
        self._before = {topic_of(alert) for alert in self._alerts()}
        self._failed = False
        self._thread = threading.Thread(target=self._watch, name="webhook", daemon=True)
        self._thread.start()

    def end(self, code: int) -> None:
        """Send how the run ended: its trainer's exit code and last message. Wait no longer than one post may take."""
        self._ended.set()
        self._thread.join(POST_SECONDS)
        last = threading.Thread(target=self._tell_end, args=(code,), daemon=True)
        last.start()
        last.join(POST_SECONDS)

    def _watch(self) -> None:
        while not self._ended.wait(self._look_seconds):
            current = {topic_of(alert): alert for alert in self._alerts()}
            self._before &= current.keys()
            for topic, alert in current.items():
                if topic not in self._before | self._told:
                    self._told.add(topic)
                    self._post("alert", self._in_words(alert), kind=alert.kind)

    def _alerts(self) -> list[Alert]:
        """None while a file is being mended or the disk does not answer: the next look finds them."""
        with suppress(DarkroomError, OSError, ValueError):
            return in_run(self._run, datetime.now(UTC))
        return []

    def _in_words(self, alert: Alert) -> str:
        """A notice is a program's own words."""
        with suppress(DarkroomError, OSError):
            return str(alert) if alert.kind == "notice" else in_unit(str(alert), self._run.read_record().unit)
        return str(alert)

    def _tell_end(self, code: int) -> None:
        trainer = read_status(self._run, "trainer")
        state: Event = "failed" if code else "stopped" if trainer and trainer.state == "stopped" else "finished"
        text = state + (f" at step {trainer.step} of {trainer.total}" if trainer else "")
        if trainer and trainer.message and state != "finished" and trainer not in self._left:
            text += f": {trainer.message}"
        best = None
        with suppress(DarkroomError, OSError):
            best = self._run.read_best()
            if best:
                named = "Best snapshot" if best.is_chosen else "Last snapshot that may be shipped"
                text += f". {named}: {self._run.read_record().unit} {label(best.step)}. {best.reason}"
                if why_not := why_not_shippable(self._run, best.step):
                    text += f" It cannot be shipped: {why_not}."
        self._post(state, text, best_step=best.step if best else None)

    def _post(self, event: Event, text: str, **further: object) -> None:
        trainer = read_status(self._run, "trainer")
        name = self._run.path.name
        message = {
            "text": f"{name}: {text}",
            "event": event,
            "run": name,
            "step": trainer.step if trainer else 0,
            "total": trainer.total if trainer else 0,
            "time": utc_now(),
            **further,
        }
        headers = {"Content-Type": "application/json", "User-Agent": "darkroom"}
        request = urllib.request.Request(self._url, json.dumps(message).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=POST_SECONDS):
                self._failed = False
        except (OSError, ValueError, HTTPException) as error:
            if not self._failed:
                self._say(f"the webhook could not be reached: {error}")
            self._failed = True


def topic_of(alert: Alert) -> str:
    """An alert's kind and program: each pair is sent once."""
    return f"{alert.kind} {alert.values.get('program', '')}"
