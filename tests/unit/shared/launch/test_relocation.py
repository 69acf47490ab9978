"""Data sets, base models and whole run folders that were moved: known again by what they hold."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import tasks
from shared.config.dumping import dump_config
from shared.config.loading import load_config
from shared.config.schema import Config
from shared.data import dataset
from shared.errors import ConfigError, DataError, ModelError, RunFolderError
from shared.launch import relocation, resume
from shared.launch.resume import Resume
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import RunDir, open_run
from shared.run_folder.tables import TRAIN_COLUMNS, write_rows
from tasks.text_to_image import places
from tasks.text_to_image.models import base_model
from tests.conftest import adopt_places, check, create_run, notes, open_or_create, paper_model, tiny_config

Said = list[str]


def add(folder: Path, name: str, caption: str = "a dress") -> Path:
    """A picture unlike any other, and its caption."""
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    red, green, blue, _ = zlib.crc32(name.encode()).to_bytes(4, "little")
    Image.new("RGB", (32, 32), (red, green, blue)).save(path)
    path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def weigh(model: Path, value: float) -> Path:
    """Give a paper model some weights."""
    save_file({"w": np.full(1000, value, np.float32)}, model / "unet" / "diffusion_pytorch_model.safetensors")
    return model


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(14):
        add(tmp_path / "old" / "data", f"p{number:02d}", f"dress {number}")
    return tmp_path / "old" / "data"


@pytest.fixture
def config(tmp_path: Path, data: Path) -> Config:
    return tiny_config(tmp_path / "runs", "run", weigh(paper_model(tmp_path / "old" / "model"), 1.0), data, {})


@pytest.fixture
def run(config: Config) -> RunDir:
    """A run that has made a step."""
    made = create_run(config)
    write_rows(made.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    return made


def elsewhere(config: Config, **changes: dict[str, object]) -> Config:
    sections = {name: getattr(config, name).model_copy(update=values) for name, values in changes.items()}
    return config.model_copy(update=sections)


def take_up(config: Config, *allowed: str) -> Said:
    said: Said = []
    open_or_create(config, Resume(allow_change=allowed), said.append, lambda: None)
    return said


def move(folder: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(folder, target))


@pytest.mark.parametrize("old_stays", [False, True], ids=["moved", "copied"])
def test_a_data_set_on_another_disk_is_gone_on_with_and_the_move_is_noted(
    run: RunDir, config: Config, data: Path, tmp_path: Path, old_stays: bool
) -> None:
    place = tmp_path / "new" / "data"
    shutil.copytree(data, place)
    if not old_stays:
        shutil.rmtree(data)
    said = take_up(elsewhere(config, data={"path": str(place)}))
    assert said == [f"moved: data.path was {data}, is {place} after step 0; what lies there is the same"]
    assert run.read_config().data.path == str(place)
    assert [(change.key, change.after) for change in run.read_record().changes] == [("data.path", str(place))]
    assert check(run) == []
    assert take_up(elsewhere(config, data={"path": str(place)})) == []


@pytest.mark.parametrize("old_stays", [False, True], ids=["moved", "copied"])
def test_a_base_model_in_another_folder_is_gone_on_with(
    run: RunDir, config: Config, tmp_path: Path, old_stays: bool
) -> None:
    old, place = Path(config.model.path), tmp_path / "new" / "model"
    shutil.copytree(old, place)
    (place / ".cache").mkdir()
    (place / ".cache" / "download.json").write_text("{}")
    (place / "README.md").write_text("downloaded again")
    if not old_stays:
        shutil.rmtree(old)
    assert "what lies there is the same" in take_up(elsewhere(config, model={"path": str(place)}))[0]
    assert run.read_config().model.path == str(place)


def test_another_fine_tune_with_the_same_files_and_sizes_is_not_taken_for_the_base_model(
    run: RunDir, config: Config, tmp_path: Path
) -> None:
    other = weigh(Path(shutil.copytree(config.model.path, tmp_path / "other")), 2.0)
    with pytest.raises(RunFolderError, match=r"model\.path was .* is .*/other, which can never change"):
        take_up(elsewhere(config, model={"path": str(other)}))
    assert run.read_config() == config


def test_a_base_model_noted_by_an_older_version_is_known_again(run: RunDir, config: Config, tmp_path: Path) -> None:
    old = Path(config.model.path)
    sizes = base_model._sizes_fingerprint(old)
    record = run.read_record()
    record.model_copy(update={"base_model": {"path": str(old), "fingerprint": sizes}}).write(run.record)
    place = move(old, tmp_path / "new")
    assert take_up(elsewhere(config, model={"path": str(place)}))


def test_a_single_file_is_known_again_under_another_name(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    tensors = {
        "model.diffusion_model.input_blocks.0.0.weight": np.zeros((4, 4, 3, 3), np.float32),
        "cond_stage_model.transformer.x": np.zeros(1, np.float32),
    }
    save_file(tensors, file)
    fingerprint = base_model.identify(str(file))["fingerprint"]
    assert base_model.is_same(str(file.rename(tmp_path / "b.safetensors")), fingerprint)
    assert not base_model.is_same(base_model.POCKET, fingerprint)


def test_the_embedded_model_is_the_same_by_its_name_and_by_its_folder() -> None:
    fingerprint = base_model.identify(base_model.POCKET)["fingerprint"]
    assert base_model.is_same(str(base_model.POCKET_STABLE_DIFFUSION), fingerprint)


def test_an_encoder_and_the_cache_may_lie_elsewhere(config: Config, tmp_path: Path) -> None:
    clip = tmp_path / "old" / "clip"
    clip.mkdir()
    save_file({"w": np.ones(10, np.float32)}, clip / "model.safetensors")
    config = elsewhere(config, evaluation={"fashion_clip": str(clip)}, data={"cache_dir": tmp_path / "cache"})
    run = create_run(config)
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    run.evaluation(0).mkdir()
    place = move(clip, tmp_path / "new" / "clip")
    moved = elsewhere(config, evaluation={"fashion_clip": str(place)}, data={"cache_dir": tmp_path / "cache-2"})
    assert len(take_up(moved)) == 2
    assert run.read_config().evaluation.fashion_clip == str(place)
    save_file({"w": np.zeros(10, np.float32)}, place / "model.safetensors")
    again = move(place, tmp_path / "newer" / "clip")
    with pytest.raises(RunFolderError, match="could not be compared"):
        take_up(elsewhere(moved, evaluation={"fashion_clip": str(again)}))


def test_a_vae_in_a_single_file_may_lie_elsewhere(run: RunDir, config: Config, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_file({"w": np.ones(10, np.float32)}, file)
    config = elsewhere(config, model={"vae": str(file)})
    run.config.write_text(dump_config(config), encoding="utf-8")
    record = run.read_record()
    identity = {**record.base_model, "vae_fingerprint": dataset.sha256(file)}
    record.model_copy(update={"base_model": identity}).write(run.record)
    place = file.rename(tmp_path / "b.safetensors")
    with pytest.raises(ModelError, match=r"the VAE of .* is not at"):
        take_up(config)
    assert take_up(elsewhere(config, model={"vae": str(place)}))[0].startswith("moved: model.vae")
    save_file({"w": np.zeros(10, np.float32)}, tmp_path / "c.safetensors")
    with pytest.raises(RunFolderError, match=r"model\.vae .* can never change"):
        take_up(elsewhere(config, model={"vae": str(tmp_path / "c.safetensors")}))


@pytest.mark.parametrize(("key", "error"), [("data.path", DataError), ("model.path", ModelError)])
def test_what_is_gone_is_named_with_how_to_give_its_new_place(
    run: RunDir, config: Config, key: str, error: type[DataError | ModelError]
) -> None:
    shutil.rmtree(config.value(key))
    with pytest.raises(error, match=f"of {run.path} is not at {config.value(key)}") as caught:
        take_up(config)
    assert f"run.py train CONFIG {key}=PLACE" in caught.value.hint
    assert f"run.py evaluate {run.path} {key}=PLACE" in caught.value.hint


@pytest.mark.parametrize("key", ["data.path", "model.path"])
def test_a_run_folder_is_whole_where_what_it_was_made_of_is_not_here(run: RunDir, config: Config, key: str) -> None:
    assert notes(run) == []
    shutil.rmtree(config.value(key))
    assert check(run) == []
    [note] = notes(run)
    assert f"is not at {config.value(key)}; " in note
    assert f"{key}=PLACE" in note


def test_another_base_model_at_the_same_place_is_no_whole_run_and_not_gone_on_with(run: RunDir, config: Config) -> None:
    assert take_up(config) == []
    weigh(Path(config.model.path), 2.0)
    assert check(run) == [f"models: the base model at {config.model.path} is not the one that {run.path} was made with"]
    with pytest.raises(ModelError, match="is not the one that"):
        take_up(config)
    with pytest.raises(ModelError, match="is not the one that"):
        adopt_places(run, config, lambda text: None)


def test_a_base_model_in_one_file_is_read_once_and_noticed_where_another_takes_its_place(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, long_ago = tmp_path / "model.safetensors", 1_000_000_000

    def write(value: float) -> None:
        tensors = {
            "model.diffusion_model.input_blocks.0.0.weight": np.full((4, 4, 3, 3), value, np.float32),
            "cond_stage_model.transformer.x": np.zeros(1, np.float32),
        }
        save_file(tensors, file)
        os.utime(file, (long_ago, long_ago + value))

    write(1)
    config = elsewhere(config, model={"path": str(file)})
    run = create_run(config)
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    read: list[Path] = []
    monkeypatch.setattr("shared.files.digests.sha256", lambda path: read.append(path) or dataset.sha256(path))
    take_up(config)
    assert file not in read
    write(2)
    with pytest.raises(ModelError, match=r"the base model at .* is not the one that"):
        take_up(config)
    assert read.count(file) == 1


def test_a_moved_folder_of_single_file_config_is_named_and_its_new_place_taken(config: Config, tmp_path: Path) -> None:
    folder = paper_model(tmp_path / "described")
    config = elsewhere(config, model={"single_file_config": str(folder)})
    run = create_run(config)
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    place = move(folder, tmp_path / "new")
    for evaluate in (take_up, lambda config: adopt_places(run, config, lambda text: None)):
        with pytest.raises(ModelError, match=r"single_file_config of .* is not at") as caught:
            evaluate(config)
        assert "model.single_file_config=PLACE" in caught.value.hint
    assert check(run) == []
    assert take_up(elsewhere(config, model={"single_file_config": str(place)}))[0].startswith("moved: ")


def test_a_moved_encoder_is_told_and_training_goes_on(config: Config, tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.mkdir()
    save_file({"w": np.ones(10, np.float32)}, clip / "model.safetensors")
    config = elsewhere(config, evaluation={"fashion_clip": str(clip)})
    run = create_run(config)
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    clip.rename(tmp_path / "new")
    [said] = take_up(config)
    assert f"is not at {clip}: its metrics stay blank" in said
    assert len(notes(run)) == 1


def test_what_a_run_begins_from_is_needed_until_its_first_checkpoint(
    run: RunDir, config: Config, tmp_path: Path
) -> None:
    gone = elsewhere(config, lora={"init_from": str(tmp_path / "gone.safetensors")})
    run.config.write_text(dump_config(gone), encoding="utf-8")
    with pytest.raises(ModelError, match=r"the LoRA of lora\.init_from of"):
        places.require_present(run, gone, to_train=True)
    places.require_present(run, gone, to_train=False)
    run.checkpoint(1).mkdir()
    places.require_present(run, gone, to_train=True)


def test_an_embedded_model_is_never_absent_nor_a_folder_of_its_name(
    run: RunDir, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pocket", "pocket-flow"):
        (tmp_path / name).mkdir()
        embedded = elsewhere(config, model={"path": name}, evaluation={"fashion_clip": "pocket"})
        assert places.missing_paths(run, embedded) == {}
        assert base_model.local_folder(name) is None


def test_a_caption_that_changed_is_found_before_a_program_is_started_unless_training_is_complete(
    run: RunDir, config: Config, data: Path
) -> None:
    (data / "p03.txt").write_text("another dress")
    with pytest.raises(DataError, match="changed: p03: the caption"):
        take_up(config)
    run.checkpoint(config.train.max_train_steps).mkdir()
    assert take_up(config) == []


@pytest.mark.parametrize(("key", "error"), [("data.path", DataError), ("model.path", ModelError)])
def test_a_new_place_that_does_not_exist_is_blamed_and_not_the_old_one(
    run: RunDir, config: Config, key: str, error: type[DataError | ModelError]
) -> None:
    section = key.partition(".")[0]
    with pytest.raises(error, match="/nowhere"):
        take_up(elsewhere(config, **{section: {"path": "/nowhere"}}))
    assert run.read_config() == config


def test_every_picture_and_caption_that_changed_is_named(run: RunDir, data: Path) -> None:
    (data / "p03.txt").write_text("another dress")
    shutil.copy(data / "p05.png", data / "p04.png")
    (data / "p06.png").unlink()
    (data / "p06.txt").unlink()
    add(data, "new")
    problems = "\n".join(check(run))
    assert f"{data} has changed since this run was made" in problems
    for line in (
        "changed: p03: the caption ('dress 3', then 'another dress')",
        "changed: p04: the picture",
        "removed: p06",
        "added: new",
    ):
        assert line in problems
    assert "p05" not in problems


def test_of_many_changes_ten_are_named_and_the_rest_counted(run: RunDir, config: Config, data: Path) -> None:
    for number in range(13):
        (data / f"p{number:02d}.txt").write_text("x")
    with pytest.raises(DataError) as caught:
        relocation.scan_again(run, config, dataset.sha256)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[-1].strip() == "and 3 more"


def test_another_data_set_is_refused_by_what_differs(run: RunDir, config: Config, data: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(data, tmp_path / "new"))
    (place / "p03.txt").write_text("another dress")
    with pytest.raises(DataError, match=f"data.path is {place}, but") as caught:
        take_up(elsewhere(config, data={"path": str(place)}))
    assert "changed: p03: the caption" in str(caught.value)
    assert run.read_config() == config


def test_a_run_folder_without_an_inventory_says_only_that_something_changed(
    run: RunDir, config: Config, data: Path
) -> None:
    run.dataset.unlink()
    assert check(run) == []
    (data / "p03.txt").write_text("another dress")
    with pytest.raises(DataError, match=r"has changed since this run was made$"):
        relocation.scan_again(run, config, dataset.sha256)


def test_pictures_of_a_csv_that_were_moved_keep_the_ids_that_the_split_was_made_with(
    config: Config, data: Path, tmp_path: Path
) -> None:
    """Outside the CSV's folder the whole path is the id."""

    def write(folder: Path, pictures: Path) -> Path:
        folder.mkdir(parents=True)
        rows = [f"{pictures / f'p{number:02d}.png'},dress {number}" for number in range(14)]
        (folder / "data.csv").write_text("\n".join(["image,text", *rows]))
        return folder / "data.csv"

    csv = write(tmp_path / "tables", data)
    run = create_run(elsewhere(config, data={"path": str(csv)}))
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    before = dataset.scan(run.read_config())
    pictures = move(data, tmp_path / "a-disk" / "pictures")
    take_up(elsewhere(config, data={"path": str(write(tmp_path / "new-tables", pictures))}))
    after = relocation.scan_again(run, run.read_config(), dataset.sha256)
    assert [(pair.id, pair.caption) for pair in after] == [(pair.id, pair.caption) for pair in before]
    assert all(pair.image.is_relative_to(pictures) for pair in after)
    assert set(run.read_record().dataset.held_out) <= {pair.id for pair in after}


def test_pictures_of_the_class_in_a_folder_of_their_own_may_be_moved_too(
    config: Config, data: Path, tmp_path: Path
) -> None:
    add(tmp_path / "old" / "reg", "class", "dress")
    config = elsewhere(config, data={"regularization_path": str(tmp_path / "old" / "reg")})
    run = create_run(config)
    write_rows(run.train_csv, TRAIN_COLUMNS, [{"step": 1}])
    place = move(tmp_path / "old" / "reg", tmp_path / "new")
    with pytest.raises(DataError, match="is not at") as caught:
        take_up(config)
    assert "data.regularization_path=PLACE" in caught.value.hint
    moved = elsewhere(config, data={"regularization_path": str(place)})
    assert take_up(moved)[0].startswith("moved: data.regularization_path")
    with pytest.raises(RunFolderError, match=r"regularization_path .* can never change"):
        take_up(elsewhere(config, data={"regularization_path": "none"}))
    (place / "class.txt").write_text("coat")
    assert "changed: regularization/class: the caption" in "\n".join(check(run))


def test_a_mask_that_changed_is_named(config: Config, data: Path) -> None:
    mask = data / "p03.mask.png"
    Image.new("L", (32, 32), 255).save(mask)
    run = create_run(config)
    Image.new("L", (32, 32), 9).save(mask)
    assert "changed: p03: the mask" in "\n".join(check(run))


def test_two_pictures_that_swapped_their_names_are_the_same_data_set(run: RunDir, config: Config, data: Path) -> None:
    before = {pair.id: pair.caption for pair in dataset.scan(config)}
    for ending in ("png", "txt"):
        (data / f"p01.{ending}").rename(data / "aside")
        (data / f"p02.{ending}").rename(data / f"p01.{ending}")
        (data / "aside").rename(data / f"p02.{ending}")
    assert {pair.id: pair.caption for pair in relocation.scan_again(run, config, dataset.sha256)} == before


def test_a_relative_path_a_link_and_a_trailing_slash_are_the_same_place(
    run: RunDir, config: Config, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(dump_config(config), encoding="utf-8")
    (tmp_path / "link").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    for place in (f"{data}/", "old/data", "./old/../old/data", "link", str(tmp_path / "link")):
        assert take_up(load_config(file, [f"data.path={place}", "model.path=old/model/"])) == []


def test_a_run_folder_that_was_moved_and_renamed_finds_its_cache_beside_it(
    run: RunDir, config: Config, tmp_path: Path
) -> None:
    there = move(run.path.parent, tmp_path / "project" / "runs")
    moved = open_run((there / "run").rename(there / "first"))
    assert moved.read_config().run.output_dir == there
    assert dataset.cache_dir(moved.read_config()) == there / ".cache"
    said: Said = []
    again = elsewhere(config, run={"output_dir": there, "name": "first"})
    assert open_or_create(again, Resume(), said.append, lambda: None) == moved
    assert said == []
    assert not (tmp_path / "runs").exists()


def test_a_run_that_never_made_a_step_stays_where_the_new_settings_are_wrong(config: Config) -> None:
    run = create_run(config)
    before = run.read_record()
    with pytest.raises(DataError, match="/nowhere"):
        take_up(elsewhere(config, data={"path": "/nowhere"}))
    assert run.read_record() == before
    assert [path.name for path in run.path.parent.iterdir() if path.name != ".cache"] == ["run"]


def test_a_run_that_never_made_a_step_is_begun_anew_where_its_data_set_lies_by_now(
    config: Config, data: Path, tmp_path: Path
) -> None:
    run = create_run(config)
    place = move(data, tmp_path / "new")
    assert take_up(elsewhere(config, data={"path": str(place)})) == []
    assert run.read_record().dataset.path == str(place)


def test_who_only_evaluates_a_run_may_say_where_things_lie_and_nothing_else(
    run: RunDir, data: Path, tmp_path: Path
) -> None:
    place, said = move(data, tmp_path / "new"), list[str]()
    with pytest.raises(ConfigError, match=r"train\.seed: only a place"):
        adopt_places(run, run.read_config([f"data.path={place}", "train.seed=7"]), said.append)
    assert run.read_config().data.path == str(data)
    adopt_places(run, run.read_config([f"data.path={place}"]), said.append)
    assert run.read_config().data.path == str(place)
    assert len(said) == 1


def test_nothing_is_moved_under_a_program_at_work(run: RunDir, data: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(data, tmp_path / "new"))
    with hold_role(run, "trainer"), pytest.raises(RunFolderError, match="is in use"):
        adopt_places(run, run.read_config([f"data.path={place}"]), lambda text: None)
    assert run.read_config().data.path == str(data)


def test_another_run_begins_at_a_checkpoint_made_on_a_base_model_that_has_moved(
    run: RunDir, config: Config, tmp_path: Path
) -> None:
    place = move(Path(config.model.path), tmp_path / "new")
    checkpoint, moved = run.checkpoint(2), elsewhere(config, model={"path": str(place)}, train={"seed": 7})
    task = tasks.find(config.run.task)
    assert resume._moved_since(checkpoint, moved, task) == {"model.path"}
    assert resume._moved_since(tmp_path / "copies" / "runs" / "step-00000002", moved, task) == set()
