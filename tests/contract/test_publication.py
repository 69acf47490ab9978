"""Publication with real processes: killed at every step of it, and raced for one name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.files.publication import sweep, verify
from tests.conftest import run_python

KILL_EVERYWHERE = """
import json, os, signal, sys
from pathlib import Path
from shared.files import publication
from shared.run_folder.records.manifest import Manifest

root = Path(sys.argv[1])
calls, wanted = 0, None

def point(real):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = real(*arguments, **options)
        calls += 1
        if calls == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome
    return call

def fill(folder):
    (folder / "weights").write_bytes(b"w" * 5000)
    (folder / "images").mkdir()
    (folder / "images" / "1.png").write_bytes(b"p" * 5000)

def publish(number):
    for name in ("mkdir", "write_bytes", "chmod", "rename"):
        setattr(Path, name, point(getattr(Path, name)))
    os.fsync = point(os.fsync)
    manifest = Manifest(kind="snapshot", run_id="r", step=number)
    publication.publish(root / ".staging", root / "snapshots" / f"step-{number:08d}", manifest, fill)

wanted = 0
while True:
    wanted += 1
    pid = os.fork()
    if pid == 0:
        publish(wanted)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(json.dumps({"point": wanted, "pid": pid, "code": code}), flush=True)
    if code == 0:
        break
"""

RACE = """
import json, os, sys
from pathlib import Path
from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest

root = Path(sys.argv[1])
for round in range(1, 11):
    gate_out, gate_in = os.pipe()
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            os.close(gate_in)
            os.read(gate_out, 1)
            manifest = Manifest(kind="snapshot", run_id="r", step=round)
            won = publish(root / ".staging", root / "snapshots" / f"step-{round:08d}", manifest,
                          lambda folder: (folder / "who").write_text(str(os.getpid())))
            os._exit(0 if won else 1)
        children.append(pid)
    os.close(gate_in)  # all of them start
    won = [pid for pid in children if os.waitpid(pid, 0)[1] == 0]
    print(json.dumps({"round": round, "won": won}), flush=True)
"""


def drive(script: str, folder: Path) -> list[dict[str, Any]]:
    (folder / "snapshots").mkdir()
    outcome = run_python("-c", script, folder)
    assert outcome.returncode == 0, outcome.stderr
    return [json.loads(line) for line in outcome.stdout.splitlines()]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A publication attempted again and again, killed one write boundary later each time, and at last let through."""
    folder = tmp_path_factory.mktemp("killed")
    return folder, drive(KILL_EVERYWHERE, folder)


def test_every_write_boundary_was_tried(killed: tuple[Path, list[dict[str, Any]]]) -> None:
    _, attempts = killed
    assert [attempt["code"] for attempt in attempts] == [-9] * (len(attempts) - 1) + [0]
    assert len(attempts) > 20


def test_a_name_that_exists_is_whole_wherever_the_publisher_was_killed(
    killed: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, attempts = killed
    published = sorted((folder / "snapshots").iterdir())
    for path in published:
        assert len(verify(path).files) == 2
    last = attempts[-1]["point"]
    assert published[-1].name == f"step-{last:08d}"
    assert 1 < len(published) < 6, "only a kill after the rename leaves a name"


def test_what_the_killed_left_is_swept(killed: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, attempts = killed
    litter = list((folder / ".staging").iterdir())
    assert len(litter) > len(attempts) / 2
    sweep(folder / ".staging")
    assert list((folder / ".staging").iterdir()) == []


def test_exactly_one_of_four_publishers_of_a_name_wins(tmp_path: Path) -> None:
    for outcome in drive(RACE, tmp_path):
        assert len(outcome["won"]) == 1, outcome
        folder = tmp_path / "snapshots" / f"step-{outcome['round']:08d}"
        verify(folder)
        assert (folder / "who").read_text() == str(outcome["won"][0])
    assert list((tmp_path / ".staging").iterdir()) == []
