"""What the buttons of the bar do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboard.data.reader import RunReader
from dashboard.panels.controls import obey
from dashboard.server.exports import EXPORTS
from examples.fake_run.run import FakeRun
from shared.run_folder import requests
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.request import RequestKind
from shared.run_folder.run_dir import RunDir


@pytest.fixture
def reader(finished: FakeRun) -> RunReader:
    return RunReader(finished.run, finished.record.run_id)


@pytest.fixture
def training(finished: FakeRun) -> Iterator[RunDir]:
    """A trainer is at work: this process."""
    with hold_role(finished.run, "trainer") as trainer:
        trainer.update("training", step=10)
        yield finished.run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Which exports were started."""
    begun: list[tuple[int, str]] = []

    def start(_run: RunDir, step: int, form: ExportFormat) -> None:
        begun.append((step, form.name))

    monkeypatch.setattr(EXPORTS, "start", start)
    return begun


@pytest.mark.parametrize("kind", ["stop", "pause", "resume", "snapshot-now"])
def test_a_button_pressed_twice_writes_one_request(reader: RunReader, training: RunDir, kind: RequestKind) -> None:
    for _ in range(2):
        obey(reader, {"do": kind})
    (request,) = requests.open_requests(training, kind)
    assert request.by == "dashboard"


def test_without_a_trainer_nothing_is_written(reader: RunReader) -> None:
    obey(reader, {"do": "stop"})
    assert requests.open_requests(reader.run) == []


def test_the_stop_rules_advice_is_followed_in_its_name(reader: RunReader, training: RunDir) -> None:
    obey(reader, {"do": "follow"})
    (request,) = requests.open_requests(training)
    assert request.by == "dashboard, as the stop rule advised"


def test_a_run_that_took_anothers_place_is_not_acted_on(reader: RunReader, training: RunDir) -> None:
    training.read_record().model_copy(update={"run_id": "another"}).write(training.record)
    obey(reader, {"do": "stop"})
    obey(reader, {"do": "pause"})
    assert requests.requests(training) == requests.requests(training, "pause") == []


@pytest.mark.parametrize("asked", [{}, {"do": "evaluate"}, {"do": "convert", "step": "80"}, {"do": 3}])
def test_what_no_button_says_does_nothing(reader: RunReader, training: RunDir, asked: dict[str, object]) -> None:
    obey(reader, asked)
    assert all(requests.open_requests(training, kind) == [] for kind in requests.REQUEST_KINDS)


def test_the_best_is_converted_beforehand_and_others_only_when_asked_for(
    reader: RunReader, started: list[tuple[int, str]]
) -> None:
    best = reader.best()
    assert best
    assert best.better_than_base
    converted = next(form.name for form in reader.exports if not form.file)
    obey(reader, {"do": "prepare", "step": 40 if best.step != 40 else 80, "format": converted})
    assert started == []
    obey(reader, {"do": "prepare", "step": best.step, "format": converted})
    obey(reader, {"do": "convert", "step": 80, "format": converted})
    obey(reader, {"do": "convert", "step": 80, "format": "no such format"})
    assert started == [(best.step, converted), (80, converted)]


@pytest.mark.usefixtures("training")
def test_nothing_is_converted_beforehand_beside_training(reader: RunReader, started: list[tuple[int, str]]) -> None:
    best = reader.best()
    assert best
    converted = next(form.name for form in reader.exports if not form.file)
    obey(reader, {"do": "prepare", "step": best.step, "format": converted})
    assert started == []
    obey(reader, {"do": "convert", "step": best.step, "format": converted})
    assert started == [(best.step, converted)]
