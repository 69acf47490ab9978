"""What `run.py doctor` says of base models: the preset of each family here, and the embedded model."""

from __future__ import annotations

from shared.machine import hardware
from shared.machine.doctor import Finding
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models import presets
from tasks.text_to_image.models.base_model import POCKET_CLIP, POCKET_STABLE_DIFFUSION


def doctor_checks() -> list[Finding]:
    """What `init` would choose for each family on this machine, and whether the embedded model is whole."""
    gpu = next(iter(hardware.usable_gpus()), None)
    recommended = {family.title: presets.recommend(family, gpu) for family in FAMILIES.values()}
    return [
        *(
            Finding(f"preset {title}", "ok", f"{preset.reason}; {presets.describe(preset)}")
            for title, preset in recommended.items()
        ),
        _pocket(),
    ]


def _pocket() -> Finding:
    missing = [folder.name for folder in (POCKET_STABLE_DIFFUSION, POCKET_CLIP) if not folder.is_dir()]
    if missing:
        return Finding("pocket model", "problem", f"{', '.join(missing)} is missing; the checkout is incomplete")
    return Finding("pocket model", "ok", "embedded, no download needed")
