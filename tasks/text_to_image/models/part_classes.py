"""Whether a diffusers folder holds what its pipeline is made of, as far as configuration files tell.

Without this, diffusers would load another model's weights into the pipeline's classes, or draw fresh ones, and warn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.errors import UnknownModelError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models.pipeline_folder import read_json

CURE = "download the whole folder again, or choose another model"
HEAD = re.compile(r"(TextModel|EncoderModel|Model|For[A-Z]).*")
"""What follows the name of an architecture in a class of transformers: `CLIPTextModel`, `Qwen3ForCausalLM`."""


def family_of(folder: Path, families: Sequence[Family], every: Iterable[Family]) -> Family:
    """The one of these families, which share a pipeline, that the folder's denoiser belongs to. every: all families.

    Raises:
        UnknownModelError: a part is of another architecture than the pipeline takes; all such parts.
    """
    first = families[0]
    described = _config(folder, first.denoiser) if len(families) == 1 else read_json(_file(folder, first.denoiser))
    strange = [*_strange_denoiser(described, first, every), *_strange_encoders(folder, first)]
    found = None if strange else next((family for family in families if family.is_described_by(described)), None)
    if found:
        return found
    titles = " or ".join(family.title for family in families)
    reasons = ", and ".join(strange) or f"its {first.denoiser} is configured otherwise"
    raise UnknownModelError(f"{folder} is a {first.pipeline_class} ({titles}), but {reasons}", CURE)


def _strange_denoiser(described: dict[str, Any], family: Family, every: Iterable[Family]) -> Iterator[str]:
    made = described.get("_class_name", family.denoiser_class)
    if made != family.denoiser_class:
        titles = " or ".join(other.title for other in every if other.denoiser_class == made)
        yield f"its {family.denoiser} is a {made}{titles and f' ({titles})'}, not a {family.denoiser_class}"


def _strange_encoders(folder: Path, family: Family) -> Iterator[str]:
    """Text encoders of another architecture than the pipeline's index says."""
    index = read_json(folder / "model_index.json")
    for part in family.text_encoders:
        said = (index.get(part) or [None])[-1]
        made = next(iter(_config(folder, part).get("architectures") or []), said)
        if said and made and HEAD.sub("", said) != HEAD.sub("", made):
            yield f"its {part} is a {made}, not a {said}"


def _config(folder: Path, part: str) -> dict[str, Any]:
    file = _file(folder, part)
    return read_json(file) if file.is_file() else {}


def _file(folder: Path, part: str) -> Path:
    return folder / part / "config.json"
