from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from dashboard import report
from dashboard.charts import parts
from dashboard.data.reader import RunReader
from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from tasks.text_to_image.metrics import descriptions
from tests.conftest import run_module


@pytest.fixture
def reader(finished: FakeRun) -> RunReader:
    return RunReader(finished.run, finished.record.run_id)


def test_a_report_holds_everything_it_shows(reader: RunReader) -> None:
    text = report.render(reader)
    data = json.loads(re.search(r"^const data = (.*)$", text, re.MULTILINE)[1])  # type: ignore[index]
    assert {"training", "quality", "wall"} <= data.keys()
    assert set(data["wall"]["inlined"]["drawn"]) == {"0", "40", "80", "120", "160", "200"}
    assert all(url.startswith("data:image/webp") for url in data["wall"]["inlined"]["pictures"].values())
    assert "references/kimono/crimson-0.png" in data["wall"]["inlined"]["pictures"]
    modules = json.loads(re.search(r'<script type="importmap">(.*)</script>', text)[1])["imports"]  # type: ignore[index]
    sources = {name: base64.b64decode(url.partition(",")[2]).decode() for name, url in modules.items()}
    wanted = {
        found for source in sources.values() for found in re.findall(r'^import .* from "(.+)"', source, re.MULTILINE)
    }
    assert wanted <= modules.keys()
    outside = re.sub(r"<script>.*?</script>", "", text, count=1, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"]*//", outside)
    assert "$" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_a_report_opens_with_the_verdict_and_says_it_to_who_pastes_the_link(reader: RunReader) -> None:
    text = report.render(reader)
    body = text.partition("<body>")[2]
    assert body.index("<h1>Ship step 120</h1>") < body.index("<b>Typical</b>") < body.index('class="strip"')
    assert '<meta property="og:title" content="finished: Ship step 120">' in text
    assert '<meta name="description" content="Better than the base model on 8 of 8 prompts.">' in text
    assert re.search(r'og:image" content="data:image/webp;base64,\w', text)
    assert body.count('<li title="') == 6


def test_a_copy_stands_beside_the_training_picture_that_it_copies(tmp_path: Path) -> None:
    fake = create(tmp_path / "runs" / "copying", steps=40, snapshot_steps=20, descriptions=descriptions())
    write_history(fake)
    wall = report.wall_data(RunReader(fake.run, fake.record.run_id), [0, 40])
    assert wall
    assert wall["pointers"] == [["copy_of", "copy of"]]
    samples = wall["inlined"]["drawn"][40]["samples"]
    assert samples[0]["lookalikes"]["copy_of"]["id"] == "kimono/copied-7"
    assert wall["inlined"]["pictures"]["evaluations/step-00000040/lookalikes/0007.webp"].startswith("data:image/webp")


def test_every_colour_that_charts_name_is_defined(reader: RunReader) -> None:
    text = report.render(reader)
    for name in (parts.BLUE, parts.GREEN, parts.ORANGE, parts.RED, parts.GRAY, parts.VIOLET, parts.TEXT, parts.GRID):
        assert text.count(f"{name}: #") >= 2, f"{name}, in light and in dark"


def test_small_pictures_stay_what_they_are(reader: RunReader) -> None:
    folder, path = reader.run.path, "evaluations/step-00000040/images/00-1234.png"
    shown = Image.open(io.BytesIO(base64.b64decode(report.inline(reader.run, path).partition(",")[2])))
    assert shown.convert("RGB").tobytes() == Image.open(folder / path).convert("RGB").tobytes()
    assert report.inline(reader.run, "absent.png") == ""


def test_of_many_steps_the_first_best_and_newest_are_kept(reader: RunReader, monkeypatch: pytest.MonkeyPatch) -> None:
    best = reader.best()
    assert best
    monkeypatch.setattr(reader, "evaluated_steps", lambda: list(range(0, 2001, 40)))
    steps = report.chosen_steps(reader)
    assert len(steps) <= report.MAX_STEPS
    assert {0, best.step, 2000} <= set(steps)
    assert report.samples_note(steps, reader.evaluated_steps()).startswith(f"{len(steps)} of 51")


def test_text_of_others_is_no_markup(finished: FakeRun, reader: RunReader) -> None:
    for step in (0, 40, 120):
        result = finished.run.read_result(step)
        assert result
        samples = tuple(
            sample.model_copy(update={"prompt": f"</script><b>{sample.prompt}"}) for sample in result.samples
        )
        result.model_copy(update={"samples": samples}).write(finished.run.evaluation(step) / "result.json")
    text = report.render(reader)
    assert "</script><b>" not in text
    assert "&lt;/script&gt;&lt;b&gt;" in text.partition("<body>")[2].partition("</section>")[0]


def test_a_run_that_has_just_begun_has_a_report_too(finished: FakeRun) -> None:
    for path in (finished.run.train_csv, finished.run.metrics_csv, finished.run.best):
        path.unlink()
    finished.run.evaluations.rename(finished.run.path / "set-aside")
    text = report.render(RunReader(finished.run, finished.record.run_id))
    assert "<h1>Nothing is evaluated yet</h1>" in text


def test_the_command_writes_one_file_and_says_where(
    finished: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_module("dashboard.report", finished.run.path, "--output", tmp_path / "r.html", "--lang", "zh-Hant")
    assert done.returncode == 0
    assert done.stdout.strip() == str(tmp_path / "r.html")
    assert "<h1>採用第 120 步</h1>" in (tmp_path / "r.html").read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["dashboard.report", str(tmp_path)])
    assert report.main() == 2
    assert capsys.readouterr().err.startswith("error: ")
