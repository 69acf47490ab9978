"""A tracker gets everything of a run once, whatever becomes of the tracker, its process, or the files meanwhile."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from shared.errors import ConfigError
from shared.followers import comparison, environments, trackers
from shared.followers import follower as follower_module
from shared.followers.follower import Follower, exit_code, is_over
from shared.followers.new_rows import NewRows
from shared.followers.tracker import parse_row
from shared.followers.tracker_names import TrackerNames
from shared.run_folder.heartbeat import hold_role, read_status, read_trackers
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, prune, read_rows
from tests.conftest import ROOT, environment, until

TOYS = Path(__file__).with_name("toys")
STEPS = 40
FOLLOW = """
import sys
from shared.followers import __main__, trackers
trackers.__path__.append(sys.argv.pop())
sys.exit(__main__.main())
"""


@pytest.fixture(autouse=True)
def toy_is_a_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One file beside the others is all there is to adding one."""
    monkeypatch.setattr(trackers, "__path__", [*trackers.__path__, str(TOYS)])
    monkeypatch.delitem(sys.modules, "shared.followers.trackers.toy", raising=False)


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    """A run that is over; some of its evaluations have contact sheets."""
    made = create(tmp_path / "kimono", steps=STEPS, snapshot_steps=10)
    write_history(made)
    for step in (0, 10, 40):
        Image.new("RGB", (30, 20)).save(made.run.evaluation(step) / "sheet.webp")
    (made.run.evaluation(20) / "sheet.webp").write_bytes(b"no picture")
    return made


@contextmanager
def following(run: RunDir) -> Generator[Follower]:
    with hold_role(run, "tracker", "toy") as status:
        yield Follower(run, "toy", trackers.create("toy"), status, look_seconds=0.01, retry_seconds=0.01)


def follow(run: RunDir) -> bool:
    with following(run) as follower:
        return follower.follow()


def told(run: RunDir, kind: str) -> list[object]:
    """What the toy was told of one kind, in order."""
    path = run.tracker("toy") / "told.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [value for line in map(json.loads, lines) if line[0] == kind for value in line[1:]]


def evaluated(run: RunDir) -> list[tuple[object, list[str]]]:
    """Step and names of the numbers of each row of metrics.csv that the toy was given."""
    return [(step, list(names)) for step, names in zip(told(run, "metrics"), told(run, "metrics numbers"), strict=True)]


def columns(run: RunDir) -> dict[str, list[int]]:
    """Steps of each table."""
    tables = {"train": run.train_csv, "validation": run.validation_csv, "metrics": run.metrics_csv}
    return {name: [int(row["step"]) for row in read_rows(path)] for name, path in tables.items()}


def assert_whole(run: RunDir) -> None:
    steps = columns(run)
    assert told(run, "train") == steps["train"]
    assert told(run, "validation") == steps["validation"]
    assert sorted(set(map(str, told(run, "metrics")))) == sorted(map(str, steps["metrics"]))
    numbers = [(step, name) for step, names in evaluated(run) for name in names]
    assert len(numbers) == len(set(numbers)), "no number comes twice"
    assert told(run, "samples") == [0, 10, 40]
    assert told(run, "comparison") == [40]


def test_a_finished_run_is_delivered_whole_and_once(fake: FakeRun) -> None:
    assert follow(fake.run)
    assert_whole(fake.run)
    best = fake.run.read_best()
    assert best
    assert told(fake.run, "best") == [best.step]
    assert told(fake.run, "model") == [best.step]
    assert told(fake.run, "end") == [0]
    assert follow(fake.run)
    assert_whole(fake.run)
    assert told(fake.run, "begin") == ["kimono", "kimono"]
    assert told(fake.run, "best") == told(fake.run, "model") == [best.step]


def test_a_look_reads_the_names_of_curves_once_and_after_the_tables(
    fake: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """metrics.json is written before metrics.csv: names that were read after the rows know every column of them."""
    read: list[str] = []

    def rows_of(path: Path) -> list[dict[str, str]]:
        read.append(path.name)
        return read_rows(path)

    class Names(TrackerNames):
        def __init__(self, own: Mapping[str, str], descriptions: MetricDescriptions) -> None:
            read.append("names")
            super().__init__(own, descriptions)

    monkeypatch.setattr(follower_module, "read_rows", rows_of)
    monkeypatch.setattr(follower_module, "TrackerNames", Names)
    assert follow(fake.run)
    assert read == ["metrics.csv", "names"], "the run is over: there is one look"


def test_a_follower_that_is_killed_goes_on_where_it_was(fake: FakeRun) -> None:
    (folder := fake.run.tracker("toy")).mkdir(parents=True)
    (folder / "dies").touch()

    def run_process() -> int:
        command = [sys.executable, "-c", FOLLOW, str(fake.run.path), "toy", str(TOYS)]
        return subprocess.run(command, env=environment(), cwd=ROOT, check=False, timeout=120).returncode

    assert run_process() == -9
    assert told(fake.run, "train") == columns(fake.run)["train"]
    assert told(fake.run, "metrics") == []
    assert run_process() == 0
    assert_whole(fake.run)


def test_a_tracker_that_fails_is_a_notice_and_is_tried_again(fake: FakeRun) -> None:
    (folder := fake.run.tracker("toy")).mkdir(parents=True)
    (folder / "fails").touch()
    with hold_role(fake.run, "trainer") as trainer, following(fake.run) as follower:
        thread = threading.Thread(target=follower.follow)
        thread.start()
        notices = lambda: (status := read_status(fake.run, "tracker", "toy")) and status.notices  # noqa: E731
        until(lambda: list(read_trackers(fake.run)) == ["toy"], "its status")
        begins = lambda: len(told(fake.run, "begin"))  # noqa: E731
        until(lambda: begins() > 3, "several tries")
        said = notices()
        assert said
        assert [text.partition(";")[0] for text in said] == ["toy: the server of toy cannot be reached"], (
            "it is said once"
        )
        (folder / "fails").unlink()
        until(lambda: told(fake.run, "train") == columns(fake.run)["train"], "another try")
        until(lambda: (notices() or ("",))[-1] == "toy: works again; what it had missed is delivered", "its end")
        assert told(fake.run, "model") == [], "it is delivered when the run is over"
        until(lambda: len(told(fake.run, "metrics numbers")) == len(columns(fake.run)["metrics"]), "evaluations")
        live = {name for _, names in evaluated(fake.run) for name in names}
        assert {"metrics/composite", "metrics/visual_loss_delta"} < live
        assert not {"metrics/composite_low", "metrics/visual_loss_delta_high"} & live, "further snapshots change them"
        trainer.close("finished")
        thread.join(60)
    assert_whole(fake.run)
    whole = {name for _, names in evaluated(fake.run) for name in names}
    assert {"metrics/composite_low", "metrics/visual_loss_delta_high"} < whole


def test_what_a_tracker_never_takes_is_said_and_kept_for_the_next_start(fake: FakeRun) -> None:
    (folder := fake.run.tracker("toy")).mkdir(parents=True)
    (folder / "fails").touch()
    assert not follow(fake.run)
    status = read_status(fake.run, "tracker", "toy")
    assert status
    assert f"run.py track {fake.run.path} --to toy" in status.notices[-1]
    (folder / "fails").unlink()
    assert follow(fake.run)
    assert_whole(fake.run)


@pytest.mark.parametrize("in_terminal", [True, False])
def test_a_terminal_gets_a_sentence_and_a_log_where_it_failed(
    fake: FakeRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, in_terminal: bool
) -> None:
    (folder := fake.run.tracker("toy")).mkdir(parents=True)
    (folder / "fails").touch()
    monkeypatch.setattr("sys.stderr.isatty", lambda: in_terminal)
    assert not follow(fake.run)
    record = next(record for record in caplog.records if "the tracker toy failed" in record.getMessage())
    assert "the server of toy cannot be reached; start it" in record.getMessage()
    assert bool(record.exc_info) is not in_terminal


def test_steps_that_are_trained_again_are_not_delivered_again(fake: FakeRun) -> None:
    assert follow(fake.run)
    run = fake.run
    prune(run.train_csv, lambda row: int(row["step"]) <= 30)
    table = Appender(run.train_csv, TRAIN_COLUMNS)
    for step in range(31, 46):
        table.append({"step": step, "loss": 0.5})
    assert follow(run)
    assert told(run, "train") == list(range(1, 46))


def test_of_an_evaluation_only_what_is_new_comes_again(fake: FakeRun) -> None:
    text = fake.run.metrics_csv.read_text()
    blank = rewritten(text, 20, {"composite": "", "composite_low": "", "composite_high": "", "gap": "0.5"})
    fake.run.metrics_csv.write_text(blank.replace(",failed,", ",skipped,"))
    assert follow(fake.run)
    fake.run.metrics_csv.write_text(text)
    assert follow(fake.run)
    assert told(fake.run, "metrics")[-2:] == [20, 30]
    assert len(told(fake.run, "metrics")) == len(columns(fake.run)["metrics"]) + 2
    again = told(fake.run, "metrics numbers")[-2]
    assert again == ["metrics/composite", "metrics/composite_high", "metrics/composite_low", "metrics/gap"]


def rewritten(table: str, step: int, cells: dict[str, str]) -> str:
    """A CSV file with other cells in one row."""
    rows = list(csv.DictReader(io.StringIO(table)))
    rows = [row | cells if row["step"] == str(step) else row for row in rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def test_another_place_gets_everything_again(fake: FakeRun) -> None:
    assert follow(fake.run)
    (fake.run.tracker("toy") / "moved").write_text("there")
    (fake.run.tracker("toy") / "told.jsonl").unlink()
    assert follow(fake.run)
    assert_whole(fake.run)
    assert len(told(fake.run, "model")) == 1


def test_numbers_have_the_names_of_trackers(fake: FakeRun) -> None:
    """The interval of a difference says so; a task has names of its own."""
    own = {"train/loss": "train_loss", "metrics/clip_t": "text_score"}
    fake.run.read_record().model_copy(update={"tracker_names": own}).write(fake.run.record)
    assert follow(fake.run)
    (trained, *_), (evaluated, *_) = told(fake.run, "train numbers"), told(fake.run, "metrics numbers")[1:]
    assert isinstance(trained, list)
    assert isinstance(evaluated, list)
    assert {"train_loss", "train/learning_rate"} < set(trained)
    assert {"text_score", "text_score_delta", "text_score_delta_low", "text_score_delta_high"} < set(evaluated)
    assert {"metrics/composite", "metrics/composite_low", "metrics/visual_loss_delta_high"} < set(evaluated)
    assert not {"metrics/clip_t_low", "metrics/visual_loss_low", "text_score_low"} & set(evaluated)


def test_a_comparison_has_reference_base_best_and_newest(fake: FakeRun) -> None:
    best = fake.run.read_best()
    assert best
    assert best.step != 40
    found = comparison.draw(fake.run, best.step, 40)
    assert found
    columns, rows = 4, 4
    assert found.size == (
        columns * (comparison.TILE + comparison.GAP) - comparison.GAP,
        comparison.HEAD + rows * (comparison.TILE + comparison.GAP) - comparison.GAP,
    )
    middles = [
        found.getpixel((column * (comparison.TILE + comparison.GAP) + 128, comparison.HEAD + 100))
        for column in range(4)
    ]
    assert len(set(middles)) == 4, "four different pictures"
    alone = comparison.draw(fake.run, 40, 40)
    assert alone
    assert alone.width == 3 * (comparison.TILE + comparison.GAP) - comparison.GAP, "the newest is the best"
    (fake.run.evaluation(0) / "images").rename(fake.run.path / "away")
    assert comparison.draw(fake.run, best.step, 40) is None


def test_the_card_says_what_it_is_and_what_was_measured(fake: FakeRun) -> None:
    assert follow(fake.run)
    (card,) = told(fake.run, "card")
    best = fake.run.read_best()
    assert best
    assert best.composite
    text = str(card)
    assert f"**Snapshot to ship: step {best.step}.** {best.reason}" in text
    assert f"{best.composite.low:+.3f} to {best.composite.high:+.3f}" in text
    assert "pytorch_lora_weights.safetensors`: 4096 bytes, sha256" in text


def test_a_model_is_left_out_where_it_is_not_wanted_or_not_there(fake: FakeRun) -> None:
    best = fake.run.read_best()
    assert best
    with hold_role(fake.run, "tracker", "toy") as status:
        assert Follower(fake.run, "toy", trackers.create("toy"), status, skip_model_upload=True).follow()
    assert told(fake.run, "model") == []
    fake.run.snapshot(best.step).rename(fake.run.path / "away")
    assert follow(fake.run)
    assert told(fake.run, "model") == []
    status = read_status(fake.run, "tracker", "toy")
    assert status
    assert "the best snapshot is not delivered" in status.notices[-1]
    (fake.run.path / "away").rename(fake.run.snapshot(best.step))
    assert follow(fake.run)
    assert told(fake.run, "model") == [best.step]


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    new = NewRows(path)
    assert new.read() == []
    path.write_text("step,loss\n1,0.5\n2,0.")
    assert new.read() == [{"step": "1", "loss": "0.5"}]
    with path.open("a") as file:
        file.write("25\n")
    assert new.read() == [{"step": "2", "loss": "0.25"}]
    path.with_suffix(".new").write_text("step,loss\n1,0.5\n2,0.75\n3,1\n")
    path.with_suffix(".new").replace(path)
    assert [row["step"] for row in new.read()] == ["1", "2", "3"], "a replaced file is read from its beginning"


def test_a_row_has_its_numbers_and_its_texts_and_no_blanks() -> None:
    cells = {"step": "7", "timestamp": "1970-01-01T00:00:10+00:00", "loss": "nan", "gap": "", "status": "ok"}
    row = parse_row(cells)
    assert (row.step, row.time, row.texts) == (7, 10.0, {"status": "ok"})
    assert list(row.numbers) == ["loss"]


def test_a_run_is_over_when_nobody_writes_any_more(fake: FakeRun) -> None:
    assert is_over(fake.run)
    with hold_role(fake.run, "supervisor") as supervisor:
        assert not is_over(fake.run)
        supervisor.update("serving")
        assert is_over(fake.run)
        with hold_role(fake.run, "trainer") as trainer:
            assert not is_over(fake.run)
            trainer.close("failed", "no finite loss")
    assert exit_code(fake.run) == 1


def test_trackers_that_cannot_be_are_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trackers.require(["toy"])
    toy = trackers._module("toy")
    monkeypatch.setattr(toy, "PACKAGE", "a_package_nobody_has")
    monkeypatch.setattr(environments, "for_trackers", lambda: None)
    with pytest.raises(ConfigError, match="names 'nobody'; the tracker toy needs a_package_nobody_has") as caught:
        trackers.require(["nobody", "toy"])
    known = ", ".join(trackers.names())
    assert f"choose from {known}; install it: pip install a_package_nobody_has" in caught.value.hint
