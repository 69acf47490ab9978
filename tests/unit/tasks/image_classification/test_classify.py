"""The command line of an earlier trainer, and the proposal for a folder of classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import tasks
from run import app
from shared.config.loading import load_config, own_settings
from shared.errors import ConfigError
from shared.followers import environments
from shared.machine import hardware
from shared.run_folder.run_dir import RunDir
from tasks.image_classification import classify
from tasks.image_classification.settings import Settings
from tests import few_digits

NAMES = ("train_loss", "valid_loss", "accuracy", "precision", "recall", "f1_score", "learning_rate")
LINE = (
    "--arch resnet34 --batch_size 16 --epochs 3 --lr0 0.01 --lrf 0.1 --wd 0.0005 --optimizer SGD --img_size 16 "
    "--device 0,1 --distributed --early_stopping 10 --no-auto-resume --project_name pets --task_name first "
    "--mlflow_tracking_uri http://me:secret@127.0.0.1:5000 --skip_mlflow_model_upload"
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return few_digits.write(tmp_path_factory.mktemp("digits"))


@pytest.fixture(autouse=True)
def mlflow_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is installed is another test's."""
    monkeypatch.setattr(environments, "missing", lambda package: None)


def test_its_options_become_settings(digits: Path, tmp_path: Path) -> None:
    said, target = list[str](), tmp_path / "pets.toml"
    path, asked = classify.write(["--data_path", str(digits), *LINE.split(), "--config", str(target)], said.append)
    config = load_config(path, [], tasks.settings)
    train = config.train
    assert (config.run.name, config.run.task, asked.auto_resume) == ("pets-first", "image_classification", False)
    assert (train.train_batch_size, train.num_processes, train.max_train_epochs) == (8, 2, 3)
    assert (train.learning_rate, train.lr_final_fraction, train.lr_scheduler) == (0.01, 0.1, "cosine")
    assert (train.optimizer, train.optimizer_args, train.weight_decay) == ("sgd", {"momentum": 0.9}, 0.0005)
    assert (config.stop.validation_patience, config.stop.rule) == (10, "advise")
    assert config.data.num_validation == 10  # a fifth of 48
    assert (train.validation_steps, own_settings(config, Settings).arch) == (3, "resnet34")
    assert said[0].startswith(f"wrote {target}")
    assert "classify --data_path" in path.read_text()


@pytest.mark.parametrize(
    ("device", "gpus", "told"),
    [
        ("0,1", 0, "no GPU that can be used, so 2 processes train on its CPU"),
        ("0", 0, "no GPU that can be used, so one process trains on its CPU"),
        ("0,1", 1, "this machine has 1 of 2 GPUs"),
        ("0,1", 2, ""),
        ("cpu", 0, ""),
    ],
)
def test_it_says_what_devices_mean_that_this_machine_does_not_have(
    device: str, gpus: int, told: str, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "usable_gpus", lambda: [None] * gpus)
    found = classify.translate(["--data_path", str(digits), "--device", device])
    assert found.tree["train"]["num_processes"] == len(device.split(","))
    notes = [note for note in found.notes if note.startswith("--device")]
    assert [told in note for note in notes] == ([True] if told else [])


def test_mlflow_gets_the_run_and_its_address_is_in_no_file(digits: Path, tmp_path: Path) -> None:
    words, target = ["--data_path", str(digits), *LINE.split()], tmp_path / "pets.toml"
    path, asked = classify.write([*words, "--config", str(target)], lambda text: None)
    run = load_config(path, [], tasks.settings).run
    assert (run.trackers, run.project, run.skip_model_upload) == (("mlflow",), "pets", True)
    assert asked.environment == {"MLFLOW_TRACKING_URI": "http://me:secret@127.0.0.1:5000"}
    assert "secret" not in path.read_text()
    assert "--task_name first --skip_mlflow_model_upload --config" in path.read_text()
    path, asked = classify.write([*words, "--disable_mlflow", "--config", str(target)], lambda text: None)
    assert (load_config(path, [], tasks.settings).run.trackers, asked.environment) == ((), {})


def test_mlflow_that_is_not_installed_is_an_error_before_anything_is_written(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "missing", lambda package: (f"needs {package}", "install it"))
    target = tmp_path / "pets.toml"
    with pytest.raises(ConfigError, match="the tracker mlflow needs mlflow"):
        classify.write(
            ["--data_path", str(digits), "--mlflow_tracking_uri", "x", "--config", str(target)], lambda text: None
        )
    assert not target.exists()


def test_everything_wrong_with_them_is_one_error_and_nothing_is_written(digits: Path, tmp_path: Path) -> None:
    wrong = "--optimizer LBFGS --lr0 0 --lrf 2 --batch_size 1 --val_size 1.5 --device gpu"
    target = tmp_path / "x.toml"
    with pytest.raises(ConfigError) as caught:
        classify.write(["--data_path", str(digits), *wrong.split(), "--config", str(target)], lambda text: None)
    assert len(str(caught.value).splitlines()) == 6
    with pytest.raises(ConfigError, match="unrecognized arguments: --learning_rate 1"):
        classify.write(["--data_path", str(digits), "--learning_rate", "1"], lambda text: None)
    done = CliRunner().invoke(
        app, ["classify", "--data_path", str(digits), "--arch", "resnet19", "--config", str(target)]
    )
    assert done.exit_code == 2
    assert "did you mean resnet" in done.output
    assert not target.exists()


def test_it_makes_the_run_that_its_config_names(digits: Path, tmp_path: Path) -> None:
    words = ["--data_path", str(digits), "--img_size", "16", "--batch_size", "8", "--epochs", "1"]
    words += ["--output_dir", str(tmp_path / "runs"), "--config", str(tmp_path / "a.toml"), "--create_only"]
    done = CliRunner().invoke(app, ["classify", *words, "--project_name", "a"])
    assert done.exit_code == 0, done.output
    names = RunDir(tmp_path / "runs" / "a").read_record().tracker_names
    assert set(names.values()) == set(NAMES)


def test_init_recognises_a_folder_of_classes_and_writes_a_config_that_can_be_trained(
    digits: Path, tmp_path: Path
) -> None:
    target = tmp_path / "digits.toml"
    done = CliRunner().invoke(app, ["init", str(digits), "--output", str(target)])
    assert done.exit_code == 0, done.output
    assert "task: image_classification: its pictures have no captions and lie in 3 folders" in done.output
    config = load_config(target, [f"run.output_dir={tmp_path}"], tasks.settings)
    assert (own_settings(config, Settings).img_size, config.data.num_validation) == (32, 10)
    assert CliRunner().invoke(app, ["init", str(digits), "--output", str(target)]).exit_code == 2
    refused = CliRunner().invoke(app, ["init", str(digits), "--trigger-word", "sks", "--output", str(tmp_path / "b")])
    assert refused.exit_code == 2
    assert "--trigger-word means nothing for image classification" in refused.output


def test_captions_and_folders_of_kohya_are_no_classes(digits: Path, tmp_path: Path) -> None:
    assert tasks.suited(digits)[0] == "image_classification"
    for name in ("10_dress", "5_hat"):
        (tmp_path / "kohya" / name).mkdir(parents=True)
        (tmp_path / "kohya" / name / "a.png").write_bytes((digits / "0" / "0000.png").read_bytes())
    assert tasks.suited(tmp_path / "kohya") == ("text_to_image", "")
    for name in ("red", "blue"):
        (tmp_path / "captioned" / name).mkdir(parents=True)
        (tmp_path / "captioned" / name / "a.png").write_bytes((digits / "0" / "0000.png").read_bytes())
        (tmp_path / "captioned" / name / "a.txt").write_text("a dress")
    assert tasks.suited(tmp_path / "captioned") == ("text_to_image", "")


def test_a_demo_that_does_not_exist_is_refused() -> None:
    done = CliRunner().invoke(app, ["demo", "--task", "letters"])
    assert done.exit_code == 2
    assert "give one of kimono, digits" in done.output
