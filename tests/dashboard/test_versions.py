from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.data import notes
from dashboard.data.versions import is_live, version, versions
from examples.fake_run.run import FakeRun
from shared.run_folder import requests
from shared.run_folder.heartbeat import hold_role
from tests.dashboard.test_pages import PAGES, open_page, page

__all__ = ["page"]


def test_a_version_changes_with_its_part_and_with_no_other(finished: FakeRun) -> None:
    before = versions(finished.run)
    assert versions(finished.run) == before
    notes.star(finished.run, 40, True)
    after = versions(finished.run)
    assert {part for part in before if before[part] != after[part]} == {"notes"}
    requests.answer(finished.run, requests.submit_evaluation(finished.run, 80, "a test", ["a hat"]), "seen", 80)
    with finished.run.train_csv.open("a") as file:
        file.write("201\n")
    assert {part for part in before if after[part] != versions(finished.run)[part]} == {"requests", "train"}
    assert version(finished.run, ["train", "notes"]) == "-".join(
        versions(finished.run)[part] for part in ("train", "notes")
    )


def test_a_run_is_live_while_a_program_writes_its_heartbeat(finished: FakeRun) -> None:
    long_ago = time.time() - 100
    for path in finished.run.processes.glob("*.json"):
        os.utime(path, (long_ago, long_ago))
    assert not is_live(finished.run)
    with hold_role(finished.run, "trainer"):
        assert is_live(finished.run)


@pytest.mark.parametrize("name", [name for name in PAGES if name not in ("runs", "vote", "data")])
def test_no_panel_of_a_finished_run_has_a_clock(page: AppTest, finished: FakeRun, name: str) -> None:
    """Runs, Vote and Data have no panel: they ask for what they show by themselves."""
    shutil.rmtree(finished.run.control)
    open_page(page, name)
    watchers = [one.proto for one in page.get("bidi_component") if one.proto.component_name == "darkroom_watch"]
    told = [json.loads(watcher.json) for watcher in watchers]
    assert told, "it is drawn again when its files change"
    clocks = [one["again"] for one in told]
    assert clocks == ([10.0, None] if name == "compare" else [None] * len(told)), "Compare looks for a second run"
