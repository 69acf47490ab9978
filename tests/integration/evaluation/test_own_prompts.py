"""A run without a held-out picture, evaluated by prompts of a person's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from shared.config.loading import load_config
from shared.errors import ConfigError
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import Warm, check, create_run, tiny_config
from tests.integration.conftest import WELL_LEARNT

PROMPTS = """# three
a red dress
a blue coat --n dark --s 1 --l 3
a long [trigger] --w 40 --h 32 --d 99
"""


@pytest.fixture(scope="module")
def own(warm: Warm, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path) -> RunDir:
    """Trained on all twelve pictures and evaluated to the end, the final included."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "prompts.txt").write_text(PROMPTS, encoding="utf-8")
    sections = {
        **WELL_LEARNT,
        "data": {"num_validation": 0, "trigger_word": "robe"},
        "train": {**WELL_LEARNT["train"], "max_train_steps": 4, "snapshot_steps": 4, "validation_steps": 4},
        "evaluation": {
            "num_seeds": 2,
            "batch_size": 6,
            "num_inference_steps": 2,
            "visual": "gradients",
            "confirm_prompts": 1,
            "confirm_seeds": 1,
            "prompts": str(folder / "prompts.txt"),
        },
    }
    run = create_run(tiny_config(folder, "run", tiny_model, pictures, sections))
    (folder / "prompts.txt").write_text("something else\n", encoding="utf-8")  # the run has its copy
    warm.run("trainer", run.path)
    warm.run("evaluator", run.path)
    return run


def test_it_trains_on_every_picture_and_says_that_there_is_no_held_out_loss(own: RunDir) -> None:
    assert own.read_record().dataset.held_out == ()
    assert not own.validation_csv.exists()
    assert "no picture is held out" in (own.processes / "trainer.json").read_text(encoding="utf-8")
    assert check(own) == []


def test_every_snapshot_draws_the_prompts_with_their_options(own: RunDir) -> None:
    for step in steps_in(own.evaluations):
        result = own.read_result(step)
        assert result
        assert result.status == "ok", result.reason
        drawn = {(sample.prompt_id, sample.seed): sample for sample in result.samples}
        assert {prompt_id for prompt_id, _ in drawn} == {f"prompts.txt:{line}" for line in (2, 3, 4)}
        assert not any(sample.has_reference for sample in drawn.values())
        long = drawn["prompts.txt:4", 99]
        assert long.prompt == "a long robe"
        with Image.open(own.evaluation(step) / "images" / long.image) as picture:
            assert picture.size == (40, 32)
        coat = next(sample for sample in drawn.values() if sample.prompt == "robe, a blue coat")
        assert coat.options == {"negative_prompt": "dark", "num_inference_steps": 1, "guidance_scale": 3.0}


def test_it_gets_a_verdict_by_likeness_to_what_was_learnt_and_says_so(own: RunDir) -> None:
    best = own.read_best()
    assert best
    assert best.composite
    assert best.metrics["subject_loss"]
    assert "visual_loss" not in best.metrics
    assert best.confirmation
    assert any(caution.startswith("No prompt has a real picture to compare with") for caution in best.cautions)
    rows = read_rows(own.metrics_csv)
    paired = "visual_loss, fashion_clip_loss, color_loss: these prompts have no reference"
    assert rows[-1]["reason"].split("; ")[0] == paired
    assert "val_loss" not in rows[-1]["reason"]
    assert rows[-1]["diversity"]
    assert rows[-1]["contrast"]
    assert rows[-1]["copy_share"] == "0.0"
    assert list(rows[0])[:8] == [
        *("step", "epoch", "total_loss", "visual_loss", "fashion_clip_loss", "color_loss", "learning_rate", "timestamp")
    ]


def test_the_final_draws_further_seeds_also_of_a_prompt_with_its_own(own: RunDir) -> None:
    again = own.read_result(0, "confirmations")
    assert again
    assert [sample.seed for sample in again.samples if sample.prompt_id == "prompts.txt:4"][:1] == [101]


def test_bad_lines_are_told_before_anything_is_written(tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a hat --q 1\na cap --s 0\n", encoding="utf-8")
    sections: dict[str, dict[str, object]] = {"evaluation": {"prompts": str(tmp_path / "prompts.txt")}}
    with pytest.raises(ConfigError, match=r"line 1: there is no option --q\n       line 2: --s \(steps\) is '0'"):
        create_run(tiny_config(tmp_path / "runs", "run", tiny_model, pictures, sections))
    assert not (tmp_path / "runs").exists()


def test_a_relative_path_is_meant_from_the_configs_folder(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[data]\npath = "p"\nnum_validation = 0\n[evaluation]\nprompts = "mine.txt"\n')
    assert load_config(tmp_path / "a.toml").evaluation.prompts == str(tmp_path / "mine.txt")
    given = load_config(tmp_path / "a.toml", ["evaluation.prompts=other.txt"]).evaluation.prompts
    assert given == str(Path.cwd() / "other.txt")


def test_nothing_held_out_and_no_prompts_is_refused_as_is_a_single_pair(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[data]\npath = "p"\nnum_validation = 0\n')
    with pytest.raises(ConfigError, match=r"evaluation\.prompts must name a file"):
        load_config(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text('[data]\npath = "p"\nnum_validation = 1\n')
    with pytest.raises(ConfigError, match="must be 0, or at least 2"):
        load_config(tmp_path / "a.toml")
