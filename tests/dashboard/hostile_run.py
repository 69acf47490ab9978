"""A run folder that somebody else made, with everything in it that a page could trip over."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

from examples.fake_run.run import FakeRun, create
from shared.run_folder import requests
from shared.run_folder.run_dir import RunDir

MARKUP = (
    "![t](http://tracker.example/p.png) <img src=http://tracker.example/i.png onerror=alert(1)> :red[**r**] `x` $y$"
)
"""As a reason, a caption, a notice, an error: what would load a picture from elsewhere, or be drawn as markup."""
SECRET = "root:hostile-secret:0:0"


def hostile_texts(fake: FakeRun) -> None:
    """Texts that would be markup, in every record that holds a text for people."""
    run = fake.run
    edit(run.best, reason=MARKUP)
    edit(run.processes / "trainer.json", message=MARKUP, notices=[MARKUP], state="failed")
    edit(run.record, preset={"name": MARKUP, "reason": MARKUP})
    exports = json.loads(run.record.read_text())["exports"]
    edit(run.record, exports=[one | {"programs": MARKUP} for one in exports])
    edit(run.evaluation(160) / "result.json", status="failed", reason=MARKUP)
    for path in run.evaluations.glob("*/result.json"):
        edit(path, missing=dict.fromkeys(json.loads(path.read_text())["missing"], MARKUP))
    requests.ignore(run, requests.submit_evaluation(run, 80, MARKUP, [MARKUP]), MARKUP)
    edit(run.snapshot(120) / "manifest.json", files=[{"name": "x.safetensors", "size": 1, "sha256": MARKUP}])
    (run.path / "notes.json").write_text(json.dumps({"schema": "1.0", "starred": [80], "texts": {"80": MARKUP}}))
    rows = run.metrics_csv.read_text().splitlines()
    quoted = MARKUP.replace('"', "'").replace(",", ";")
    run.metrics_csv.write_text("\n".join(row.replace(",ok,,", f",failed,{quoted},", 1) for row in rows) + "\n")
    (run.logs / "trainer.log").write_text(f"{MARKUP}\x1b[31m\x00\ud800\n", errors="replace")
    (run.logs / "![t](x).log").write_text("no program is called so\n")
    create(run.path.parent / "**b** :red[x] <i>", steps=40, snapshot_steps=40)


def hostile_files(fake: FakeRun, outside: Path) -> None:
    """Damaged records, links out of the run, named pipes and folders where files belong."""
    run = fake.run
    outside.write_text(f"{SECRET}\n")
    edit(run.processes / "trainer.json", heartbeat="yesterday")
    (run.processes / "evaluator.json").write_text("[" * 100_000)
    edit(run.processes / "supervisor.json", pid=-1) if (run.processes / "supervisor.json").exists() else None
    instead(run.best, os.mkfifo)
    instead(
        run.metric_descriptions, lambda path: path.symlink_to(outside)
    ) if run.metric_descriptions.exists() else None
    instead(run.evaluation(80) / "result.json", os.mkfifo)
    instead(run.evaluation(120) / "result.json", lambda path: path.write_text('{"schema": "1.0", "step": "\\ud800"}'))
    instead(run.snapshot(80) / "manifest.json", lambda path: path.write_text("{"))
    instead(run.snapshot(120) / "manifest.json", os.mkfifo)
    instead(run.validation_csv, lambda path: path.mkdir())
    instead(run.train_csv, lambda path: path.symlink_to(outside))
    instead(run.logs / "trainer.log", os.mkfifo)
    instead(run.logs / "evaluator.log", lambda path: path.symlink_to(outside))
    (run.logs / "supervisor.log").mkdir()
    (run.path / "notes.json").write_text('{"schema": "99.0", "texts": {"80": "from a later version"}}')
    (run.control / "stop-1.json").write_text("null")
    os.mkfifo(run.control / "evaluate-1.json")
    run.exports.mkdir(exist_ok=True)
    os.mkfifo(run.exports / "pipe.zip")
    (run.snapshots / f"step-{'9' * 40}").mkdir()
    half_made(run)


def half_made(run: RunDir) -> None:
    """Beside the run: one that is being copied, under the name that copying programs give."""
    folder = run.path.parent / f".{run.path.name}.a1b2c3"
    folder.mkdir()
    for name in ("run.json", "config.toml"):
        (folder / name).write_bytes((run.path / name).read_bytes())


def huge_picture(path: Path, side: int = 60_000) -> None:
    """A PNG of a few kilobytes whose header promises many gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(bytes(1 << 16))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def edit(path: Path, **changes: object) -> None:
    """Change fields of a record."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def instead(path: Path, make: object) -> None:
    """Put something else in a file's place."""
    path.unlink(missing_ok=True)
    make(path)  # type: ignore[operator]
