"""`run.py train` with a webhook, as a user starts it."""

from __future__ import annotations

from pathlib import Path

from shared.config.dumping import dump_config
from tests.conftest import Warm, paper_model, tiny_config
from tests.unit.shared.followers.test_webhook import Listener, listener  # noqa: F401 - a fixture


def test_a_run_that_cannot_even_begin_is_told_by_run_py(
    tmp_path: Path,
    pictures: Path,
    listener: Listener,  # noqa: F811
    warm: Warm,
) -> None:
    config = tmp_path / "dress.toml"
    config.write_text(
        dump_config(tiny_config(tmp_path / "runs", "dress", paper_model(tmp_path / "model"), pictures, {}))
    )
    options = [f"run.webhook={listener.url}", "--no-evaluator", "--no-dashboard"]
    command = warm.start("run", "train", config, *options)
    assert command.wait() == 3, command.stdout() + command.stderr()
    assert listener.posted[-1]["event"] == "failed"
    assert listener.posted[-1]["text"].startswith("dress: failed at step 0 of ")
    written = [path for path in (tmp_path / "runs" / "dress").rglob("*") if path.is_file()]
    assert [path for path in written if listener.url.encode() in path.read_bytes()] == []
