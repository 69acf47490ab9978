"""Stop training, pressed in a real browser on a real run: run.py, trainer, evaluator and dashboard, nothing faked."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page

from shared.config.dumping import dump_config
from shared.run_folder import requests
from shared.run_folder.heartbeat import read_status
from shared.run_folder.pending import unevaluated
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import Warm, tiny_config, until

pytestmark = pytest.mark.browser

FAR_AWAY = 100_000


def test_stop_pressed_in_chromium_ends_training_within_a_step_and_the_same_command_resumes(
    tmp_path: Path, pictures: Path, browser: Browser, warm: Warm
) -> None:
    settings = {"train": {"max_train_steps": FAR_AWAY, "snapshot_steps": 5000, "checkpointing_steps": 5000}}
    config = tmp_path / "long.toml"
    config.write_text(dump_config(tiny_config(tmp_path / "runs", "long", Path("pocket"), pictures, settings)))
    run = RunDir(tmp_path / "runs" / "long")

    command = warm.start("run", "train", config, environment={"COLUMNS": "200"}, log=tmp_path / "first.txt")
    until(lambda: "dashboard: http" in (tmp_path / "first.txt").read_text(), "the dashboard's address")
    until(lambda: len(read_rows(run.train_csv)) > 2, "the first steps")
    press_stop(browser, (tmp_path / "first.txt").read_text())
    assert command.wait() == 0

    (request,) = requests.requests(run)
    answer = requests.read_answer(run, request)
    assert request.by == "dashboard"
    assert answer.seen
    assert answer.saved
    assert answer.stopped
    last = int(read_rows(run.train_csv)[-1]["step"])
    assert last == answer.step == max(steps_in(run.snapshots)) == max(steps_in(run.checkpoints))
    assert not unevaluated(run)

    command = warm.start("run", "train", config, "--no-dashboard", log=tmp_path / "second.txt")
    until(lambda: int(read_rows(run.train_csv)[-1]["step"]) > last, "the resumed run to go on")
    command.kill(signal.SIGTERM)
    assert command.wait() == 0
    trainer = read_status(run, "trainer")
    assert trainer
    assert trainer.state == "stopped"
    steps = [int(row["step"]) for row in read_rows(run.train_csv)]
    assert steps == list(range(1, trainer.step + 1))


def press_stop(browser: Browser, output: str) -> None:
    """Open the address that run.py printed and press both buttons."""
    address = re.search(r"dashboard: (http\S+)", output)
    assert address
    page = browser.new_page()
    page.set_default_timeout(60_000)
    until(lambda: answers(page, address[1]), "the dashboard to answer")
    page.locator("header .stop:enabled").click()
    page.locator(".confirm-stop").click()
    page.locator(".under .chain").wait_for()  # the run may end, and the dashboard with it, before it says more
    page.close()


def answers(page: Page, address: str) -> bool:
    """Whether the page could be loaded."""
    try:
        page.goto(address)
    except Error:
        return False
    return True
