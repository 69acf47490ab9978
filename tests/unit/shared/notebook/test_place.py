"""Colab, Kaggle and Jupyter by their marks; cards by their presets and by what torch is built for."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.machine.hardware import Gpu
from shared.notebook.place import card_problem, here
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models.presets import recommend

CARDS = {
    "T4": Gpu(0, "Tesla T4", 0, 15360, (7, 5)),
    "V100": Gpu(0, "Tesla V100-SXM2-16GB", 0, 16384, (7, 0)),
    "P100": Gpu(0, "Tesla P100-PCIE-16GB", 0, 16384, (6, 0)),
    "L4": Gpu(0, "NVIDIA L4", 0, 23034, (8, 9)),
    "A100": Gpu(0, "NVIDIA A100-SXM4-40GB", 0, 40960, (8, 0)),
}
RECENT = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


def test_the_place_is_told_by_what_colab_and_kaggle_set() -> None:
    colab, kaggle, own = here({"COLAB_RELEASE_TAG": "x"}, {}), here({"KAGGLE_KERNEL_RUN_TYPE": "x"}, {}), here({}, {})
    assert (colab.name, kaggle.name, own.name) == ("Colab", "Kaggle", "Jupyter")
    assert colab.home == Path("/content/drive/MyDrive/darkroom")
    assert kaggle.home == Path("/kaggle/working/darkroom")
    assert not colab.local.is_relative_to("/content/drive"), "training does not write to the Drive"
    assert colab.seconds == kaggle.seconds == 11 * 3600
    assert (own.kept, own.seconds, own.home) == (None, None, own.local)
    assert here({}, {"google.colab": object()}).name == "Colab"


@pytest.mark.parametrize(
    ("card", "settings"),
    [
        ("T4", ("fp16", 4, 16)),
        ("V100", ("fp16", 4, 16)),
        ("P100", ("fp16", 4, 16)),
        ("L4", ("bf16", 4, 32)),
        ("A100", ("bf16", 4, 32)),
    ],
)
def test_every_card_of_colab_and_kaggle_has_a_preset(card: str, settings: tuple[str, int, int]) -> None:
    """As the table of docs/notebook.md says."""
    chosen = {key: choice.value for key, choice in recommend(FAMILIES["sd1"], CARDS[card]).choices.items()}
    assert (chosen["model.mixed_precision"], chosen["train.train_batch_size"], chosen["lora.rank"]) == settings


def test_a_card_that_torch_has_no_code_for_is_named_with_a_cure() -> None:
    told = {name: card_problem(card, RECENT) for name, card in CARDS.items()}
    assert [name for name, text in told.items() if text] == ["V100", "P100"]
    assert "compute capability 6.0" in told["P100"]
    assert "choose another accelerator" in told["P100"]
    assert card_problem(CARDS["P100"], ["sm_60", "sm_70"]) == ""
    assert card_problem(CARDS["L4"], ["sm_86"]) == "", "code for 8.6 runs on 8.9"
    assert card_problem(CARDS["L4"], ["compute_75"]) == "", "it is translated"
    assert card_problem(CARDS["T4"], []) == "", "torch has not said"
