"""`run.py evaluate` of LoRAs ends with the same codes, whether it follows or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import run as program
from shared.files.publication import publish
from shared.launch.attended import evaluated
from shared.run_folder.pending import without_result
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.foreign import evaluated as foreign


def fail_all(run: RunDir) -> None:
    run_id = run.read_record().run_id
    for step in sorted(without_result(run)):
        made = EvaluationResult(run_id=run_id, step=step, status="failed")
        manifest = Manifest(kind="evaluation", run_id=run_id, step=step)
        publish(
            run.staging, run.evaluation(step), manifest, lambda folder, made=made: made.write(folder / "result.json")
        )


@pytest.mark.parametrize("mode", ["--once", "--follow"])
def test_what_is_left_what_is_done_and_nothing_to_do_have_codes(
    trained: Path, base: Path, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    work: list[Callable[[RunDir], None]] = [lambda _: None, fail_all, lambda _: None]

    def supervise(run: RunDir, *_: object, **__: object) -> int:
        work.pop(0)(run)
        return 0

    monkeypatch.setattr(foreign, "supervise", supervise)
    for module in (foreign, evaluated):  # no evaluator writes metrics.csv here
        monkeypatch.setattr(module, "left_to_evaluate", without_result)
    command = ["evaluate", str(trained), "--base", str(base), "--references", str(real), mode]
    command += ["--output", str(tmp_path / "runs"), "data.resolution=32"]
    assert [CliRunner().invoke(program.app, command).exit_code for _ in range(3)] == [4, 0, 3]
