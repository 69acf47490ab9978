"""Latents must come back as they were encoded: what a pipeline would ignore is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ModelError
from tasks.text_to_image.models import base_model
from tasks.text_to_image.models.vae import require_decodable
from tests.conftest import paper_model

NORMALIZED = {"latents_mean": [0.1] * 4, "latents_std": [0.9] * 4}


@pytest.mark.parametrize(
    ("config", "is_sdxl", "refused"),
    [
        ({"latents_mean": None, "latents_std": None, "shift_factor": None}, False, None),
        ({"shift_factor": 0.0}, True, None),
        (NORMALIZED, True, None),
        (NORMALIZED, False, "sets latents_mean and latents_std, which"),
        ({"latents_std": [1.0] * 4}, True, "sets latents_std, which"),
        ({"shift_factor": 0.0609}, True, "sets shift_factor, which"),
    ],
)
def test_what_the_pipeline_would_ignore_is_refused_by_name(
    config: dict[str, Any], is_sdxl: bool, refused: str | None
) -> None:
    if refused is None:
        require_decodable(config, "a model", ("latents_mean", "latents_std") if is_sdxl else ())
        return
    with pytest.raises(ModelError, match=refused):
        require_decodable(config, "a model", ("latents_mean", "latents_std") if is_sdxl else ())


def test_a_folder_is_looked_at_before_a_run_is_made(tmp_path: Path) -> None:
    folder = paper_model(tmp_path / "model")
    (folder / "vae" / "config.json").write_text(json.dumps(NORMALIZED))
    for ask in (base_model.identify, base_model.family):
        with pytest.raises(ModelError, match="sets latents_mean and latents_std"):
            ask(str(folder))
