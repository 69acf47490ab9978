from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.server.jobs import exports
from dashboard.server.jobs.exports import Exports, target_of
from examples.fake_run.run import FakeRun
from shared.run_folder.records.export_format import EARLIER_EXPORTS
from tests.conftest import Warm, until
from tests.dashboard.test_pages import open_page, page, text_of  # noqa: F401 - a fixture

STEP = 80
_, KOHYA, PEFT = EARLIER_EXPORTS


@pytest.fixture(autouse=True)
def _no_exports_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "EXPORTS", exports.Exports())


def test_an_export_that_fails_says_why_and_can_be_tried_again(
    page: AppTest,  # noqa: F811
    finished: FakeRun,
    warm: Warm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fake run's adapters are no adapters: the real program refuses them."""
    begin = tmp_path / "begin"
    held = f"import time, pathlib\nwhile not pathlib.Path({str(begin)!r}).exists(): time.sleep(0.01)"
    popen = partial(warm.popen, prelude=held)
    monkeypatch.setattr(exports, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))
    page.query_params["step"] = str(STEP)
    open_page(page, "snapshots")
    key = f"export_kohya_{finished.record.run_id}_{STEP}"
    page.button(key=key).click().run()
    assert page.button(key=key).disabled
    assert page.button(key=key).label.startswith("Converting for `ComfyUI, A1111, Forge` … ")
    assert page.button(key=key.replace("kohya", "peft")).disabled
    begin.touch()
    until(lambda: not exports.EXPORTS.is_busy(), "the export to end")
    page.run()
    (error,) = page.error
    assert "pytorch_lora_weights.safetensors" in error.value
    assert "Traceback" not in error.value
    assert not page.button(key=key).disabled
    assert not finished.run.exports.exists()


def test_an_export_that_is_there_is_offered_not_made(page: AppTest, finished: FakeRun) -> None:  # noqa: F811
    target = target_of(finished.run, STEP, KOHYA)
    assert target.name == "finished-000080-kohya-fp16.safetensors"
    target.parent.mkdir()
    target.write_bytes(b"x" * 2_000_000)
    page.query_params["step"] = str(STEP)
    open_page(page, "snapshots")
    assert f'href="adapters/finished/exports/{target.name}"' in text_of(page)
    assert "Download for ComfyUI, A1111, Forge (2 MB)" in text_of(page)
    keys = [button.key for button in page.button]
    assert f"export_kohya_{finished.record.run_id}_{STEP}" not in keys
    assert f"export_peft_{finished.record.run_id}_{STEP}" in keys


def test_many_viewers_start_one_export(finished: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(exports, "python_module", lambda *_: wait)
    server = Exports()
    viewers = [threading.Thread(target=server.start, args=(finished.run, STEP, KOHYA)) for _ in range(8)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    server.start(finished.run, STEP, PEFT)
    job = server.running(target_of(finished.run, STEP, KOHYA))
    assert job
    assert server.running(target_of(finished.run, STEP, PEFT)) is None
    job.process.kill()
    job.process.wait()
    assert server.failure(target_of(finished.run, STEP, KOHYA)) == "exit code -9"
    assert not server.is_busy()
