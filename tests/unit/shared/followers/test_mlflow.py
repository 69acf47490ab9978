"""A run in a real MLflow, whatever happens to its server meanwhile. `make trackers` makes what these tests need."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from shared.config.loading import parse_config
from shared.followers import environments, trackers
from shared.run_folder.heartbeat import hold_role, read_status
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, read_rows, write_rows
from tasks.image_classification.evaluation.descriptions import descriptions
from tasks.image_classification.task import TRACKER_NAMES
from tests.conftest import ROOT, environment, until
from tests.unit.shared.followers.mlflow_server import MLflowServer

STEPS, LATER = 30, 12
NAMES = {
    "train/loss": "train_loss",
    "train/learning_rate": "learning_rate",
    "validation/held_out_loss": "valid_loss",
    "metrics/composite": "f1_score",
}

PLACES = ("data.path", "run.output_dir")
"""Parameters that say where a run lies."""

pytestmark = [
    pytest.mark.skipif(environments.missing("mlflow") is not None, reason="MLflow is not installed: make trackers"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[MLflowServer]:
    made = MLflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        made.start()
        yield made
    finally:
        made.kill()


def make(path: Path) -> FakeRun:
    """A run that is over."""
    fake = create(path, steps=STEPS, snapshot_steps=10)
    write_history(fake)
    fake.run.read_record().model_copy(update={"tracker_names": NAMES}).write(fake.run.record)
    for step in (0, 10):
        Image.new("RGB", (30, 20), (step, 9, 9)).save(fake.run.evaluation(step) / "sheet.webp")
    return fake


@contextmanager
def following(run: RunDir, uri: str) -> Generator[subprocess.Popen[bytes]]:
    command = trackers.command("mlflow", run.path, "mlflow")
    with (run.logs / "tracker-mlflow.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment() | {"MLFLOW_TRACKING_URI": uri}, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, server: MLflowServer) -> tuple[FakeRun, dict[str, Any]]:
    """A live run. The server is killed in the middle, the follower too; both come back; the run goes on meanwhile."""
    fake = make(tmp_path_factory.mktemp("live") / "kimono")
    run, rows = fake.run, read_rows(fake.run.train_csv)
    shutil.copytree(run.path, tmp_path_factory.mktemp("kept") / "kimono")
    metrics = run.metrics_csv.read_bytes()
    run.train_csv.unlink()
    run.metrics_csv.unlink()
    table = Appender(run.train_csv, TRAIN_COLUMNS)
    noted = run.tracker("mlflow").with_suffix(".json")
    delivered = lambda: json.loads(noted.read_text())["steps"].get("train") if noted.exists() else 0  # noqa: E731
    notices = lambda: (status := read_status(run, "tracker", "mlflow")) and status.notices  # noqa: E731
    with hold_role(run, "trainer") as trainer:
        for row in rows[:LATER]:
            table.append(row)
        with following(run, server.url):
            until(lambda: delivered() == LATER, "the first rows", seconds=240)
            server.kill()
            run.metrics_csv.write_bytes(metrics)
            for row in rows[LATER:]:
                table.append(row)
            until(lambda: bool(notices()), "the notice of the outage", seconds=240)
        server.start()
        with following(run, server.url) as again:
            until(lambda: delivered() == STEPS, "the other rows", seconds=240)
            trainer.close("finished")
            assert again.wait(240) == 0
    return fake, only(server, run)


def only(server: MLflowServer, run: RunDir) -> dict[str, Any]:
    """The one MLflow run of a run folder."""
    run_id = run.read_record().run_id
    (found,) = [one for one in server.runs() if tags(one)["darkroom.run_id"] == run_id]
    return found


def tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in found["data"]["tags"]}


def state(server: MLflowServer, found: Mapping[str, Any]) -> dict[str, Any]:
    """All that MLflow has of a run, but what it has made up itself."""
    identity = found["info"]["run_id"]
    names = sorted(metric["key"] for metric in found["data"]["metrics"])
    return {
        "status": found["info"]["status"],
        "params": {param["key"]: param["value"] for param in found["data"]["params"] if param["key"] not in PLACES},
        "tags": {name: value for name, value in tags(found).items() if name != "darkroom.run_id"},
        "histories": {name: repr(server.history(identity, name)) for name in names},
        "files": [server.files(identity, folder) for folder in ("", "images", "model")],
    }


def test_nothing_is_missing_and_nothing_twice_after_an_outage(
    interrupted: tuple[FakeRun, dict[str, Any]], server: MLflowServer
) -> None:
    fake, found = interrupted
    run_id = found["info"]["run_id"]
    assert found["info"]["status"] == "FINISHED"
    assert [step for step, _ in server.history(run_id, "train_loss")] == list(range(1, STEPS + 1))
    for name, path, column in (
        ("learning_rate", fake.run.train_csv, "learning_rate"),
        ("valid_loss", fake.run.validation_csv, "held_out_loss"),
        ("f1_score", fake.run.metrics_csv, "composite"),
        ("f1_score_low", fake.run.metrics_csv, "composite_low"),
        ("metrics/clip_t_delta_high", fake.run.metrics_csv, "clip_t_high"),
    ):
        expected = sorted((int(row["step"]), float(row[column])) for row in read_rows(path) if row[column])
        told = server.history(run_id, name)
        assert [step for step, _ in told] == [step for step, _ in expected], name
        assert [value for _, value in told] == pytest.approx([value for _, value in expected]), name
    assert not {name for name in NAMES if server.history(run_id, name)}, "a curve has one name"


def test_parameters_verdict_and_pictures_are_there(
    interrupted: tuple[FakeRun, dict[str, Any]], server: MLflowServer
) -> None:
    fake, found = interrupted
    best = fake.run.read_best()
    assert best
    params = {param["key"]: param["value"] for param in found["data"]["params"]}
    assert params["train.max_train_steps"] == str(STEPS)
    assert best.reason in tags(found)["mlflow.note.content"]
    assert tags(found)["darkroom.best_step"] == str(best.step)
    assert tags(found)["darkroom.advice"] == "advise"
    run_id = found["info"]["run_id"]
    assert server.files(run_id) == ["comparison.png", "images", "model"]
    images = server.files(run_id, "images")
    assert [path.split("+")[2] for path in images] == ["0", "0", "10", "10"], "a picture and its small copy each"


def test_the_best_snapshot_is_a_registered_model_with_a_card(
    interrupted: tuple[FakeRun, dict[str, Any]], server: MLflowServer
) -> None:
    fake, found = interrupted
    best = fake.run.read_best()
    assert best
    run_id = found["info"]["run_id"]
    files = [Path(path).name for path in server.files(run_id, "model")]
    assert files == ["MLmodel", "README.md", "manifest.json", "pytorch_lora_weights.safetensors"]
    versions = server.ask("model-versions/search", filter="name = 'kimono'")["model_versions"]
    (version,) = [one for one in versions if one["run_id"] == run_id]
    assert best.reason in version["description"]
    assert {tag["key"]: tag["value"] for tag in version["tags"]}["darkroom.step"] == str(best.step)


def test_the_outage_is_said_once(interrupted: tuple[FakeRun, dict[str, Any]]) -> None:
    log = (interrupted[0].run.logs / "tracker-mlflow.log").read_text()
    assert "the tracker mlflow failed" in log
    status = read_status(interrupted[0].run, "tracker", "mlflow")
    assert status
    assert status.notices == (), "the second process had no trouble"


def test_a_run_that_is_sent_later_is_the_same(
    interrupted: tuple[FakeRun, dict[str, Any]], server: MLflowServer, tmp_path: Path
) -> None:
    fake, found = interrupted
    later = shutil.copytree(fake.run.path, tmp_path / "kimono", ignore=shutil.ignore_patterns("trackers"))
    run = RunDir(later)
    run.read_record().model_copy(update={"run_id": "another"}).write(run.record)
    for _ in range(2):
        with following(run, server.url) as process:
            assert process.wait(240) == 0
    sent = state(server, only(server, run))
    expected = state(server, found)
    for part in ("files", "histories", "params", "tags", "status"):
        mine, live = (json.dumps(one[part], sort_keys=True) for one in (sent, expected))
        if part == "files":  # the names of pictures hold an identifier that follows from the run
            mine, live = (text.count(".png") + 10 * text.count(".webp") for text in (mine, live))
        assert mine == live, part


def test_an_image_classifier_has_the_names_of_its_trainers(server: MLflowServer, tmp_path: Path) -> None:
    """The columns of its tables, with the names that its task has put into `run.json`."""
    described = descriptions(parse_config({"data": {"path": "invented"}}))
    fake = create(tmp_path / "digits", steps=4, snapshot_steps=2, descriptions=described)
    fake.run.read_record().model_copy(update={"tracker_names": TRACKER_NAMES}).write(fake.run.record)
    first = {"status": "ok", "accuracy": 0.9, "accuracy_low": -0.1, "f1_score": 0.8}
    wholes = {"precision": 0.7, "recall": 0.6, "f1_score_low": 0.5, "calibration_error": 0.1}
    rows = [{"step": step} | first | wholes for step in (0, 2, 4)]
    write_rows(fake.run.metrics_csv, described.header, rows)
    write_rows(fake.run.train_csv, ("step", "loss", "learning_rate"), [{"step": 1, "loss": 2, "learning_rate": 0.1}])
    write_rows(fake.run.validation_csv, ("step", "held_out_loss", "gap"), [{"step": 2, "held_out_loss": 1, "gap": 0}])
    with following(fake.run, server.url) as process:
        assert process.wait(240) == 0
    names = {metric["key"] for metric in only(server, fake.run)["data"]["metrics"]}
    asked = {"train_loss", "valid_loss", "accuracy", "precision", "recall", "f1_score", "learning_rate"}
    assert names == asked | {"f1_score_low", "accuracy_delta_low", "metrics/calibration_error", "validation/gap"}


@contextmanager
def refusing(status: int, body: Mapping[str, str]) -> Generator[str]:
    """A server that answers everything alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()


def test_a_wrong_token_ends_the_follower_with_the_cure(tmp_path: Path) -> None:
    fake = make(tmp_path / "kimono")
    with (
        refusing(401, {"error_code": "UNAUTHENTICATED", "message": "no such token"}) as uri,
        following(fake.run, uri.replace("//", "//me:secret@")) as process,
    ):
        assert process.wait(240) == 2
    log = (fake.run.logs / "tracker-mlflow.log").read_text()
    assert log.count("error: MLflow refuses this run") == 1
    assert "hint: set MLFLOW_TRACKING_TOKEN" in log
    assert "secret" not in log


def test_a_full_disk_of_the_server_is_said_and_what_is_missing_can_be_sent_later(
    tmp_path: Path, server: MLflowServer
) -> None:
    fake = make(tmp_path / "kimono")
    with (
        refusing(500, {"error_code": "INTERNAL_ERROR", "message": "disk I/O error: the disk is full"}) as uri,
        following(fake.run, uri) as process,
    ):
        assert process.wait(240) == 1
    status = read_status(fake.run, "tracker", "mlflow")
    assert status
    assert len(status.notices) == 2
    full, failing = (
        r"the disk of \S+ is full; free some space: .*",
        r"\S+ fails by itself \(HTTP 500\); look at its log: .*",
    )
    assert re.fullmatch(rf"mlflow: (?:{full}|{failing})", status.notices[0]), "MLflow may keep the answer for itself"
    assert f"run.py track {fake.run.path} --to mlflow" in status.notices[1]
    with following(fake.run, server.url) as process:
        assert process.wait(240) == 0
    assert len(server.history(only(server, fake.run)["info"]["run_id"], "train_loss")) == STEPS
