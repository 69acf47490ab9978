"""The pictures a run is evaluated by: published with the run, so that it can be evaluated without its data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from shared.config.schema import Config, ModelConfig
from shared.data import buckets, references
from shared.errors import ConfigError, DataError
from shared.files.publication import sha256, verify
from shared.launch import relocation, setting_changes
from tasks.text_to_image.families import loading
from tasks.text_to_image.models import base_model
from tests.conftest import RunMaker, create_run, paper_model, tiny_config

MANY = {"data": {"num_validation": 7}, "evaluation": {"num_prompts": 2, "confirm_prompts": 5}}


def prompts(folder: Path) -> list[str]:
    return list(verify(folder).details["prompts"])


def changed(config: Config, section: str, **values: object) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def test_a_run_is_made_with_what_it_will_be_evaluated_by(make_paper_run: RunMaker) -> None:
    run = make_paper_run(**MANY)
    held_out = run.read_record().dataset.held_out
    assert prompts(run.references) == list(held_out[:2])
    assert prompts(run.further_references) == list(held_out[2:])
    assert {path.name for path in run.references.iterdir()} == {
        "manifest.json",
        *(f"{pair_id}.png" for pair_id in held_out[:2]),
    }
    assert not list(run.staging.iterdir())


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_sides_of_pictures_are_told_from_a_models_files_as_the_loaded_model_tells_them(
    tiny_models: Path, tiny_single_files: Path, family: str
) -> None:
    folder = ModelConfig(path=str(tiny_models / family))
    expected = loading.load_model(folder, "fp32").size_multiple
    assert base_model.size_multiple(folder) == expected
    assert base_model.size_multiple(ModelConfig(path=str(tiny_single_files / f"{family}.safetensors"))) == expected


def test_of_a_model_that_is_not_here_nothing_is_guessed(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch, pictures: Path, tmp_path: Path
) -> None:
    assert base_model.size_multiple(ModelConfig(path="owner/not-downloaded")) is None
    config = tiny_config(tmp_path / "runs", "hub", Path("owner/not-downloaded"), pictures, {})
    run = create_run(config)
    assert not run.references.exists()
    references.publish_missing(run, config, 8, lambda: relocation.scan_again(run, config, sha256))
    assert prompts(run.references) == list(run.read_record().dataset.held_out[:2])


def test_a_resolution_that_does_not_suit_the_model_is_refused_before_the_run_is_made(
    tmp_path: Path, pictures: Path
) -> None:
    model = paper_model(tmp_path / "model")
    (model / "unet" / "config.json").write_text('{"block_out_channels": [8, 8, 8, 8, 8, 8, 8]}')
    config = tiny_config(tmp_path / "runs", "run", model, pictures, {})
    with pytest.raises(ConfigError, match="multiples of 64"):
        create_run(config)
    assert not (tmp_path / "runs").exists()


def test_other_prompts_are_published_when_they_change_before_anything_is_evaluated(make_paper_run: RunMaker) -> None:
    run = make_paper_run(**MANY)
    config = changed(run.read_config(), "evaluation", num_prompts=3, confirm_prompts=4)
    setting_changes.apply(run, config, ("evaluation.num_prompts", "evaluation.confirm_prompts"))
    assert not run.references.exists()
    assert not run.further_references.exists()
    references.publish_missing(run, config, 1, lambda: relocation.scan_again(run, config, sha256))
    assert len(prompts(run.references)) == 3
    assert len(prompts(run.further_references)) == 4


def test_a_data_set_that_is_gone_is_named_where_references_have_to_be_made(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    gone = changed(run.read_config(), "data", path="/nowhere")
    references.publish_missing(run, gone, 1, lambda: relocation.scan_again(run, gone, sha256))
    shutil.rmtree(run.references)
    with pytest.raises(DataError, match="is not at /nowhere") as caught:
        references.publish_missing(run, gone, 1, lambda: relocation.scan_again(run, gone, sha256))
    assert "data.path=PLACE" in caught.value.hint


def test_sources_of_ones_own_prompts_are_published_in_the_shape_that_is_drawn(
    make_paper_run: RunMaker, tmp_path: Path
) -> None:
    Image.new("RGB", (90, 60), "red").save(tmp_path / "wide.png")
    Image.new("RGB", (60, 60), "blue").save(tmp_path / "hat.png")
    file = tmp_path / "mine.txt"
    file.write_text("a hat\nmake it red --ci wide.png --ci hat.png\n\nmake it blue --ci wide.png --w 32 --h 32\n")
    run = make_paper_run(**MANY)
    references.withdraw(run)
    config = changed(run.read_config(), "evaluation", prompts=str(file))
    references.copy_prompts(run, config)
    sizes = buckets.sizes(config.data.resolution, 8)
    references.publish_missing(run, config, 8, lambda: relocation.scan_again(run, config, sha256), sizes)
    details, wide = verify(run.references).details, buckets.nearest((90, 60), sizes)
    assert len(details["prompts"]) == 2
    assert details["num_sources"] == {"prompts.txt:2": 2, "prompts.txt:4": 1}
    assert tuple(details["sizes"]["prompts.txt:2"]) == wide
    assert tuple(details["sizes"]["prompts.txt:4"]) == (32, 32)
    drawn = {"prompts.txt:2.source-1": wide, "prompts.txt:2.source-2": (32, 32), "prompts.txt:4.source-1": wide}
    for name, size in drawn.items():
        with Image.open(run.references / f"{name}.png") as source:
            assert source.size == size, name
