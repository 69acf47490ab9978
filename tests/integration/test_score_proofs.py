"""Proofs 1 to 3 of docs/metrics.md through `run.py score`, on pictures of which none helped to choose a constant.

Garments of other seeds and combinations than any other test's, and those of scikit-image's photographs that
`test_proofs.py` names as untouched.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pocket.garments import render, split_catalogue
from tests.conftest import run_python
from tests.integration.test_proofs import (
    CHROMATIC,
    augmented,
    before_a_darker_wall,
    photographs,
    recoloured,
    variants,
)

SEED = 90_210
TUNED_ON = {"astronaut", "chelsea", "coffee", "coins", "rocket", "grass"}
NEAR = ("right", "left", "mirror")
FAR = ("flat", "grey", "blur", "other")

Report = dict[str, Any]
Pairs = dict[str, tuple[Image.Image, Image.Image]]


def score(folder: Path, pairs: Pairs) -> Report:
    """Write the pairs into two folders and ask the command."""
    for side in (0, 1):
        (folder / str(side)).mkdir(parents=True)
        for name, pair in pairs.items():
            pair[side].save(folder / str(side) / f"{name}.png")
    arguments = [folder / "0", folder / "1", "--fashion-clip", "pocket", "--legacy", "--json"]
    done = run_python("run.py", "score", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rearranged(pictures: list[Image.Image]) -> Pairs:
    """Each picture with what should stay near and what should be far from it; ids are `<number>-<what>`."""
    pairs: Pairs = {}
    for number, picture in enumerate(pictures):
        near, far = variants(picture)
        far.append(pictures[(number + 1) % len(pictures)])
        samples = dict(zip((*NEAR, *FAR), (*near, *far), strict=True))
        pairs |= {f"{number}-{what}": (picture, sample) for what, sample in samples.items()}
    return pairs


@pytest.fixture(scope="module")
def garment_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Twelve garments, recoloured, before a darker wall, and rearranged."""
    chosen = np.random.default_rng(SEED).permutation(len(split_catalogue()[1]))
    garments = [split_catalogue()[1][index] for index in chosen]
    shown = [render(garment, SEED + n) for n, garment in enumerate(garments) if garment.colour in CHROMATIC][:12]
    pairs = rearranged([picture for picture, _ in shown])
    for number, (picture, mask) in enumerate(shown):
        pairs[f"{number}-hue"] = (picture, recoloured(picture, mask))
        pairs[f"{number}-wall"] = (picture, before_a_darker_wall(picture, mask))
    return score(tmp_path_factory.mktemp("garments"), pairs)


@pytest.fixture(scope="module")
def photograph_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    pictures = [picture for name, picture in photographs(256).items() if name not in TUNED_ON]
    assert len(pictures) >= 8
    return score(tmp_path_factory.mktemp("photographs"), rearranged(pictures))


def column(report: Report, name: str, number: int) -> dict[str, float]:
    """What was done to a picture → what it costs."""
    rows = {key.split("-", 1)[1]: row for key, row in report["pairs"].items() if key.startswith(f"{number}-")}
    return {what: row[name] for what, row in rows.items()}


def numbers_of(report: Report) -> list[int]:
    return sorted({int(key.split("-")[0]) for key in report["pairs"]})


def test_hue_outweighs_the_wall_tenfold_and_the_original_has_it_the_other_way_round(garment_report: Report) -> None:
    ours = [column(garment_report, "color_loss", number) for number in numbers_of(garment_report)]
    assert len(ours) == 12
    assert all(costs["hue"] > 10 * costs["wall"] for costs in ours)
    originals = [column(garment_report, "legacy_color_loss", number) for number in numbers_of(garment_report)]
    assert np.mean([costs["hue"] for costs in originals]) < np.mean([costs["wall"] for costs in originals])


@pytest.mark.parametrize("name", ["garment_report", "photograph_report"])
def test_a_shift_and_a_mirror_are_nearer_than_grey_blur_and_another_picture(
    name: str, request: pytest.FixtureRequest
) -> None:
    report: Report = request.getfixturevalue(name)
    for number in numbers_of(report):
        costs = column(report, "visual_loss", number)
        assert max(costs[what] for what in NEAR) < min(costs[what] for what in FAR), (number, costs)


def test_the_original_prefers_grey_or_blur_on_most_photographs(photograph_report: Report) -> None:
    wrong = 0
    for number in numbers_of(photograph_report):
        costs = column(photograph_report, "legacy_visual_loss", number)
        wrong += max(costs[what] for what in NEAR) >= min(costs[what] for what in FAR)
    assert wrong > len(numbers_of(photograph_report)) / 2


def test_matched_pairs_are_told_from_shuffled_ones_after_crop_flip_and_exposure(tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    pictures = [render(garment, SEED + number)[0] for number, garment in enumerate(split_catalogue()[1])]
    report = score(
        tmp_path, {str(number): (picture, augmented(picture, rng)) for number, picture in enumerate(pictures)}
    )
    for loss in ("visual_loss", "fashion_clip_loss", "color_loss"):
        assert report["anchors"][loss]["matching"] >= 0.9, loss
