"""Flow models whose denoisers are trained whole: killed, resumed, evaluated, exported, drawn by plain diffusers."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tests.conftest import Warm, check, create_run, tiny_config
from tests.integration.training.test_whole_denoiser import DIE_ONCE_STEP_4_IS_SAVED, LAST_STEP, outcome
from tests.tiny_flow import MINIATURES

SECTIONS: dict[str, dict[str, object]] = {
    "lora": {"rank": 16, "lora_alpha": 16},
    "train": {"learning_rate": 3e-3, "validation_steps": 3, "snapshot_steps": 3, "ema_decay": 0.9},
    "evaluation": {"scheduler": "own", "guidance_scale": 3.0},
}
USUAL = {("z-image", "full"), ("flux1-dev", "scratch")}
"""Of each kind of transformer one; the others are asked in the slow tests."""
KINDS = [
    pytest.param((name, what), marks=[] if (name, what) in USUAL else [pytest.mark.slow], id=f"{name}-{what}")
    for name in MINIATURES
    for what in ("full", "scratch")
]


@dataclass(frozen=True)
class Trained:
    """A run that was killed once step 4 was saved, resumed and evaluated; beside an untouched one."""

    run: RunDir
    untouched: RunDir
    family: str


@pytest.fixture(scope="module", params=KINDS)
def trained(
    request: pytest.FixtureRequest,
    warm: Warm,
    tmp_path_factory: pytest.TempPathFactory,
    pictures: Path,
    pairs: Callable[[int], Path],
    tiny_flow: Callable[[str], Path],
) -> Trained:
    family, what = request.param
    miniature, folder = MINIATURES[family], tmp_path_factory.mktemp("whole-flow")
    data: dict[str, object] = {"cache_dir": str(folder / "cache"), "resolution": miniature.resolution}
    data |= {"sources": "files"} if miniature.num_sources else {}
    shown = pairs(miniature.num_sources) if miniature.num_sources else pictures
    sections = {**SECTIONS, "data": data, "train": {**SECTIONS["train"], "what": what}}
    killed, untouched = (
        create_run(tiny_config(folder / place, "run", tiny_flow(family), shown, sections))
        for place in ("killed", "whole")
    )
    assert warm.start("trainer", killed.path, prelude=DIE_ONCE_STEP_4_IS_SAVED).wait() == -signal.SIGKILL
    assert "resuming after step 4" in warm.run("trainer", killed.path).stderr()
    warm.run("trainer", untouched.path)
    warm.run("evaluator", killed.path, "--once")
    return Trained(killed, untouched, family)


def test_a_run_that_is_killed_ends_bit_for_bit_like_an_untouched_one(trained: Trained) -> None:
    assert outcome(trained.run) == outcome(trained.untouched)
    losses = [row["held_out_loss"] for row in read_rows(trained.run.validation_csv)]
    assert losses == [row["held_out_loss"] for row in read_rows(trained.untouched.validation_csv)]
    assert len(set(losses)) == 3, "at step 0, 3 and 6"


def test_an_export_draws_the_evaluated_pictures_in_plain_diffusers(
    trained: Trained, warm: Warm, tmp_path: Path
) -> None:
    assert check(trained.run) == []
    folder, out = tmp_path / "pipeline", tmp_path / "out"
    out.mkdir()
    warm.run("tasks.export", trained.run.path, "--step", LAST_STEP, "--dtype", "fp32", "--output", folder)
    evaluated = trained.run.evaluation(LAST_STEP)
    guidance = json.dumps(dict(MINIATURES[trained.family].guidance))
    warm.run("tests.integration.redraw", folder, "none", evaluated / "result.json", out, guidance)
    names = [path.name for path in sorted(out.glob("*.png"))]
    assert names
    for name in names:
        with Image.open(out / name) as own, Image.open(evaluated / "images" / name) as one:
            assert ImageChops.difference(own.convert("RGB"), one.convert("RGB")).getbbox() is None, name
        assert (trained.run.evaluation(0) / "images" / name).read_bytes() != (evaluated / "images" / name).read_bytes()
