"""Each flow family from training to a shipped file, on a miniature of its true classes: killed, resumed, evaluated."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from safetensors.torch import load_file

from shared.data.pictures import on_white
from shared.run_folder import requests
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tasks.text_to_image import export
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.conftest import Warm, check, create_run, tiny_config
from tests.tiny_flow import MINIATURES, SIBLINGS

OWN_PROMPTS = "mine.txt"
EDITS_OF_A_MILLION_PIXELS = {"qwen-image-edit", "qwen-image-edit-plus"}
"""Their sources have that size, however small the pictures are."""
MOST_SECONDS = 900
"""Of one program, on a machine that has other things to do."""
TWINS = {"flux1-schnell", *SIBLINGS}
"""They differ from another miniature in little, which their unit tests show."""
ALL = {**MINIATURES, **SIBLINGS}
SECTIONS: dict[str, dict[str, object]] = {
    "lora": {"rank": 2, "lora_alpha": 3, "dropout": 0.25},
    "train": {"learning_rate": 1e-2, "snapshot_steps": 3, "validation_steps": 3, "timestep_shift": "resolution"},
    "evaluation": {"scheduler": "own", "guidance_scale": 3.0},
}
DIE_BEFORE_STEP_5 = """
import os, signal
from trainer.learner import Learner
update, steps = Learner.update, []
def dying(self):
    steps.append(1)
    if len(steps) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self)
Learner.update = dying
"""
NEVER_LOADS_TEXT_ENCODERS = """
from tasks.text_to_image.families.encoder_files import EncoderFiles
EncoderFiles.load = None
"""


@dataclass(frozen=True)
class Trained:
    """A run that was killed before its fifth step, resumed to its sixth and evaluated; beside an untouched one."""

    run: RunDir
    untouched: RunDir
    model: Path
    guidance: Mapping[str, Any]
    log: str
    num_sources: int


def _marked(name: str) -> object:
    slow = EDITS_OF_A_MILLION_PIXELS | TWINS
    return pytest.param(name, marks=pytest.mark.slow) if name in slow else name


@pytest.fixture(scope="module", params=[_marked(name) for name in ALL])
def trained(
    request: pytest.FixtureRequest,
    warm: Warm,
    tmp_path_factory: pytest.TempPathFactory,
    pictures: Path,
    pairs: Callable[[int], Path],
    tiny_flow: Callable[[str], Path],
) -> Trained:
    model, miniature = tiny_flow(request.param), ALL[request.param]
    folder = tmp_path_factory.mktemp("flow")
    data = {"cache_dir": str(folder / "cache"), "resolution": miniature.resolution}
    data |= {"sources": "files"} if miniature.num_sources else {}
    data |= {"train_size": 4} if request.param in EDITS_OF_A_MILLION_PIXELS else {}
    shown = pairs(miniature.num_sources) if miniature.num_sources else pictures
    sections = {**SECTIONS, "data": data}
    if miniature.num_sources:
        named = "".join(f" --ci {source}" for source in sorted(shown.rglob("*.source-*.png"))[: miniature.num_sources])
        (folder / OWN_PROMPTS).write_text(f"turn it into a coat{named}\n")
        sections["evaluation"] = {**SECTIONS["evaluation"], "prompts": str(folder / OWN_PROMPTS)}
    if request.param in SIBLINGS:  # the evaluator encodes each prompt alone; two at once round otherwise in these CLIPs
        sections["evaluation"] = {**SECTIONS["evaluation"], "batch_size": 1}
    runs = [create_run(tiny_config(folder / place, "run", model, shown, sections)) for place in ("killed", "whole")]
    assert warm.start("trainer", runs[0].path, prelude=DIE_BEFORE_STEP_5).wait(MOST_SECONDS) == -signal.SIGKILL
    resumed = warm.run("trainer", runs[0].path, prelude=NEVER_LOADS_TEXT_ENCODERS, seconds=MOST_SECONDS)
    warm.run("trainer", runs[1].path, prelude=NEVER_LOADS_TEXT_ENCODERS, seconds=MOST_SECONDS)
    if miniature.num_sources:
        pair = runs[0].read_record().dataset.held_out[0]
        requests.submit_evaluation(runs[0], 6, "a test", [f"turn it into a hat --ci {pair}"])
    swapped = ("--once", "evaluation.blocks_to_swap=1")  # for this call: the same pictures
    warm.run("evaluator", runs[0].path, *swapped, seconds=MOST_SECONDS)
    return Trained(runs[0], runs[1], model, miniature.guidance, resumed.stderr(), miniature.num_sources)


def test_killed_and_resumed_it_ends_bit_for_bit_like_an_untouched_run(trained: Trained) -> None:
    assert "resuming after step" in trained.log
    for place in ("snapshots/step-00000006", "checkpoints/step-00000006"):
        for file in sorted((trained.untouched.path / place).iterdir()):
            if file.name != "manifest.json":
                assert (trained.run.path / place / file.name).read_bytes() == file.read_bytes(), file
    columns = ("step", "loss", "grad_norm")
    rows, others = (read_rows(run.train_csv) for run in (trained.run, trained.untouched))
    assert [[row.get(key) for key in columns] for row in rows] == [[row.get(key) for key in columns] for row in others]
    losses = [row["held_out_loss"] for row in read_rows(trained.run.validation_csv)]
    assert losses == [row["held_out_loss"] for row in read_rows(trained.untouched.validation_csv)]
    assert len(set(losses)) == 3, "at step 0, 3 and 6"


def test_every_weight_of_the_adapter_has_learnt(trained: Trained) -> None:
    first, last = (load_file(trained.run.snapshot(step) / LORA_FILE) for step in (3, 6))
    assert first.keys() == last.keys()
    assert all((first[key] != last[key]).any() for key in first)
    assert all(last[key].any() for key in last)


def test_every_snapshot_is_evaluated_and_differs_from_the_base_model(trained: Trained) -> None:
    rows = {row["step"]: row["status"] for row in read_rows(trained.run.metrics_csv)}
    assert rows == {"0": "ok", "3": "ok", "6": "ok"}
    assert difference(drawn(trained, 6), drawn(trained, 0)) > 0
    result = trained.run.read_result(6)
    assert result
    assert result.generation["prediction_type"] == "flow"
    assert result.generation["blocks_to_swap"] == 1
    assert trained.run.read_config().evaluation.blocks_to_swap == 0
    own = [sample for sample in result.samples if not sample.has_reference]
    assert [sample.num_sources for sample in own] == ([trained.num_sources] if trained.num_sources else [])
    asked = [trained.run.read_result(6, f"requested/{path.name}") for path in sorted(trained.run.requested.glob("*"))]
    drawn_of = [(sample.prompt, sample.num_sources) for result in asked if result for sample in result.samples]
    assert drawn_of == ([("turn it into a hat", trained.num_sources)] if trained.num_sources else [])
    assert check(trained.run) == []


def test_what_is_shipped_draws_the_evaluated_pictures_in_plain_diffusers_and_unloads(
    trained: Trained, warm: Warm, tmp_path: Path
) -> None:
    exported = tmp_path / "lora.safetensors"
    export.export(export.read(trained.run, 6), "kohya", "fp32", exported)
    assert all(key.startswith("transformer.") and ".alpha" not in key for key in load_file(exported))
    snapshot = trained.run.snapshot(6) / LORA_FILE
    unloaded = tmp_path / snapshot.stem / "unloaded"
    unloaded.mkdir(parents=True)
    for file, most in ((snapshot, 0), (exported, 1)):  # of 255: the export applies the scale in another order
        out = tmp_path / file.stem
        out.mkdir(exist_ok=True)
        result = trained.run.evaluation(6) / "result.json"
        arguments = (trained.model, file, result, out, json.dumps(dict(trained.guidance)))
        warm.run("tests.integration.redraw", *arguments, seconds=MOST_SECONDS)
        redrawn = {path.name: path for path in sorted(out.glob("*.png"))}
        evaluated = drawn(trained, 6)
        assert redrawn
        assert difference(redrawn, {name: evaluated[name] for name in redrawn}) <= most
    base = drawn(trained, 0)
    without = {path.name: path for path in sorted(unloaded.glob("*.png"))}
    assert difference(without, {name: base[name] for name in redrawn}) == 0, "unloaded, the base model is as it was"


def drawn(trained: Trained, step: int) -> dict[str, Path]:
    """Place in the result → picture: names hold the seed, which is the same at every step."""
    return {path.name: path for path in sorted((trained.run.evaluation(step) / "images").glob("*.png"))}


def difference(pictures: dict[str, Path], others: dict[str, Path]) -> int:
    """Largest difference of a value, of 255."""
    assert pictures.keys() == others.keys()
    highest = 0
    for name, path in pictures.items():
        with Image.open(path) as one, Image.open(others[name]) as other:
            extremes: Any = ImageChops.difference(on_white(one), on_white(other)).getextrema()
            highest = max(highest, *(high for _, high in extremes))
    return highest
