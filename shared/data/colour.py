"""Colour profiles: converting pictures to sRGB, the space that models learn and screens show."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, cast

from PIL import Image, ImageCms

NOTICED = 2
"""Of 255: a profile that changes no colour by more counts as sRGB, and the pixels stay unchanged."""
_GRID = (0, 16, 32, 64, 96, 128, 160, 192, 224, 255)
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""An ICC profile's colour space → Pillow's mode."""


class ProfileError(ValueError):
    """The profile is damaged, or of a colour space that these pixels cannot be in."""


def is_converted(picture: Image.Image) -> bool:
    """Whether `to_srgb` changes colours of such a picture; a profile that cannot be read changes none."""
    try:
        return _conversion(picture) is not None
    except ProfileError:
        return False


def profile_fault(picture: Image.Image) -> str | None:
    """Why a picture's profile cannot be used; None when it can, or when there is none."""
    try:
        _conversion(picture)
    except ProfileError as error:
        return str(error)
    return None


def to_srgb(picture: Image.Image) -> Image.Image:
    """The picture converted to sRGB by its profile, mode RGB or RGBA; the picture itself if there is nothing to
    convert."""
    try:
        conversion = _conversion(picture)
    except ProfileError:
        return picture
    if conversion is None:
        return picture
    space, transform = conversion
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    plain = picture.convert("RGBA") if has_alpha else picture
    converted = ImageCms.applyTransform(plain.convert(space), transform)
    assert converted is not None
    if has_alpha:
        converted.putalpha(plain.getchannel("A"))
    return converted


def _conversion(picture: Image.Image) -> tuple[str, Any] | None:
    """The mode its profile is for, and the transform from there to sRGB; None where colours stay as they are."""
    icc = picture.info.get("icc_profile")
    if not isinstance(icc, bytes) or not icc:
        return None
    space, transform = _transform(icc)
    if (space == "CMYK") != (picture.mode == "CMYK") or (space == "L" and not _is_grey(picture)):
        raise ProfileError(f"its colour profile is for {space}, the picture is {picture.mode}")
    return (space, transform) if transform else None


def _is_grey(picture: Image.Image) -> bool:
    return picture.mode in ("1", "L", "LA", "F") or picture.mode.startswith("I")


@lru_cache(maxsize=64)
def _transform(icc: bytes) -> tuple[str, Any]:
    """Pillow's mode of the profile's colour space, and the transform to sRGB; None where it changes nothing.

    Raises:
        ProfileError: it cannot be read.
    """
    try:
        profile = cast("Any", ImageCms.ImageCmsProfile(io.BytesIO(icc)))
        named: str = profile.profile.xcolor_space
        if named not in _SPACES:
            raise ProfileError(f"its colour profile is for {named.strip()}")
        space = _SPACES[named]
        transform = ImageCms.buildTransform(
            profile,
            cast("Any", ImageCms).createProfile("sRGB"),
            space,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ImageCms.PyCMSError) as error:
        raise ProfileError(f"its colour profile is damaged: {error}") from None
    return space, None if space != "CMYK" and _changes_nothing(space, transform) else transform


def _changes_nothing(space: str, transform: Any) -> bool:
    if space == "L":
        before = Image.frombytes("L", (256, 1), bytes(range(256)))
    else:
        colours = bytes(value for red in _GRID for green in _GRID for blue in _GRID for value in (red, green, blue))
        before = Image.frombytes("RGB", (len(colours) // 3, 1), colours)
    after = ImageCms.applyTransform(before, transform)
    assert after is not None
    pairs = zip(before.convert("RGB").tobytes(), after.tobytes(), strict=True)
    return max(abs(one - other) for one, other in pairs) <= NOTICED
