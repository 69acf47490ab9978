"""A sweep file: every problem at once, each with its cure; nothing is written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import tasks
from shared.config.loading import load_config
from shared.errors import ConfigError
from shared.sweeps import sweep_file
from shared.sweeps.sweep_file import Resources, SweepFile, SweepTable
from tests.conftest import ROOT, run_python

BASE = """
[run]
webhook = "https://example.org/hook"

[data]
path = "pictures"
num_validation = 8

[train]
max_train_epochs = 3
max_grad_norm = false

[evaluation]
num_prompts = 4
prompts = "prompts.txt"
"""
GOOD = """
[sweep]
base = "base.toml"
num_trials = 3

[settings]
"train.max_train_steps" = 40

[space]
"train.learning_rate" = { low = 1e-5, high = 1e-3, log = true }
"lora.rank" = { low = 4, high = 16, step = 4 }
"lora.target_modules" = [["to_q", "to_v"], "attention"]
train.lr_scheduler = { choices = ["cosine", "constant"] }
"""


def written(folder: Path, text: str, name: str = "my.toml") -> Path:
    (folder / "base.toml").write_text(BASE, encoding="utf-8")
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        sweep_file.read(written(folder, text), tasks.settings)
    return str(refused.value).split("\n       ")


def test_a_trial_is_the_config_with_its_own_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = sweep_file.read(written(tmp_path, GOOD), tasks.settings)
    assert sweep.name == "my"
    assert sweep.folder == tmp_path / "runs" / "my"
    values = {"train.learning_rate": 2e-4, "lora.target_modules": ["to_q", "to_v"], "lora.rank": 8}
    more = {"run.name": "trial-000", "run.output_dir": "elsewhere"}
    trial = written(tmp_path, sweep.trial(values, 7, more), "trial.toml")
    monkeypatch.chdir(ROOT)
    config = load_config(trial, settings_of=tasks.settings)
    assert (config.train.learning_rate, config.lora.rank, config.train.seed) == (2e-4, 8, 7)
    assert config.lora.target_modules == ("to_q", "to_v")
    assert (config.train.max_train_steps, config.train.max_train_epochs, config.train.max_grad_norm) == (40, None, None)
    assert Path(config.data.path) == tmp_path / "pictures"
    assert config.evaluation.prompts == str(tmp_path / "prompts.txt")


def test_a_base_may_stand_in_the_sweep_file_itself(tmp_path: Path) -> None:
    own = (
        '[sweep]\nsampler = "grid"\n[base.data]\npath = "pictures"\n[space]\n"lora.rank" = { low = '
        "2, high = 8, step = 3 }"
    )
    sweep = sweep_file.read(written(tmp_path, own), tasks.settings)
    assert [one["lora.rank"] for one in sweep.combinations] == [2, 5, 8]
    assert sweep.num_trials == 3


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        (
            '"train.learning_rat" = [1e-3, 1e-4]',
            "space.train.learning_rat: unknown key train.learning_rat, did you mean train.learning_rate?",
        ),
        ('"rank" = [1, 2]', "space.rank: it is no section.key, such as train.learning_rate"),
        ('"lora.rank" = []', "space.lora.rank has no choices: list at least two"),
        (
            '"lora.rank" = [4]',
            "space.lora.rank has one choice, which is no search: list another one, or put it under [settings]",
        ),
        ('"lora.rank" = [4, 4]', "space.lora.rank has 4 more than once: list each choice once"),
        ('"lora.rank" = [4, -1]', "space.lora.rank with -1: lora.rank is -1, must be greater than or equal to 1"),
        (
            '"lora.rank" = 4',
            "space.lora.rank is 4: give a list of choices, or a range such as { low = 1e-5, high = 1e-3 }",
        ),
        ('"lora.rank" = { low = 8, high = 4 }', "space.lora.rank low is 8 and high 4: give a low that is below high"),
        ('"lora.rank" = { low = 4 }', "space.lora.rank has no high: a range has low and high"),
        (
            '"lora.rank" = { low = 4, high = 8, count = 2 }',
            "space.lora.rank has count, which no range has: give low, high, log and step",
        ),
        ('"lora.rank" = { low = "4", high = 8 }', "space.lora.rank low is '4': give a number"),
        (
            '"lora.rank" = { low = 4.0, high = 8.0 }',
            "space.lora.rank with 5.4868: lora.rank is 5.4868, must be a valid integer, got a number "
            "with a fractional part",
        ),
        (
            '"train.learning_rate" = { low = 0.0, high = 1.0, log = true }',
            "space.train.learning_rate low is 0, and a logarithm needs more than 0: raise it, or leave log out",
        ),
        (
            '"lora.rank" = { low = 4, high = 8, step = 9 }',
            "space.lora.rank step is 9, more than from low to high: give a smaller one",
        ),
        (
            '"lora.rank" = { low = 4, high = 8, log = true, step = 2 }',
            "space.lora.rank log and step do not go together: leave one of them out, or list the values",
        ),
        (
            '"evaluation.num_seeds" = [1, 2]',
            "space.evaluation.num_seeds: it must be the same in all trials, or these do not compare: "
            "put it under [settings]",
        ),
    ],
)
def test_a_range_that_does_not_suit_is_refused_with_its_cure(tmp_path: Path, space: str, problem: str) -> None:
    assert problems(tmp_path, f'[sweep]\nbase = "base.toml"\nnum_trials = 2\n[space]\n{space}\n') == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[sweep]\nbase = "base.toml"\nnum_trials = 2',
            '[space] is empty: list what is searched, such as "lora.rank" = [4, 8, 16]',
        ),
        (
            '[sweep]\nbase = "base.toml"\n[space]\n"lora.rank" = [1, 2]',
            "sweep.num_trials is missing: sweep.sampler is tpe, which goes on for ever",
        ),
        (
            '[sweep]\nnum_trials = 1\n[space]\n"lora.rank" = [1, 2]',
            "sweep.base is missing: name a config, such as sweep.base = 'my-lora.toml'",
        ),
        ('[sweep]\nbase = "other.toml"\nnum_trials = 1\n[space]\n"lora.rank" = [1, 2]', "sweep.base: cannot read"),
        (
            '[sweep]\nbase = "base.toml"\nname = "a/b"\nnum_trials = 1\n[space]\n"lora.rank" = [1, 2]',
            "sweep.name is 'a/b'",
        ),
        (
            '[sweep]\nbase = "base.toml"\nsampler = "grid"\n[space]\n"train.learning_rate" = { low = 0.1, high = 1.0 }',
            "sweep.sampler is grid, and train.learning_rate has too many values",
        ),
        (
            '[sweep]\nbase = "base.toml"\nnum_trials = 1\nseeds = [1]\n[space]\n"train.seed" = [1, 2]',
            "space.train.seed and sweep.seeds both say the seeds",
        ),
        (
            '[sweep]\nbase = "base.toml"\nnum_trials = 1\nseeds = [1, 1]\n[space]\n"lora.rank" = [1, 2]',
            "sweep.seeds has one more than once",
        ),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_all_problems_come_in_one_error_and_nothing_is_written(tmp_path: Path) -> None:
    text = (
        '[sweep]\nbase = "base.toml"\nnum_trial = 0\nsampler = '
        '"best"\n[resource]\n[settings]\n"lora.rank" = 0\n[space]\n'
    )
    path = written(tmp_path, text)
    done = run_python(ROOT / "run.py", "sweep", path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: sweep.sampler is 'best', must be 'tpe', 'random' or 'grid'",
        "       unknown key sweep.num_trial, did you mean sweep.num_trials?",
        "       unknown key resource, did you mean [resources]?",
        "       lora.rank is 0, must be greater than or equal to 1",
        '       [space] is empty: list what is searched, such as "lora.rank" = [4, 8, 16]',
        "       sweep.num_trials is missing: sweep.sampler is tpe, which goes on for ever",
        "hint: see docs/sweeps.md for a sweep file and every key of it",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.toml", "my.toml"]


def test_every_key_of_a_sweep_file_is_documented() -> None:
    page = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    keys = [
        *(f"sweep.{key}" for key in SweepTable.model_fields),
        *(f"resources.{key}" for key in Resources.model_fields),
    ]
    assert [key for key in keys if f"| `{key}` |" not in page] == []
    assert [table for table in SweepFile.model_fields if f"[{table}]" not in page] == []


def test_the_example_and_the_file_of_the_documents_are_sweep_files(tmp_path: Path) -> None:
    example = sweep_file.read(ROOT / "examples" / "sweeps" / "kimono.toml", tasks.settings)
    assert example.num_trials == 8
    page = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    shown = page.partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(shown)["space"]
    assert sweep_file.read(written(tmp_path, shown.replace("my-lora.toml", "base.toml")), tasks.settings).seeds
