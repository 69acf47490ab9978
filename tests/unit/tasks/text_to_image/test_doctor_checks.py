"""What the doctor says of base models."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.text_to_image import doctor_checks
from tasks.text_to_image.families.known import FAMILIES


def test_every_family_has_a_preset_here() -> None:
    subjects = [found.subject for found in doctor_checks.doctor_checks()]
    assert subjects == [*(f"preset {family.title}" for family in FAMILIES.values()), "pocket models"]


def test_an_incomplete_checkout_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "POCKET_CLIP", tmp_path / "clip")
    monkeypatch.setattr(doctor_checks, "EMBEDDED_FOLDERS", {"pocket": tmp_path})
    found = doctor_checks.doctor_checks()[-1]
    assert found.verdict == "problem"
    assert "clip is missing" in found.text
