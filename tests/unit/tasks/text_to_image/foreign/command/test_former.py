"""The same run again: after its files were moved, with fewer options than before; and another folder of its name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared.errors import ConfigError, DataError, RunFolderError
from shared.files.publication import publish, verify
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.pending import unevaluated
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import write_rows
from tests.conftest import check
from tests.unit.tasks.text_to_image.foreign.conftest import of_pictures, opened, shown, write


@pytest.fixture
def run(trained: Path, base: Path, real: Path, tmp_path: Path) -> RunDir:
    return opened(trained, tmp_path, base=str(base), references=real)[0]


def result(run: RunDir, step: int, status: str) -> None:
    run_id = run.read_record().run_id
    made = EvaluationResult(run_id=run_id, step=step, status=status)  # type: ignore[arg-type]
    manifest = Manifest(kind="evaluation", run_id=run_id, step=step)
    publish(run.staging, run.evaluation(step), manifest, lambda folder: made.write(folder / "result.json"))


def test_files_that_were_moved_are_known_again_and_what_failed_meanwhile_is_tried_again(
    run: RunDir, trained: Path, tmp_path: Path
) -> None:
    result(run, 50, "ok")
    result(run, 100, "failed")
    rows = [{"step": 50, "status": "ok"}, {"step": 100, "status": "failed"}]
    write_rows(run.metrics_csv, OLDER_METRICS.header, rows)
    there = trained.rename(tmp_path / "moved away")
    with pytest.raises(
        RunFolderError, match=r"is missing; if it was moved: `python run\.py evaluate NEW_FOLDER --name"
    ):
        verify(run.snapshot(50))
    assert any("`python run.py evaluate NEW_FOLDER --name dress --output" in problem for problem in check(run))
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        opened(trained, tmp_path)
    assert "if it was moved: `python run.py evaluate NEW_FOLDER --name dress" in refused.value.hint
    (there / "dress-000002.safetensors").rename(there / "dress_e2.safetensors")
    (there / "dress.safetensors").unlink()
    again, said = opened(there, tmp_path, name="dress")
    assert again == run
    assert (run.snapshot(50) / "dress-000001.safetensors").readlink() == there / "dress-000001.safetensors"
    assert (run.snapshot(100) / "dress-000002.safetensors").readlink() == there / "dress_e2.safetensors"
    assert f"{trained} has moved: 2 files are the same in {there}" in said
    assert "not there, so that only their results stay: dress.safetensors" in said
    assert steps_in(run.evaluations) == {50}
    assert 100 in unevaluated(run), "though metrics.csv still lists the failure"
    imported = run.read_record().imported
    assert imported
    assert imported.folder == str(there)
    assert not [*run.staging.iterdir()]


def test_without_its_name_the_run_of_a_folder_that_was_moved_is_named(
    run: RunDir, trained: Path, tmp_path: Path
) -> None:
    there = trained.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match=f"--base is missing, and {run.path} has these files") as refused:
        opened(there, tmp_path)
    assert refused.value.hint == "give --name dress to go on with it"
    assert f"{run.path} has these files, from a folder that is gone: --name dress goes on with it" in shown(
        there, tmp_path
    )


def test_a_folder_of_the_same_name_whose_files_are_the_same_needs_no_name(
    run: RunDir, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    there = trained.rename(tmp_path / "elsewhere" / "dress")
    again, _ = opened(there, tmp_path)
    assert again == run
    assert check(run) == []


def test_files_with_another_content_are_refused_and_nothing_changes(run: RunDir, trained: Path, tmp_path: Path) -> None:
    there = trained.rename(tmp_path / "moved")
    before = run.record.read_bytes()
    write(there / "dress-000002.safetensors", ss_steps="100", value=7)
    with pytest.raises(ConfigError, match=r"have another content: dress-000002\.safetensors") as refused:
        opened(there, tmp_path, name="dress")
    assert refused.value.hint == "restore them, or evaluate all again with --name dress-2"
    for file in there.iterdir():
        write(file, value=9)
    with pytest.raises(ConfigError, match=r"is the run of .*out/dress .*none of its files lies in") as refused:
        opened(there, tmp_path, name="dress")
    assert "--name dress-2" in refused.value.hint
    assert run.record.read_bytes() == before


def test_another_folder_of_this_name_becomes_a_run_of_its_own(
    run: RunDir, base: Path, real: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "dress"
    write(other / "dress-000001.safetensors", ss_steps="50", value=5)
    made, said = opened(other, tmp_path, base=str(base), references=real)
    assert made.path.name == "dress-2"
    assert any("dress is another run: this one is called dress-2" in text for text in said)
    again, said = opened(other, tmp_path, base=str(base), references=real)
    assert again == made
    assert not any("is another run" in text for text in said), "it goes on with its own"
    assert run.read_record().imported != made.read_record().imported


def test_a_run_is_found_again_behind_one_that_was_removed(
    run: RunDir, trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    given = {"base": str(base), "references": real}
    second, third = (opened(trained, tmp_path, **given, new=True)[0] for _ in range(2))
    assert opened(trained, tmp_path)[0] == third, "the newest"
    shutil.rmtree(second.path)
    assert opened(trained, tmp_path)[0] == third
    shutil.rmtree(run.path)
    again, said = opened(trained, tmp_path)
    assert again == third
    assert not any("is another run" in text for text in said)
    other = tmp_path / "other" / "dress"
    write(other / "dress-000001.safetensors", ss_steps="50", value=5)
    assert opened(other, tmp_path, **given)[0].path.name == "dress-4", "no name of one that was removed"


def test_what_is_left_out_stays_and_what_is_given_is_compared(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    pictures = of_pictures(tmp_path / "pictures", 3, 2)
    first = ("data.resolution=32", "evaluation.num_seeds=3")
    given = {"base": str(base), "references": real, "train_pictures": pictures, "trigger_word": "robe"}
    run, _ = opened(trained, tmp_path, **given, overrides=first)
    before = run.config.read_text(encoding="utf-8")
    _, said = opened(trained, tmp_path, overrides=())
    kept = next(text for text in said if "goes on with its own settings" in text)
    for part in (
        f"--references {real}",
        f"--train-pictures {pictures}",
        "--trigger-word robe",
        "evaluation.num_seeds=3",
    ):
        assert part in kept
    assert run.config.read_text(encoding="utf-8") == before
    result(run, 0, "ok")
    others = of_pictures(tmp_path / "others", 4, 3)
    with pytest.raises(RunFolderError) as refused:
        opened(trained, tmp_path, base=str(base), trigger_word="gown", overrides=("evaluation.num_prompts=2",))
    rows = str(refused.value).splitlines()[1:]
    assert [row.split(" was ")[0].strip() for row in rows] == ["data.trigger_word", "evaluation.num_prompts"]
    assert all("which can never change: " in row for row in rows)
    assert f"evaluate {trained} --base {base} --references {real} --" in refused.value.hint
    assert refused.value.hint.endswith("--profile garment evaluation.num_prompts=2 --new`")
    for command in (opened, shown):
        with pytest.raises(RunFolderError) as refused:
            command(trained, tmp_path, references=others)
        assert str(refused.value).startswith(
            f"{run.path} was made with other pictures than --references {others}: its own are --references {real} and "
            f"--train-pictures {pictures}\n"
        )
        assert refused.value.hint.startswith(f"go on without them: `python run.py evaluate {trained} --name dress")
    (real / "0.txt").write_text("another", encoding="utf-8")
    with pytest.raises(DataError) as changed:
        opened(trained, tmp_path)
    assert changed.value.hint.startswith(f"restore {real} and {pictures}, or start"), changed.value.hint
    (real / "0.txt").write_text("dress 0", encoding="utf-8")
    assert opened(trained, tmp_path)[0] == run, "the pictures are the ones that they were"
    opened(trained, tmp_path, overrides=("evaluation.rescan_seconds=7",))
    assert run.read_config().evaluation.rescan_seconds == 7


def test_another_letter_keeps_its_plain_form_in_the_name(trained: Path, base: Path, real: Path, tmp_path: Path) -> None:
    there = trained.rename(tmp_path / "Größe 1")
    assert opened(there, tmp_path, base=str(base), references=real)[0].path.name == "Grosse-1"


def test_letters_that_a_runs_name_cannot_have_are_missing_there_and_that_is_said(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    there = trained.rename(tmp_path / "плащ (v2)")
    run, said = opened(there, tmp_path, base=str(base), references=real)
    assert run.path.name == "v2"
    told = "плащ (v2) has letters that the name of a run cannot have: this one is called v2; --name renames it"
    assert told in said
    assert told not in opened(there, tmp_path)[1], "it goes on"


def test_a_link_names_the_run_and_finds_the_one_of_its_folder(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    link = tmp_path / "linked"
    link.symlink_to(trained)
    run, _ = opened(link, tmp_path, base=str(base), references=real, output=tmp_path / "others")
    assert run.path.name == "linked"
    first, _ = opened(trained, tmp_path, base=str(base), references=real)
    assert opened(link, tmp_path)[0] == first
