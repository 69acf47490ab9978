"""A task that is no part of Darkroom, trained, evaluated and shown by the programs as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

import tasks
from run import app
from shared.config.loading import load_config, own_settings, parse_config
from shared.config.schema import Config
from shared.errors import ConfigError, DarkroomError, DataError
from shared.launch import setting_changes
from shared.launch.resume import Resume
from shared.run_folder import requests
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import TRAIN_COLUMNS, read_rows, write_rows
from tests.conftest import ROOT, Warm, adopt_places, check, create_run, notes, open_or_create, run_module
from tests.toy_task.settings import Settings

PAGES = ["overview", "samples", "snapshots", "compare", "logs", "settings", "system"]


def config_of(folder: Path, **train: object) -> Config:
    """A line that is found within 20 steps: y = 3x − 1, and a little noise."""
    numbers = folder / "numbers.csv"
    if not numbers.exists():
        points = [(x / 10, 0.3 * x - 1 + 0.01 * (x % 3)) for x in range(-20, 20)]
        numbers.write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in points))
    return parse_config(
        {
            "run": {"name": "line", "output_dir": str(folder / "runs"), "task": "tests.toy_task"},
            "data": {"path": str(numbers), "num_validation": 12},
            "train": {
                "max_train_steps": 20,
                "train_batch_size": 4,
                "snapshot_steps": 5,
                "checkpointing_steps": 10,
                "validation_steps": 10,
                "learning_rate": 0.3,
                **train,
            },
            "evaluation": {"num_prompts": 6, "confirm_prompts": 6, "rescan_seconds": 0.5},
        }
    )


@pytest.fixture(scope="module")
def run(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Trained and evaluated to the end."""
    run = create_run(config_of(tmp_path_factory.mktemp("toy")))
    for program in ("trainer", "evaluator"):
        warm.run(program, run.path)
    return run


def test_it_is_trained_and_its_snapshots_are_its_own_files(run: RunDir) -> None:
    rows = read_rows(run.train_csv)
    assert float(rows[-1]["loss"]) < 0.1 * float(rows[0]["loss"])
    rows = read_rows(run.validation_csv)
    assert [row["step"] for row in rows] == ["0", "10", "20"]
    assert tuple(rows[0]) == ("step", "held_out_loss", "train_probe_loss", "gap", "slope", "seconds", "timestamp")
    assert steps_in(run.snapshots) == {5, 10, 15, 20}
    assert load_file(run.snapshot(20) / "line.safetensors")["weight"].item() == pytest.approx(3, abs=1)


def test_it_is_evaluated_and_the_best_is_confirmed_on_other_rows(run: RunDir) -> None:
    rows = read_rows(run.metrics_csv)
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert float(rows[-1]["error"]) < float(rows[0]["error"])
    best = run.read_best()
    assert best
    assert best.better_than_base
    assert not re.search("base model|prompt|picture", best.reason), "the words are the task's"
    assert " rows of both evaluations step " in best.reason.partition(" is better than step 0 by the composite")[0]
    assert best.confirmation
    assert (best.confirmation.num_prompts, best.confirmation.num_unseen) == (12, 6)
    assert check(run) == []


def test_the_same_command_resumes_it_and_data_that_changed_are_refused(run: RunDir, warm: Warm, tmp_path: Path) -> None:
    config = config_of(tmp_path)
    made = create_run(config)
    warm.run("trainer", made.path)
    longer = config.model_copy(update={"train": config.train.model_copy(update={"max_train_steps": 30})})
    resume = Resume(allow_change=("train.max_train_steps",))
    assert open_or_create(longer, resume, lambda text: None, lambda: None) == made
    warm.run("trainer", made.path)
    assert [int(row["step"]) for row in read_rows(made.train_csv)] == list(range(1, 31))
    Path(config.data.path).write_text("x,y\n0,0\n")
    with pytest.raises(DataError, match="has changed"):
        open_or_create(
            longer.model_copy(update={"train": longer.train.model_copy(update={"max_train_steps": 40})}),
            resume, lambda text: None, lambda: None,
        )  # fmt: skip


def test_its_numbers_may_lie_elsewhere_and_are_known_again_by_what_they_hold(tmp_path: Path) -> None:
    config, said = config_of(tmp_path), list[str]()
    made = create_run(config)
    write_rows(made.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    place = Path(config.data.path).rename(tmp_path / "elsewhere.csv")
    assert check(made) == []
    [note] = notes(made)
    assert "the file of numbers of" in note
    with pytest.raises(DataError, match="is not at"):
        open_or_create(config, Resume(), said.append, lambda: None)
    there = config.model_copy(update={"data": config.data.model_copy(update={"path": str(place)})})
    assert open_or_create(there, Resume(), said.append, lambda: None) == made
    assert len(said) == 1
    assert said[0].startswith("moved: data.path")
    other = tmp_path / "other.csv"
    other.write_text("x,y\n0,0\n")
    with pytest.raises(DataError, match="other numbers"):
        adopt_places(made, made.read_config([f"data.path={other}"]), said.append)


def test_a_request_with_prompts_is_answered_with_why_not(run: RunDir, warm: Warm) -> None:
    request = requests.submit_evaluation(run, 5, "test", ("a red dress",))
    warm.run("evaluator", run.path)
    answer = requests.read_answer(run, request)
    assert answer
    assert answer.ignored == "nothing is drawn from prompts in this run"


@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_it(run: RunDir, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_RUNS", str(run.path.parent))
    page = AppTest.from_file(str(ROOT / "dashboard" / "shell.py"), default_timeout=60)
    page.run()
    if name != "overview":
        page.switch_page(str(ROOT / "dashboard" / "views" / f"{name}.py")).run()
    assert not page.exception
    if name == "samples":
        assert [caption.value for caption in page.caption] == ["The results of this run have no pictures."]
    if name == "snapshots":
        assert "Download line.safetensors (" in " ".join(block.proto.body for block in page.get("html"))
        assert not [button.key for button in page.button if str(button.key).startswith("export")]


def test_a_task_that_does_not_exist_is_refused_with_a_cure() -> None:
    for name in ("text_to_sound", "tests.nowhere"):
        with pytest.raises(ConfigError, match=f"run.task is '{name}'"):
            tasks.find(name)


def test_a_command_that_it_does_not_have_is_refused_with_exit_code_2(run: RunDir, tmp_path: Path) -> None:
    said = run_module("tasks.export", run.path)
    assert (said.returncode, said.stderr.splitlines()[0]) == (
        2,
        "error: the task tests.toy_task has no command export: there is no module tests.toy_task.export",
    )
    for command in (["init", str(tmp_path)], ["score", str(tmp_path), str(tmp_path)]):
        assert CliRunner().invoke(app, [*command, "--task", "tests.toy_task"]).exit_code == 2


def test_the_report_and_the_command_line_show_it(run: RunDir, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    shown = run_module("dashboard.report", run.path, "--output", page)
    assert shown.returncode == 0, shown.stderr
    assert "The results of this run have no pictures." in page.read_text(encoding="utf-8")


def with_own(folder: Path, **own: object) -> Config:
    """The line's settings with these of the task's own; as `run.py` reads them."""
    tree = config_of(folder).model_dump(mode="json", exclude_none=True)
    return parse_config({**tree, "toy_task": own}, settings_of=tasks.settings)


def test_its_own_settings_are_a_table_of_the_config_that_programs_read_back(tmp_path: Path) -> None:
    made = create_run(with_own(tmp_path, every=2))
    assert "[toy_task]\nevery = 2\npower = 2.0\n" in made.config.read_text()
    assert own_settings(made.read_config(), Settings) == Settings(every=2)
    assert len(made.read_record().dataset.held_out) == 12
    file = tmp_path / "line.toml"
    file.write_text(made.config.read_text())
    given = load_config(file, ["toy_task.power=3"], tasks.settings)
    assert given.own == Settings(every=2, power=3)
    assert check(made) == []


def test_everything_wrong_with_its_settings_and_the_others_is_one_error(tmp_path: Path) -> None:
    tree = {"run": {"task": "tests.toy_task"}, "data": {"path": "x", "num_validation": 6}, "train": {"seed": "x"}}
    with pytest.raises(ConfigError) as caught:
        parse_config(
            {**tree, "toy_task": {"every": 1, "powr": 2}, "evaluation": {"num_prompts": 9}}, settings_of=tasks.settings
        )
    assert [line.strip() for line in str(caught.value).splitlines()] == [
        "train.seed is 'x', must be a valid integer, unable to parse string as an integer",
        "toy_task.every is 1, must be greater than or equal to 2",
        "unknown key toy_task.powr, did you mean toy_task.power?",
        "evaluation.num_prompts is 9, must be at most data.num_validation (6)",
    ]
    with pytest.raises(ConfigError, match="unknown key toy_task"):
        parse_config({"data": {"path": "x"}, "toy_task": {}}, settings_of=tasks.settings)
    with pytest.raises(ConfigError, match=r"run\.task is 'tests\.nowhere'(?s:.*)train\.seed"):
        parse_config({**tree, "run": {"task": "tests.nowhere"}, "nowhere": {"x": 1}}, settings_of=tasks.settings)


def test_its_own_settings_change_at_a_resume_as_their_rules_say(tmp_path: Path) -> None:
    made, said = create_run(with_own(tmp_path)), list[str]()
    write_rows(made.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    allowed = Resume(allow_change=("toy_task.power",))
    for resume, config, problem in (
        (Resume(), with_own(tmp_path, power=1), "resume with them by --allow-change|toy_task.power was 2.0, is 1.0"),
        (allowed, with_own(tmp_path, every=2), "toy_task.every was 3, is 2, which can never change: it decides which"),
        (Resume(allow_change=("toy_task.powr",)), with_own(tmp_path), "did you mean toy_task.power?"),
    ):
        with pytest.raises(DarkroomError, match=problem):
            open_or_create(config, resume, said.append, lambda: None)
    assert open_or_create(with_own(tmp_path, power=1), allowed, said.append, lambda: None) == made
    assert said == ["changed: toy_task.power was 2.0, is 1.0 after step 0"]
    assert own_settings(made.read_config(), Settings).power == 1


def test_a_setting_that_a_newer_version_of_it_has_is_no_change(tmp_path: Path) -> None:
    made = create_run(with_own(tmp_path))
    made.config.write_text(made.config.read_text().replace("every = 3\npower = 2.0\n", ""))
    assert setting_changes.differences(made.read_config(), with_own(tmp_path)) == {}
    assert set(setting_changes.differences(made.read_config(), with_own(tmp_path, power=1))) == {"toy_task.power"}
    assert setting_changes.state_settings(with_own(tmp_path)).keys().isdisjoint({"toy_task.every", "toy_task.power"})
