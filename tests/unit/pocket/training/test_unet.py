"""What the denoiser's training needs: its folder, and the config that names it."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel

from pocket import CLIP, Z_IMAGE
from pocket.lessons.garments import split_catalogue
from pocket.training import unet
from shared.config.loading import load_config

CONFIG = Path(unet.__file__).parents[1] / "unet.toml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pocket")
    unet.write(made, num_pictures=20)
    return made


def test_the_config_holds_out_every_combination_that_nothing_may_learn_from(folder: Path):
    config = load_config(CONFIG)
    pictures = folder / Path(config.data.path).name
    named = {f"{path.parent.name}/{path.stem}" for path in (pictures / "held-out").glob("*.png")}
    assert set(config.data.validation_ids) == named
    assert len(named) == config.data.num_validation == len(split_catalogue()[1])
    assert Path(config.model.path).name == "base"


def test_no_caption_to_learn_from_names_a_held_out_combination(folder: Path):
    def captions(part: str) -> set[str]:
        return {path.read_text(encoding="utf-8").strip() for path in (folder / "pictures" / part).glob("*.txt")}

    wordings = {garment.caption(wording) for garment in split_catalogue()[1] for wording in range(6)}
    assert len(captions("seen")) == 20
    assert captions("seen").isdisjoint(wordings)
    assert captions("held-out") <= wordings
    assert set((folder / "prompts.txt").read_text(encoding="utf-8").splitlines()) == captions("held-out")


def test_the_base_model_has_the_crisp_vae_and_the_clips_tower_and_no_denoisers_weights(folder: Path):

    base = folder / "base"
    assert [path.name for path in (base / "unet").iterdir()] == ["config.json"]
    ours = AutoencoderKL.from_pretrained(base / "vae", torch_dtype=torch.float32).state_dict()
    theirs = AutoencoderKL.from_pretrained(Z_IMAGE / "vae", torch_dtype=torch.float32).state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    tower = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32)
    of_clip = CLIPModel.from_pretrained(CLIP, dtype=torch.float32).text_model
    assert all(torch.equal(*pair) for pair in zip(tower.parameters(), of_clip.parameters(), strict=True))
    denoiser = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(base / "unet"))
    assert sum(value.numel() for value in denoiser.parameters()) < 7.5e6
