"""The held-out loss: what it asks, always the same; and what its row says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared.data.dataset import Pair
from tasks.text_to_image.training.held_out_loss import NUM_STRATA, Losses, choose_probe, noise_of


def test_noise_depends_on_the_picture_and_the_stratum_alone() -> None:
    torch.manual_seed(1)
    once = noise_of("dress/001", (4, 8, 8))
    torch.manual_seed(2)
    assert torch.equal(noise_of("dress/001", (4, 8, 8)), once)
    assert not torch.equal(noise_of("dress/002", (4, 8, 8)), once)
    assert len({tuple(stratum.flatten().tolist()) for stratum in once}) == NUM_STRATA
    assert once.std().item() == pytest.approx(1, abs=0.05)


def test_the_probe_is_as_many_training_pictures_chosen_by_seed() -> None:
    training = [Pair(f"{number:02d}", Path(f"{number}.png"), "a dress") for number in range(20)]
    probe = choose_probe(training, 5, seed=0)
    assert [pair.id for pair in probe] == sorted({pair.id for pair in probe})
    assert len(probe) == 5
    assert choose_probe(training[::-1], 5, seed=0) == probe
    assert choose_probe(training, 5, seed=1) != probe
    assert choose_probe(training[:3], 5, seed=0) == training[:3], "there are no more"


def test_a_row_holds_means_and_their_difference() -> None:
    held_out = torch.arange(2 * NUM_STRATA, dtype=torch.float64).reshape(2, NUM_STRATA)
    losses = Losses(held_out, torch.full((2, NUM_STRATA), 0.5, dtype=torch.float64), ("a", "b", "c", "d"))
    row = losses.row()
    assert losses.published().held_out == {"a": 3.5, "b": 11.5}
    assert losses.published().probe == {"c": 0.5, "d": 0.5}
    assert (row["held_out_loss"], row["train_probe_loss"], row["gap"]) == (7.5, 0.5, 7.0)
    assert (row["held_out_t0"], row["held_out_t7"], row["num_pictures"]) == (4.0, 11.0, 2)
    assert tuple(row) == (
        "held_out_loss", "train_probe_loss", "gap", *(f"held_out_t{stratum}" for stratum in range(8)), "num_pictures"
    )  # fmt: skip
