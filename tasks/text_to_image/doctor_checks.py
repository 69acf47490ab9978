"""The lines of `run.py doctor` about base models: the preset of each family on this machine, and the embedded model."""

from __future__ import annotations

from shared.machine import hardware
from shared.machine.doctor import Finding
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models import presets
from tasks.text_to_image.models.base_model import EMBEDDED_FOLDERS, POCKET_CLIP


def doctor_checks() -> list[Finding]:
    """The preset that `init` would choose for each family here, and whether the embedded models are complete."""
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
    missing = [folder.name for folder in (*EMBEDDED_FOLDERS.values(), POCKET_CLIP) if not folder.is_dir()]
    if missing:
        return Finding(
            "pocket models", "problem", f"{', '.join(missing)} is missing: restore it with `git checkout -- pocket`"
        )
    return Finding("pocket models", "ok", "embedded, no download needed")
