"""F52: a model may bring code; none of it is executed. A canary beside the model would show it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.config.schema import ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.families import loading
from tasks.text_to_image.models import base_model
from tasks.text_to_image.models.base_model import POCKET_STABLE_DIFFUSION


@dataclass(frozen=True)
class Hostile:
    """A model that loads as it is, and a file that appears if its code is executed."""

    model: Path
    canary: Path

    def bring_code(self, part: str, file: str) -> None:
        """Name a class of the model's own for a part, with the module that would define it."""
        index = json.loads((self.model / "model_index.json").read_text(encoding="utf-8"))
        index[part] = ["evil", "Evil"]
        (self.model / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
        code = f"from pathlib import Path\nPath({str(self.canary)!r}).touch()\nclass Evil: ...\n"
        (self.model / file).write_text(code, encoding="utf-8")


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    shutil.copytree(POCKET_STABLE_DIFFUSION, tmp_path / "model")
    return Hostile(tmp_path / "model", tmp_path / "canary")


def test_a_pipeline_of_a_models_own_is_refused(hostile: Hostile) -> None:
    hostile.bring_code("_class_name", "evil.py")
    with pytest.raises(ModelError):
        base_model.identify(str(hostile.model))
    assert not hostile.canary.exists()


@pytest.mark.parametrize(("part", "file"), [("unet", "unet/evil.py"), ("scheduler", "scheduler/evil.py")])
def test_a_part_with_code_of_its_own_is_not_loaded(hostile: Hostile, part: str, file: str) -> None:
    hostile.bring_code(part, file)
    with pytest.raises(ModelError):
        loading.load_model(ModelConfig(path=str(hostile.model)), "fp32")
    assert not hostile.canary.exists()


def test_code_beside_a_model_that_nothing_names_is_left_alone(hostile: Hostile) -> None:
    for name in ("pipeline.py", "unet/modeling_unet.py", "tokenizer/tokenization.py"):
        (hostile.model / name).write_text(f"open({str(hostile.canary)!r}, 'w')\n", encoding="utf-8")
    loading.load_model(ModelConfig(path=str(hostile.model)), "fp32")
    assert not hostile.canary.exists()
