"""Snapshots that other libraries load as they are: given away whole in one zip, or not at all."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from shared.errors import ConfigError, RunFolderError
from shared.files.publication import publish
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks import zip_export
from tasks.image_classification import export as of_classes
from tasks.language_model import export as of_language
from tests.conftest import RunMaker

FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    made = make_paper_run()
    manifest = Manifest(kind="snapshot", run_id=made.read_record().run_id, step=300)

    def fill(folder: Path) -> None:
        for name, content in FILES.items():
            (folder / name).write_bytes(content)

    publish(made.staging, made.snapshot(300), manifest, fill)
    return made


@pytest.mark.parametrize("form", [of_classes.FORMAT, of_language.FORMAT])
def test_a_snapshot_is_zipped_under_the_name_that_the_dashboard_looks_for(
    run: RunDir, form: ExportFormat, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["export", str(run.path), "--step", "300"])
    assert zip_export.main(form, "tasks.export") == 0
    target = run.exports / f"run-000300-{form.name}.zip"
    assert capsys.readouterr().out == f"step 300 as {form.name}: {target}\n"
    with zipfile.ZipFile(target) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
    with pytest.raises(RunFolderError, match="exists"):
        zip_export.main(form, "tasks.export")


def test_what_cannot_be_given_is_refused_and_leaves_nothing(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.zip"
    for option in (("--format", "kohya"), ("--dtype", "fp16")):
        monkeypatch.setattr(sys, "argv", ["export", str(run.path), "--step", "300", *option, "--output", str(target)])
        with pytest.raises(ConfigError, match=f"{option[0]} is {option[1]}"):
            zip_export.main(of_language.FORMAT, "tasks.export")
    (run.snapshot(300) / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunFolderError):
        zip_export.write(run, 300, target)
    assert not list(tmp_path.glob("*out.zip*"))
