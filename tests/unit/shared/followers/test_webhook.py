from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from shared.config.dumping import dump_config
from shared.config.loading import load_config, parse_config
from shared.errors import ConfigError
from shared.followers import alerts
from shared.followers.webhook import Webhook
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.process_status import Role, State
from tests.conftest import until

LOOK_SECONDS = 0.05


class Listener(HTTPServer):
    """Keeps what is posted; answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.posted: list[dict[str, Any]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def texts(self) -> list[str]:
        return [message["text"] for message in self.posted]

    def events(self) -> list[str]:
        return [message["event"] for message in self.posted]


class Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        self.server.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Say nothing."""


@pytest.fixture(autouse=True)
def _a_disk_with_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose disk is nearly full would add an alert of its own."""
    monkeypatch.setattr(alerts.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1 << 40))


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    made = create(tmp_path / "kimono", steps=40, snapshot_steps=10)
    write_history(made)
    return made


def test_a_finished_run_is_told_with_its_best_snapshot(fake: FakeRun, listener: Listener) -> None:
    Webhook(listener.url, fake.run, print, LOOK_SECONDS).end(0)
    (message,) = listener.posted
    best = fake.run.read_best()
    assert best
    assert message["event"] == "finished"
    assert message["text"].startswith(f"kimono: finished at step 40 of 40. Best snapshot: step {best.step}. ")
    assert (message["run"], message["step"], message["total"], message["best_step"]) == ("kimono", 40, 40, best.step)


def test_a_failed_and_a_stopped_run_are_told_with_their_reason(fake: FakeRun, listener: Listener) -> None:
    ends: list[tuple[State, str, int]] = [("failed", "no finite loss", 4), ("stopped", "asked by a person", 0)]
    for state, reason, code in ends:
        with hold_role(fake.run, "trainer") as trainer:
            webhook = Webhook(listener.url, fake.run, print, look_seconds=60)
            trainer.update(step=7, total=40)
            trainer.close(state, reason)
        webhook.end(code)
    assert listener.events() == ["failed", "stopped"]
    assert "failed at step 7 of 40: no finite loss" in listener.posted[0]["text"]
    assert "stopped at step 7 of 40: asked by a person" in listener.posted[1]["text"]


def test_what_first_needs_attention_is_told_once_and_old_news_never(fake: FakeRun, listener: Listener) -> None:
    webhook = Webhook(listener.url, fake.run, print, LOOK_SECONDS)  # the run overfits already
    ends: list[tuple[Role, str]] = [("evaluator", "no encoder"), ("evaluator", "none again"), ("trainer", "no disk")]
    for role, reason in ends:
        with pytest.raises(RuntimeError), hold_role(fake.run, role):
            raise RuntimeError(reason)
        until(lambda role=role: any(role.capitalize() in text for text in listener.texts()), f"the {role}'s alert")
    webhook.end(4)
    assert listener.texts()[:-1] == ["kimono: Evaluator failed: no encoder", "kimono: Trainer failed: no disk"]
    assert [message.get("kind") for message in listener.posted] == ["failed", "failed", None]


@pytest.mark.parametrize("broken", ["answers badly", "is gone"])
def test_a_webhook_that_fails_is_said_once_and_changes_nothing(fake: FakeRun, listener: Listener, broken: str) -> None:
    said: list[str] = []
    url = listener.url if broken == "answers badly" else "http://127.0.0.1:9/hook"
    listener.status = 500
    webhook = Webhook(url, fake.run, said.append, LOOK_SECONDS)
    with pytest.raises(RuntimeError), hold_role(fake.run, "evaluator"):
        raise RuntimeError("no encoder")
    until(lambda: said, "the failure to be said")
    webhook.end(0)
    (sentence,) = said
    assert sentence.startswith("the webhook could not be reached: ")
    assert url not in sentence


def test_a_run_folder_that_cannot_be_read_for_a_moment_is_looked_at_again(fake: FakeRun, listener: Listener) -> None:
    verdict = fake.run.best.read_bytes()
    fake.run.best.write_text("{")
    webhook = Webhook(listener.url, fake.run, print, LOOK_SECONDS)
    fake.run.best.write_bytes(verdict)
    until(lambda: "alert" in listener.events(), "the alert of overfitting")
    webhook.end(0)
    assert "Overfitting" in listener.posted[0]["text"]


def test_the_address_stays_out_of_the_run_folder(tmp_path: Path) -> None:
    config = parse_config({"data": {"path": "pictures"}, "run": {"webhook": "https://chat.example/secret"}})
    assert config.run.webhook == "https://chat.example/secret"
    path = tmp_path / "config.toml"
    path.write_text(dump_config(config))
    assert "secret" not in path.read_text()
    assert load_config(path).run.webhook is None
    with pytest.raises(ConfigError, match=r"run\.webhook is 'chat'"):
        parse_config({"data": {"path": "pictures"}, "run": {"webhook": "chat"}})
