from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.components.wall import wall_data
from dashboard.data import log_tail
from dashboard.data.best_snapshot import best_table_html, signals_html
from dashboard.data.comparison import Contestant, config_differences, evaluated_otherwise, score_table
from dashboard.data.drawings import drawings_html, sheets_html
from dashboard.data.machine import machine_usage
from dashboard.data.reader import RunReader
from dashboard.panels.settings import changes_table, settings_table
from dashboard.panels.system import memory_table
from dashboard.server.files import download_url, find_download, find_file, routes
from dashboard.story.curves import events_of
from dashboard.story.drawn import default_sides, drawn_steps
from dashboard.story.log import what_is_hidden
from dashboard.story.snapshots import verdict_words
from examples.fake_run.run import PROMPTS, FakeRun
from examples.fake_run.verdict import rebuild_tables
from shared.files.publication import publish
from shared.machine import gpu_readings
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.best import Confirmation
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.request import Request
from shared.run_folder.records.run_record import Change

REFERENCES = dict.fromkeys(PROMPTS, "x")
"""Digests of the real pictures."""


@pytest.fixture
def reader(finished: FakeRun) -> RunReader:
    return RunReader(finished.run, finished.record.run_id)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.2, -0.1, "better than the base model (95 %)"),
        (-0.1, 0.1, "no clear difference from the base model"),
        (0.1, 0.2, "worse than the base model (95 %)"),
        (float("nan"), 0.2, "evaluated, no interval"),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(low: float, high: float, words: str) -> None:
    assert verdict_words(80, {"status": "ok", "composite_low": low, "composite_high": high}) == words


def test_a_verdict_is_as_sure_as_the_evaluator_is_of_all_snapshots_at_once() -> None:
    row = {"status": "ok", "composite_low": -0.2, "composite_high": -0.1}
    assert verdict_words(80, {**row, "sure": "composite clip_t"}) == "better than the base model (95 %)"
    assert verdict_words(80, {**row, "sure": "none"}) == "no clear difference from the base model"
    assert verdict_words(80, {**row, "sure": ""}) == "better than the base model (95 %)", (
        "a table of an earlier version"
    )


def test_the_final_says_in_words_what_it_decided(reader: RunReader) -> None:
    best = reader.best()
    assert best
    row = {"status": "ok", "composite_low": -0.2, "composite_high": -0.1}
    final = Confirmation(
        step=120,
        finalists=(80, 120),
        agrees=False,
        better_than_base=True,
        composite=None,
        num_prompts=8,
        num_pictures=32,
        reason="",
    )
    decided = best.model_copy(update={"step": 120, "confirmation": final})
    assert verdict_words(120, row, decided) == "better than the base model (95 %); chosen by the final"
    assert verdict_words(80, row, decided).endswith("; the final chose step 120")
    assert verdict_words(40, row, decided) == "better than the base model (95 %)"
    doubtful = decided.model_copy(update={"confirmation": final.model_copy(update={"better_than_base": False})})
    assert verdict_words(120, row, doubtful).endswith(
        "chosen by the final, not proven better than the base model there"
    )


def test_a_snapshot_left_out_says_so_and_has_no_place_among_pictures_and_blanks(finished: FakeRun) -> None:
    leave_out(finished, 80, "evaluation.every is 2")
    reader = RunReader(finished.run, finished.record.run_id)
    row = reader.metrics().set_index("step").to_dict("index")[80]
    assert verdict_words(80, row) == "skipped: evaluation.every is 2"
    assert reader.skipped() == {80: "evaluation.every is 2"}
    assert 80 in reader.evaluated_steps()
    assert 80 not in [step for step, _ in reader.evaluation_versions()]
    assert not any(80 in reasons for reasons in reader.missing().values())
    assert 80 not in events_of(reader).evaluated


def leave_out(fake: FakeRun, step: int, reason: str) -> None:
    """Publish a result that says that a snapshot is not evaluated, in the place of its evaluation."""
    shutil.rmtree(fake.run.evaluation(step))
    result = EvaluationResult(run_id=fake.record.run_id, step=step, status="skipped", reason=reason)
    manifest = Manifest(kind="evaluation", run_id=fake.record.run_id, step=step)
    publish(fake.run.staging, fake.run.evaluation(step), manifest, lambda stage: result.write(stage / "result.json"))
    rebuild_tables(fake)


def test_contact_sheets_are_linked_where_there_are_any(finished: FakeRun) -> None:
    run = finished.run
    assert sheets_html(run, 40) == ""
    for kind in ("evaluations", "confirmations"):
        folder = run.result(kind, 40)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sheet.webp").write_bytes(bytes(2000))
    links = sheets_html(run, 40)
    assert 'href="pictures/finished/evaluations/step-00000040/sheet.webp"' in links
    assert 'href="pictures/finished/confirmations/step-00000040/sheet.webp"' in links
    assert "Contact sheet of the final (2 kB)" in links


def test_drawings_stand_over_their_prompts_and_open_the_file_itself(reader: RunReader) -> None:
    request = Request(id="evaluate-1", kind="evaluate", run_id="r", by="me", step=40, prompts=("a <b>red</b> coat",))
    sample = Sample(prompt_id="asked-01", prompt=request.prompts[0], seed=7, image="0 1.png", batch=0)
    result = EvaluationResult(run_id="r", step=40, status="ok", samples=(sample,))
    text = drawings_html("a run", request, result, OLDER_METRICS)
    url = "pictures/a%20run/requested/evaluate-1/step-00000040/images/0%201.png"
    assert f'href="{url}"' in text
    assert f'src="{url}?small"' in text
    assert "a &lt;b&gt;red&lt;/b&gt; coat" in text
    assert "seed 7 · CLIP text score –" in text


def test_runs_are_compared_with_the_pinned_one(reader: RunReader) -> None:
    best = reader.best()
    assert best
    evaluated = reader.result(best.step)
    assert evaluated
    metrics = {**best.metrics, "visual_loss": (best.metrics["visual_loss"] or 0) + 0.1, "color_loss": None}
    worse = best.model_copy(update={"metrics": metrics})
    worse_evaluated = with_losses(evaluated, "visual_loss", 0.1)
    settings = reader.known_settings
    other = settings | {"train": settings["train"] | {"learning_rate": 0.5}}
    pair = [
        Contestant("a", reader.known_settings, reader.descriptions, best, 200, REFERENCES, evaluated),
        Contestant("b", other, reader.descriptions, worse, 100, REFERENCES, worse_evaluated),
    ]
    scores = score_table(pair, "a").set_index("run")
    assert scores["visual loss"]["b"].endswith("(+0.100 [+0.100, +0.100] ▼)")  # pyright: ignore
    assert scores["fashion CLIP loss"]["b"].endswith("(+0.000 [+0.000, +0.000])"), "no difference has no direction"  # pyright: ignore
    assert "(" not in scores["visual loss"]["◆ a"]
    assert scores["color loss"]["b"].startswith("– ")  # pyright: ignore
    assert evaluated_otherwise(pair, "a") == []
    assert config_differences(pair).to_dict("records") == [
        {"setting": "train.learning_rate", "a": "0.0001", "b": "0.5"}
    ]


@pytest.mark.parametrize("what", ["references", "prompts", "drawn", "encoder"])
def test_runs_evaluated_otherwise_are_not_compared(reader: RunReader, what: str) -> None:
    best = reader.best()
    assert best
    evaluated = reader.result(best.step)
    assert evaluated
    changed = {
        "references": {},
        "prompts": {"samples": [sample.model_copy(update={"prompt": "another"}) for sample in evaluated.samples]},
        "drawn": {"generation": {**evaluated.generation, "num_inference_steps": 4}},
        "encoder": {"encoders": {"visual_loss": {"model": "another"}}},
    }[what]
    one = Contestant("a", reader.known_settings, reader.descriptions, best, 200, REFERENCES, evaluated)
    other = replace(one, name="b", evaluated=evaluated.model_copy(update=changed))
    other = replace(other, references={**REFERENCES, **dict.fromkeys(PROMPTS, "y")}) if what == "references" else other
    scores = score_table([one, other], "a").set_index("run")
    assert "(" not in scores["visual loss"]["b"]
    assert evaluated_otherwise([one, other], "a") == ([] if what == "encoder" else ["b"])


def test_an_encoder_is_the_same_wherever_its_weights_lie(reader: RunReader) -> None:
    best = reader.best()
    assert best
    evaluated = reader.result(best.step)
    assert evaluated
    found = [
        evaluated.model_copy(update={"encoders": {"visual_loss": {"model": folder, "digest": "1a"}}})
        for folder in ("/here", "/there")
    ]
    one, other = (
        Contestant(name, reader.known_settings, OLDER_METRICS, best, 200, REFERENCES, it)
        for name, it in zip("ab", found, strict=True)
    )
    assert "(" in score_table([one, other], "a").set_index("run")["visual loss"]["b"]
    assert evaluated_otherwise([one, other], "a") == []


def with_losses(evaluated: EvaluationResult, name: str, more: float) -> EvaluationResult:
    """The same pictures, each with so much more of a loss."""
    samples = [
        sample.model_copy(update={"metrics": {**sample.metrics, name: (sample.metrics[name] or 0) + more}})
        for sample in evaluated.samples
    ]
    return evaluated.model_copy(update={"samples": tuple(samples)})


def test_settings_that_somebody_set_are_marked(reader: RunReader) -> None:
    table = settings_table(reader.known_settings).set_index("setting")
    changed = set(table.index[table["changed"] != ""])  # pyright: ignore
    assert "train.max_train_steps" in changed
    assert not {"train.learning_rate", "lora.target_modules", "data.cache_dir"} & changed
    assert table["meaning"].str.len().min() > 0
    assert set(table.index) >= {"data.path", "evaluation.num_prompts"}


def test_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "trainer.log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(100_000)) + b"10 %\r50 %\r99 %\nlast\xff\n")
    assert log_tail.last_lines(path, 3).lines == ("line 99999", "99 %", "last\ufffd")
    assert log_tail.last_lines(path, 2, "LINE 9999").lines == ("line 99998", "line 99999")
    assert log_tail.last_lines(path, 10, "line 1 ").lines == ()
    assert log_tail.last_lines(tmp_path / "absent.log", 5) == log_tail.Tail()
    assert log_tail.last_lines(path, 3).unread_bytes == path.stat().st_size - log_tail.TAIL_BYTES


LOG = """2026-01-01 10:00:00 INFO trainer: begins
2026-01-01 10:00:01 WARNING trainer: slow
Traceback (most recent call last):
  File "a.py", line 1, in <module>
KeyError: 'step'
2026-01-01 10:00:02 INFO trainer: goes on
error: no room
       at all
hint: delete something
"""


def test_a_log_is_filtered_by_level_and_shown_from_its_first_error(tmp_path: Path) -> None:
    path = tmp_path / "trainer.log"
    path.write_text(LOG)
    lines = LOG.splitlines()
    errors = log_tail.last_lines(path, 100, level="errors")
    assert errors.lines == (*lines[2:5], *lines[6:]), "with the frames and the hint that belong to them"
    assert log_tail.last_lines(path, 100, level="warnings").lines == (*lines[1:5], *lines[6:])
    assert what_is_hidden(errors) == ["3 lines are hidden"]
    first = log_tail.last_lines(path, 4, start="first")
    assert first.lines == tuple(lines[2:6])
    assert log_tail.last_lines(path, 4, start="last").lines == tuple(lines[6:])
    assert log_tail.last_lines(path, 2, "INFO", start="first").lines == (lines[0], lines[5]), "none: the last lines"
    assert what_is_hidden(log_tail.last_lines(path, 100)) == []


def test_the_machine_is_measured_and_absent_gpus_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = machine_usage.read_machine(tmp_path)
    assert 0 < now.memory_used_bytes < now.memory_total_bytes
    assert 0 < now.disk_free_bytes <= now.disk_total_bytes
    monkeypatch.setattr(gpu_readings.pynvml, "nvmlInit", raise_no_driver)
    assert gpu_readings.read_gpus() == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12345")
    assert machine_usage.folder_bytes(tmp_path / "a") == 5


def raise_no_driver() -> None:
    raise gpu_readings.pynvml.NVMLError(gpu_readings.pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


def test_a_gpu_that_tells_little_is_shown_with_that(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = type("Memory", (), {"used": 5, "total": 10})
    for name, value in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda _: memory,
        "nvmlDeviceGetTemperature": lambda _, __: 61,
        "nvmlDeviceGetPowerUsage": lambda _: raise_no_driver(),
        "nvmlDeviceGetUtilizationRates": lambda _: raise_no_driver(),
        "nvmlDeviceGetName": lambda _: "T4",
    }.items():
        monkeypatch.setattr(gpu_readings.pynvml, name, value)
    assert gpu_readings.read_gpus() == [gpu_readings.Gpu("T4", 5, 10, celsius=61)]


def test_only_files_of_the_right_kind_inside_the_runs_folder_are_found(finished: FakeRun, tmp_path: Path) -> None:
    runs, pictures = tmp_path / "runs", {".png"}
    picture = "finished/references/kimono/crimson-0.png"
    outside = tmp_path / "outside.png"
    outside.write_bytes((runs / picture).read_bytes())
    (runs / "finished" / "link.png").symlink_to(outside)
    (runs / "finished" / "alias.png").symlink_to(runs / "finished" / "run.json")
    (runs / "finished" / "folder.png").mkdir()
    assert find_file(runs, picture, pictures) == runs / picture
    refused = [
        "finished/run.json",
        "../outside.png",
        "finished/link.png",
        "finished/alias.png",
        "finished/folder.png",
        str(outside),
        "a\0.png",
        "",
    ]
    assert [find_file(runs, path, pictures) for path in refused] == [None] * len(refused)


def test_large_pictures_have_small_copies_and_small_ones_are_sent_as_they_are(tmp_path: Path) -> None:
    for side in (64, 900):
        Image.effect_noise((side, side // 2), 50).save(tmp_path / f"{side}.png")
    with TestClient(Starlette(routes=routes(tmp_path))) as browser:
        assert browser.get("/pictures/64.png?small").content == (tmp_path / "64.png").read_bytes()
        assert browser.get("/pictures/900.png").content == (tmp_path / "900.png").read_bytes()
        small = browser.get("/pictures/900.png?v=1&small")
        assert small.headers["content-type"] == "image/webp"
        assert Image.open(io.BytesIO(small.content)).size == (384, 192)
        (tmp_path / "torn.png").write_bytes(b"\x89PNG")
        assert browser.get("/pictures/torn.png?small").content == b"\x89PNG"


def test_addresses_survive_any_name() -> None:
    assert download_url("a b", "snapshots/ü?#.safetensors") == "adapters/a%20b/snapshots/%C3%BC%3F%23.safetensors"


def test_only_files_of_snapshots_and_exports_are_downloaded(tmp_path: Path) -> None:
    for path in ("a/snapshots/step-1/net.bin", "a/exports/net.zip", "a/config.toml", "a/logs/exports/x", "exports/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / "a" / "exports" / "link").symlink_to(tmp_path / "a" / "config.toml")
    found = [path for path in ("a/snapshots/step-1/net.bin", "a/exports/net.zip") if find_download(tmp_path, path)]
    assert len(found) == 2
    for path in ("a/config.toml", "a/exports/link", "a/exports/../config.toml", "a/logs/exports/x", "exports/x", "a"):
        assert find_download(tmp_path, path) is None


def test_the_wall_gets_steps_and_words_but_no_pictures(reader: RunReader) -> None:
    drawn = drawn_steps(reader)
    sides = default_sides(reader, drawn)
    data = wall_data("finished", reader.run_id, descriptions=OLDER_METRICS, drawn=drawn, defaults=sides)
    assert [one["step"] for one in data["drawn"]] == [0, 40, 80, 120, 160, 200]
    assert data["defaults"] == {"left": 0, "right": 120}
    assert pd.Series(data["words"]).str.len().min() > 0
    assert "png" not in str(data)


def test_what_the_settings_began_as_and_what_was_changed_is_shown(reader: RunReader) -> None:
    table = settings_table(reader.known_settings).set_index("setting")
    assert (table["value"]["train.snapshot_steps"], table["default"]["train.snapshot_steps"]) == ("40", "100")
    assert table["value"]["data.train_size"] == "–"  # pyright: ignore
    changes = changes_table([Change(key="train.learning_rate", before=1e-4, after=None, step=120)])
    assert changes[["setting", "before", "after", "after step"]].values.tolist() == [
        ["train.learning_rate", "0.0001", "–", 120]
    ]


def test_the_memory_foreseen_is_told_by_program_and_part() -> None:
    memory = {"GPU 0": {"free_mib": 9000, "trainer": {"denoiser": 1600, "optimizer": 12, "VAE": 0}}}
    assert memory_table(memory).to_dict("records") == [
        {"place": "GPU 0", "program": "Trainer", "MiB": "1,612", "of which": "denoiser 1,600, optimizer 12"}
    ]


def test_a_verdict_shows_skill_and_every_sign_of_overfitting(reader: RunReader) -> None:
    best = reader.best()
    assert best
    page = best_table_html(best, reader.base_metrics(), reader.descriptions)
    skill = best.skill["visual_loss"]
    assert f"{skill.value:.2f} [{skill.low:.2f}, {skill.high:.2f}]" in page
    assert (
        best_table_html(best.model_copy(update={"skill": {}}), {}, reader.descriptions).count("<th>")
        == page.count("<th>") - 1
    )
    marks = [line.split('"')[0] for line in signals_html(best).split('<li class="')[1:]]
    assert marks == ["warn", "idle", "good"]
    assert signals_html(best.model_copy(update={"latest_signals": ()})) == ""
    evaluated = {"status": "ok", "composite_low": -2, "composite_high": -1, "signals": "gap copying"}
    assert verdict_words(80, evaluated) == "better than the base model (95 %); signs of overfitting: gap, copying"
