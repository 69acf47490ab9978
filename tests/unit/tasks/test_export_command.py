"""`python -m tasks.export`: what cannot be exported is refused before the task, and torch with it, is loaded."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from shared.errors import RunFolderError
from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest
from tasks import export
from tests.conftest import RunMaker


def test_a_deleted_file_of_another_trainer_is_refused_before_anything_is_loaded(
    make_paper_run: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, file = make_paper_run(), tmp_path / "checkpoint-300" / "pytorch_lora_weights.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"lora")
    publish(
        run.staging,
        run.snapshot(300),
        Manifest(kind="snapshot", run_id=run.read_record().run_id, step=300),
        lambda folder: (folder / file.name).symlink_to(file),
    )
    file.unlink()
    monkeypatch.setattr(sys, "argv", ["export", str(run.path), "--step", "300", "--format", "kohya"])
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"{name} is loaded"))
    with pytest.raises(RunFolderError, match=f"{file} is missing; if it was moved") as refused:
        export.main()
    assert refused.value.hint == "restore it: the run links to it and has no copy"
    file.write_bytes(b"another")
    with pytest.raises(RunFolderError, match="has 7 bytes, the manifest says 4") as refused:
        export.main()
    assert refused.value.hint.endswith("has no copy; or evaluate all again with --new")
