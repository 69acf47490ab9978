"""The run folder: made whole or not at all, and blind to what other runs leave in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import ConfigError, DataError, ModelError, RunFolderError
from shared.files.publication import publish
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, free_name, list_runs, open_run, step_name, steps_in
from tests.conftest import RunMaker, create_run, paper_model, tiny_config


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def plant(run: RunDir, step: int, run_id: str | None = None, name_step: int | None = None) -> Path:
    """A snapshot, of this run unless told otherwise."""
    manifest = Manifest(kind="snapshot", run_id=run_id or run.read_record().run_id, step=step)
    target = run.snapshot(step if name_step is None else name_step)
    publish(run.staging, target, manifest, lambda folder: None)
    return target


def test_a_fresh_run_folder_says_what_the_run_is(run: RunDir, pictures: Path) -> None:
    record, config = run.read_record(), run.read_config()
    assert record.name == config.run.name == run.path.name
    assert record.dataset.num_images == 12
    assert len(record.dataset.held_out) == 3
    assert record.dataset.path == str(pictures)
    assert set(record.base_model) == {"path", "fingerprint"}
    assert {"torch", "diffusers", "peft"} <= record.versions.keys()
    assert record.hardware["cpu_count"]
    assert {path.name for path in run.path.iterdir()} == {
        "config.toml",
        "dataset.json",
        "references",
        "run.json",
        "snapshots",
        "checkpoints",
        "evaluations",
        "control",
        "processes",
        "logs",
        ".staging",
        ".claims",
    }


def test_two_runs_of_one_config_are_two_runs(make_paper_run: RunMaker) -> None:
    assert make_paper_run("one").read_record().run_id != make_paper_run("two").read_record().run_id


@pytest.mark.parametrize("wrong", ["data", "model", "split"])
def test_nothing_is_written_when_anything_is_wrong(tmp_path: Path, pictures: Path, wrong: str) -> None:
    model = tmp_path if wrong == "model" else paper_model(tmp_path / "model")
    data = tmp_path / "nowhere" if wrong == "data" else pictures
    sections: dict[str, dict[str, object]] = {"data": {"num_validation": 12}} if wrong == "split" else {}
    output = tmp_path / "runs"
    with pytest.raises((DataError, ModelError)):
        create_run(tiny_config(output, "run", model, data, sections))
    assert not output.exists()


def test_a_failure_while_writing_leaves_no_half_run(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.launch.create.dump_config", lambda config: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        create_run(tiny_config(tmp_path / "runs", "run", paper_model(tmp_path / "model"), pictures, {}))
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_with_something_in_it_is_never_taken_over(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "runs" / "run").mkdir(parents=True)
    config = tiny_config(tmp_path / "runs", "run", paper_model(tmp_path / "model"), pictures, {})
    create_run(config)
    with pytest.raises(RunFolderError, match="exists"):
        create_run(config)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes" / "diary.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="notes exists"):
        create_run(tiny_config(tmp_path / "runs", "notes", paper_model(tmp_path / "model"), pictures, {}))
    assert (tmp_path / "runs" / "notes" / "diary.txt").read_text() == "mine"


def test_only_a_run_folder_opens(tmp_path: Path, run: RunDir) -> None:
    assert open_run(run.path) == run
    for path in (tmp_path, tmp_path / "nowhere", run.config):
        with pytest.raises(RunFolderError, match="is not a run folder"):
            open_run(path)
    run.record.write_text("{")
    with pytest.raises(RunFolderError, match=r"run\.json"):
        open_run(run.path)


def test_snapshots_come_by_step_ascending(run: RunDir) -> None:
    for step in (100, 20, 123456789):
        plant(run, step)
    assert list(run.published_snapshots()) == [20, 100, 123456789]
    assert run.snapshots_to_evaluate() == {20, 100, 123456789}


def test_a_snapshot_of_another_run_is_ignored(run: RunDir) -> None:
    plant(run, 2)
    plant(run, 99999, run_id="another")
    plant(run, 4, name_step=6)  # a folder that was renamed
    run.snapshot(8).mkdir()  # nothing in it (yet)
    assert set(run.published_snapshots()) == {2}
    assert run.snapshots_to_evaluate() == {2}


def test_a_snapshot_with_a_damaged_manifest_is_not_published_but_still_to_be_evaluated(run: RunDir) -> None:
    (plant(run, 2) / "manifest.json").write_bytes(b"")
    plant(run, 4)
    assert set(run.published_snapshots()) == {4}
    assert run.snapshots_to_evaluate() == {2, 4}


def test_steps_are_read_from_names_alone(tmp_path: Path) -> None:
    for name in (
        "step-00000002",
        "step-123456789",
        "step-2",
        "step-0000000x",
        "damaged-step-00000004",
        "step-00000003.tmp",
    ):
        (tmp_path / name).mkdir()
    assert steps_in(tmp_path) == {2, 123456789}
    assert steps_in(tmp_path / "nowhere") == set()
    assert step_name(123456789) == "step-123456789"


def test_a_result_or_verdict_that_is_not_there_yet_is_none(run: RunDir) -> None:
    assert run.read_result(2) is None
    assert run.read_best() is None
    run.evaluation(2).mkdir()
    EvaluationResult(run_id="r", step=2, status="failed", reason="x").write(run.evaluation(2) / "result.json")
    result = run.read_result(2)
    assert result
    assert result.reason == "x"


def test_a_free_name_comes_after_all_that_are_there(tmp_path: Path) -> None:
    assert free_name(tmp_path / "nowhere", "dress") == "dress"
    assert free_name(tmp_path, "dress") == "dress"
    (tmp_path / "dress").mkdir()
    assert free_name(tmp_path, "dress") == "dress-2"
    (tmp_path / "dress-2").touch()
    (tmp_path / "dress-4").mkdir()
    (tmp_path / "dress-two").mkdir()
    (tmp_path / "dress-02").mkdir()
    assert free_name(tmp_path, "dress") == "dress-5", "3 was removed"
    (tmp_path / "dress").rmdir()
    assert free_name(tmp_path, "dress") == "dress-5"


def test_runs_are_listed_and_other_folders_are_not(tmp_path: Path, make_paper_run: RunMaker) -> None:
    made = {make_paper_run("one"), make_paper_run("two")}
    (tmp_path / "runs" / "notes").mkdir()
    assert set(list_runs(tmp_path / "runs")) == made
    assert list_runs(tmp_path / "nowhere") == []


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path: Path, make_paper_run: RunMaker) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"run\.output_dir .* cannot be written: Not a directory") as caught:
        make_paper_run(run={"output_dir": str(tmp_path / "file" / "runs")})
    assert "another place" in caught.value.hint


def test_a_cache_that_cannot_be_written_is_named_and_leaves_no_run(
    tmp_path: Path, make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.files.file_facts.SETTLED_SECONDS", -1.0)  # new pictures are remembered too
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"data\.cache_dir .* cannot be written: Not a directory"):
        make_paper_run(data={"cache_dir": str(tmp_path / "file" / "cache")})
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_layer_that_sdxl_is_never_read_at_leaves_no_run(tmp_path: Path, make_paper_run: RunMaker) -> None:
    model = paper_model(tmp_path / "xl", "StableDiffusionXLPipeline")
    with pytest.raises(ConfigError, match=r"model\.clip_skip is 2, but the model is SDXL"):
        make_paper_run(model={"path": str(model), "clip_skip": 2})
    assert not list((tmp_path / "runs").glob("*/run.json"))
