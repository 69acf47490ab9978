"""A run folder is made, taken up, or begun anew; nothing changes where it is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from shared.config.schema import Config
from shared.errors import ConfigError, DataError, RunFolderError
from shared.launch.resume import Resume
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS, write_rows
from tasks.text_to_image import task
from tests.conftest import create_run, open_or_create, paper_model, tiny_config


@pytest.fixture
def config(tmp_path: Path, pictures: Path) -> Config:
    """Of a run on a copy of the pictures, which a test may change."""
    data = Path(shutil.copytree(pictures, tmp_path / "data"))
    return tiny_config(tmp_path / "runs", "run", paper_model(tmp_path / "model"), data, {})


def with_train(config: Config, **changes: object) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def take_up(config: Config, *allowed: str) -> RunDir:
    return open_or_create(config, Resume(allow_change=allowed), lambda text: None, lambda: None)


def test_a_run_that_never_made_a_step_is_begun_anew_with_other_settings(config: Config) -> None:
    first = create_run(with_train(config, optimizer="foo"))
    before = first.read_record().run_id
    again = take_up(config)
    assert again == first
    assert again.read_config().train.optimizer == config.train.optimizer
    assert again.read_record().run_id != before


def test_a_run_that_never_made_a_step_is_taken_up_with_the_same_settings(config: Config) -> None:
    before = create_run(config).read_record().run_id
    assert take_up(config).read_record().run_id == before


def test_what_was_learnt_is_never_begun_anew(config: Config) -> None:
    run = create_run(with_train(config, optimizer="SGD"))
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    with pytest.raises((ConfigError, RunFolderError), match=r"train\.optimizer was SGD"):
        take_up(config)
    assert run.read_config().train.optimizer == "SGD"


def test_a_change_is_not_written_down_where_the_data_set_is_another(config: Config) -> None:
    run = create_run(config)
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    caption = next(Path(config.data.path).glob("*.txt"))
    words = caption.read_text(encoding="utf-8")
    caption.write_text("something else", encoding="utf-8")
    longer = with_train(config, checkpoints_total_limit=7)
    with pytest.raises(DataError, match="has changed since this run was made"):
        take_up(longer, "train.checkpoints_total_limit")
    assert run.read_config() == config
    caption.write_text(words, encoding="utf-8")
    assert take_up(longer, "train.checkpoints_total_limit").read_config().train.checkpoints_total_limit == 7


def test_a_segmenter_that_is_missing_is_said_before_training(config: Config) -> None:
    run, usual = create_run(config), None
    for source in (None, "/no/such/folder", "nobody/nothing"):
        evaluation = config.evaluation.model_copy(update={"segmenter": source})
        said = task.warnings(run, config.model_copy(update={"evaluation": evaluation}))
        usual = said if usual is None else usual
        added = [warning for warning in said if warning not in usual]
        assert [f"the model of evaluation.segmenter, {source}, is not on this machine" in text for text in added] == (
            [True] if source else []
        )


def test_a_run_with_an_older_split_warns_of_pictures_that_look_alike_on_both_sides_and_keeps_it(config: Config) -> None:
    data = Path(config.data.path)
    first = sorted(data.glob("*.png"))[0]
    with Image.open(first) as picture:
        picture.save(data / "again.webp", quality=90)
    shutil.copy(first.with_suffix(".txt"), data / "again.txt")
    run = create_run(config)
    usual = task.warnings(run, config)
    assert not any("looks like" in warning for warning in usual)
    record = run.read_record()
    older = record.dataset.model_copy(update={"held_out": (first.stem,), "set_apart": ()})
    record.model_copy(update={"dataset": older}).write(run.record)
    (warning,) = set(task.warnings(run, config)) - set(usual)
    assert f"1 training picture looks like a held-out one, such as again like {first.stem}: " in warning
    assert take_up(config).read_record().dataset.held_out == (first.stem,)
