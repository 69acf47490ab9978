"""What the buttons of the page ask for, and how it is answered."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from dashboard.data.reader import RunReader
from dashboard.server.auth import Gate
from dashboard.server.jobs.exports import EXPORTS
from dashboard.server.posts.control import control_routes, obey
from dashboard.server.posts.post import RefusedError
from examples.fake_run.run import FakeRun
from shared.config import access
from shared.run_folder import requests
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.request import RequestKind
from shared.run_folder.run_dir import RunDir

HERE = "http://127.0.0.1:8501"
URL = "/control/finished.json"


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


def press(reader: RunReader, what: str, **more: object) -> None:
    obey(reader, {"do": what, "run_id": reader.run_id, **more})


@pytest.mark.parametrize("kind", ["stop", "pause", "resume", "snapshot-now"])
def test_a_button_pressed_by_many_at_once_writes_one_request(
    reader: RunReader, training: RunDir, kind: RequestKind
) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: press(reader, kind), range(16)))
    (request,) = requests.open_requests(training, kind)
    assert request.by == "dashboard"


def test_without_a_trainer_nothing_is_written_and_it_is_said(reader: RunReader) -> None:
    with pytest.raises(RefusedError, match="No trainer is running"):
        press(reader, "stop")
    assert requests.open_requests(reader.run) == []


def test_the_stop_rules_advice_is_followed_in_its_name(reader: RunReader, training: RunDir) -> None:
    press(reader, "follow")
    (request,) = requests.open_requests(training)
    assert request.by == "dashboard, as the stop rule advised"


def test_a_run_that_took_anothers_place_is_not_acted_on(reader: RunReader, training: RunDir) -> None:
    training.read_record().model_copy(update={"run_id": "another"}).write(training.record)
    for kind in ("stop", "pause"):
        with pytest.raises(RefusedError, match="Another run has the name"):
            press(reader, kind)
    assert requests.requests(training) == requests.requests(training, "pause") == []


@pytest.mark.parametrize(
    "asked", [{"do": "stop"}, {"do": "stop", "run_id": "another"}, {"do": "stop", "run_id": ["finished"]}]
)
def test_a_button_names_the_run_that_its_viewer_sees(
    reader: RunReader, training: RunDir, asked: dict[str, object]
) -> None:
    with pytest.raises(RefusedError, match="Another run has the name"):
        obey(reader, asked)
    assert requests.open_requests(training) == []


@pytest.mark.parametrize("asked", [{}, {"do": "evaluate"}, {"do": "convert", "step": "80"}, {"do": 3}])
def test_what_no_button_says_is_refused(reader: RunReader, training: RunDir, asked: dict[str, object]) -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        obey(reader, asked | {"run_id": reader.run_id})
    assert all(requests.open_requests(training, kind) == [] for kind in requests.REQUEST_KINDS)


def test_a_press_is_one_post_that_only_this_site_may_send(
    reader: RunReader, training: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_RUNS", str(training.path.parent))
    gate = Middleware(Gate, admission=access.Admission("", (), ""))
    visitor = TestClient(Starlette(routes=control_routes(), middleware=[gate]), base_url=HERE)
    asked = {"do": "stop", "run_id": reader.run_id}
    assert visitor.post(URL, json=asked, headers={"origin": "https://evil.example"}).status_code == 403
    assert visitor.post(URL, content='{"do": "stop"}', headers={"content-type": "text/plain"}).status_code == 415
    assert visitor.post(URL, content="[]", headers={"content-type": "application/json"}).status_code == 400
    assert visitor.post(URL, json=asked | {"more": "x" * 70_000}).status_code == 400
    assert visitor.post("/control/nowhere.json", json=asked).status_code == 404
    assert visitor.get(URL).status_code == 405
    assert requests.open_requests(training) == []
    taken = visitor.post(URL, json=asked, headers={"origin": HERE})
    assert (taken.status_code, taken.json()) == (200, {})
    assert len(requests.open_requests(training)) == 1
    refused = visitor.post(f"{URL}?lang=zh", json={"do": "stop", "run_id": "another"})
    assert (refused.status_code, "finished" in refused.json()["error"]) == (409, True)


def test_the_best_is_converted_beforehand_and_others_only_when_asked_for(
    reader: RunReader, started: list[tuple[int, str]]
) -> None:
    best = reader.best()
    assert best
    assert best.better_than_base
    converted = next(form.name for form in reader.exports if not form.file)
    press(reader, "prepare", step=40 if best.step != 40 else 80, format=converted)
    assert started == []
    press(reader, "prepare", step=best.step, format=converted)
    press(reader, "convert", step=80, format=converted)
    press(reader, "convert", step=80, format="no such format")
    assert started == [(best.step, converted), (80, converted)]


@pytest.mark.usefixtures("training")
def test_nothing_is_converted_beforehand_beside_training(reader: RunReader, started: list[tuple[int, str]]) -> None:
    best = reader.best()
    assert best
    converted = next(form.name for form in reader.exports if not form.file)
    press(reader, "prepare", step=best.step, format=converted)
    assert started == []
    press(reader, "convert", step=best.step, format=converted)
    assert started == [(best.step, converted)]
