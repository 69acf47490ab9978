"""Passes over the training pictures instead of steps: computed once, when the run is made."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from shared.config.dumping import dump_config
from shared.config.loading import load_config
from shared.config.schema import Config
from shared.errors import ConfigError, RunFolderError
from shared.launch.resume import Resume
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS, write_rows
from tests.conftest import Warm, open_or_create, paper_model, tiny_config

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, pictures: Path) -> Write:
    """A config file of 12 pictures, 3 of them held out, that has no `max_train_steps` but what `train` says."""
    data = Path(shutil.copytree(pictures, tmp_path / "data"))
    model = paper_model(tmp_path / "model")

    def make(**train: object) -> Path:
        config = tiny_config(tmp_path / "runs", "run", model, data, {"train": {"train_batch_size": 2}})
        text = re.sub(rf"^(max_train_steps|{'|'.join(train)}) = .*\n", "", dump_config(config), flags=re.M)
        lines = "".join(f"{key} = {value}\n" for key, value in train.items())
        file = tmp_path / "run.toml"
        file.write_text(text.replace("[train]\n", f"[train]\n{lines}"), encoding="utf-8")
        return file

    return make


def open_run(config: Config, *allowed: str) -> tuple[RunDir, list[str]]:
    said: list[str] = []
    return open_or_create(config, Resume(allow_change=allowed), said.append, lambda: None), said


@pytest.mark.parametrize(
    ("train", "steps"),
    [
        ({"max_train_epochs": 4}, 9),  # 9 pictures a pass, 4 an update
        ({"max_train_epochs": 3}, 7),  # 6.75
        ({"max_train_epochs": 0.1}, 1),
        ({"max_train_epochs": 4, "gradient_accumulation_steps": 3}, 3),
        ({"max_train_epochs": 4, "num_processes": 2}, 5),  # 4.5
    ],
)
def test_passes_come_to_whole_updates_rounded_up(write: Write, train: dict[str, object], steps: int) -> None:
    run, said = open_run(load_config(write(train_batch_size=4, **train)))
    assert run.read_config().train.max_train_steps == steps
    assert run.read_config().train.max_train_epochs == train["max_train_epochs"]
    assert run.read_record().dataset.pass_length == 9
    assert any(f"{steps} steps, at 9 examples a pass" in text for text in said)


def test_repeats_and_pictures_of_the_class_count_as_often_as_they_come(write: Write, tmp_path: Path) -> None:
    data = tmp_path / "data"
    originals = data.rename(tmp_path / "originals")
    shutil.copytree(originals, data / "img" / "3_dress")
    run, _ = open_run(load_config(write(max_train_epochs=1, train_batch_size=1)))
    assert run.read_config().train.max_train_steps == 3 * 9
    (data / "reg" / "1_dress").mkdir(parents=True)
    picture = Image.new("RGB", (48, 48), "red")
    picture.save(data / "reg" / "1_dress" / "class.png")
    run, _ = open_run(load_config(write(max_train_epochs=1, train_batch_size=1), ["run.name=with-class"]))
    assert run.read_config().train.max_train_steps == 2 * 3 * 9


def test_the_same_file_resumes_and_more_passes_have_to_be_allowed(write: Write) -> None:
    config = load_config(write(train_batch_size=4, max_train_epochs=4))
    run, _ = open_run(config)
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    assert open_run(config)[1] == []
    longer = load_config(write(train_batch_size=4, max_train_epochs=8))
    with pytest.raises(RunFolderError, match=r"max_train_epochs was 4\.0, is 8\.0"):
        open_run(longer)
    open_run(longer, "train.max_train_epochs")
    assert run.read_config().train.max_train_steps == 18
    assert {change.key for change in run.read_record().changes} == {"train.max_train_epochs", "train.max_train_steps"}


def test_a_run_of_an_older_version_is_counted_again(write: Write) -> None:
    run, _ = open_run(load_config(write(train_batch_size=4, max_train_steps=9)))
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    record = run.read_record()
    dataset = record.dataset.model_copy(update={"pass_length": 0})
    record.model_copy(update={"dataset": dataset}).write(run.record)
    open_run(load_config(write(train_batch_size=4, max_train_epochs=8)), "train.max_train_steps")
    assert run.read_config().train.max_train_steps == 18


def test_steps_and_passes_together_are_refused_and_the_command_line_wins_over_the_file(write: Write) -> None:
    with pytest.raises(ConfigError, match="both say when training ends"):
        load_config(write(max_train_epochs=4, max_train_steps=9))
    file = write(max_train_epochs=4)
    with pytest.raises(ConfigError, match="both say when training ends"):
        load_config(file, ["train.max_train_epochs=4", "train.max_train_steps=9"])
    assert load_config(file, ["train.max_train_steps=9"]).train.max_train_epochs is None
    assert load_config(write(max_train_steps=9), ["train.max_train_epochs=2"]).train.max_train_epochs == 2


def test_training_ends_with_its_last_pass(tiny_model: Path, write: Write, warm: Warm) -> None:
    config = load_config(write(train_batch_size=3, max_train_epochs=1), [f"model.path={tiny_model}"])
    run, _ = open_run(config)
    program = warm.run("trainer", run.path)
    rows = run.train_csv.read_text().splitlines()
    assert len(rows) == 1 + 3
    assert float(rows[-1].split(",")[1]) == 1.0, program.stderr()
