"""Where Debian's packages put the dictionary and the fonts, and under which licences they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import DataError

FONTS_FOLDER = Path("/usr/share/fonts")


@dataclass(frozen=True)
class Source:
    """One file of a package."""

    name: str
    package: str
    path: Path
    licence: str


DICTIONARY = Source(
    "kanjidic2",
    "kanjidic-xml",
    Path("/usr/share/edict/kanjidic2.xml.gz"),
    "KANJIDIC, property of the Electronic Dictionary Research and Development Group, CC BY-SA 3.0",
)
IPA = "IPA Font License 1.0"
OFL = "SIL Open Font License 1.1"
TRAINED = (
    Source("ipa-gothic", "fonts-ipafont-gothic", FONTS_FOLDER / "opentype/ipafont-gothic/ipag.ttf", IPA),
    Source("ipa-mincho", "fonts-ipafont-mincho", FONTS_FOLDER / "opentype/ipafont-mincho/ipam.ttf", IPA),
    Source("noto-sans", "fonts-noto-cjk", FONTS_FOLDER / "opentype/noto/NotoSansCJK-Regular.ttc", OFL),
)
"""Fonts of the training pictures, and of those that a drawn glyph is compared with."""
HELD_OUT = (
    Source("noto-serif", "fonts-noto-cjk", FONTS_FOLDER / "opentype/noto/NotoSerifCJK-Regular.ttc", OFL),
    Source(
        "vl-gothic",
        "fonts-vlgothic",
        FONTS_FOLDER / "truetype/vlgothic/VL-Gothic-Regular.ttf",
        "M+ FONTS LICENSE and Wadalab's, see the package",
    ),
)
"""Fonts that nothing learns from: real glyphs in them show what the comparison can read."""


def require(sources: Sequence[Source]) -> None:
    """Check that every file is there.

    Raises:
        DataError: naming each that is missing; the cure installs all of them.
    """
    missing = [source for source in sources if not source.path.is_file()]
    if missing:
        lines = "".join(f"\n       {source.path} of {source.package}" for source in missing)
        packages = " ".join(dict.fromkeys(source.package for source in missing))
        raise DataError(
            f"the kanji are made from a dictionary and fonts, of which are missing:{lines}",
            f"apt-get install {packages}",
        )
