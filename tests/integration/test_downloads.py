"""An adapter downloaded in another program's form: the real program converts it, the real route serves it."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.server.files import download_url, routes
from dashboard.server.jobs import exports
from dashboard.server.jobs.exports import Exports, target_of
from shared.run_folder.run_dir import RunDir
from tests.conftest import Warm, until

STEP = 4


def test_a_snapshot_is_converted_once_and_downloaded(
    finished: RunDir, warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "subprocess", SimpleNamespace(Popen=warm.popen, DEVNULL=subprocess.DEVNULL))
    run = RunDir(tmp_path / "dress")
    shutil.copytree(finished.path, run.path)
    server, client = Exports(), TestClient(Starlette(routes=routes(tmp_path)))
    forms = [form for form in run.read_record().exports if not form.file]
    for form in forms:
        server.start(run, STEP, form)
        until(lambda: not server.is_busy(), "the export to end")
        assert server.failure(target_of(run, STEP, form)) == ""
    kohya, peft = (target_of(run, STEP, form) for form in forms)
    answer = client.get(download_url("dress", f"exports/{kohya.name}"))
    assert answer.status_code == 200
    assert kohya.name in answer.headers["content-disposition"]
    assert {key.partition("_")[0] for key in load(answer.content)} == {"lora"}
    archive = zipfile.ZipFile(io.BytesIO(client.get(download_url("dress", f"exports/{peft.name}")).content))
    assert set(archive.namelist()) >= {"unet/adapter_config.json", "unet/adapter_model.safetensors"}
    written = kohya.stat().st_mtime_ns
    server.start(run, STEP, forms[0])
    assert not server.is_busy()
    assert kohya.stat().st_mtime_ns == written
