"""Colour profiles for tests, made from their numbers (ICC.1:2001): no file of anybody's."""

from __future__ import annotations

import struct

D50 = (0.9642, 1.0, 0.8249)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""Red, green and blue in XYZ under D50."""


def rgb(primaries: tuple[tuple[float, float, float], ...] = ADOBE_RGB, gamma: float = 563 / 256) -> bytes:
    """A matrix profile."""
    colorants = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, primaries), strict=True))
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    return _profile(b"RGB ", {**colorants, **curves})


def grey(gamma: float) -> bytes:
    """A profile of one curve."""
    return _profile(b"GRAY", {b"kTRC": _curve(gamma)})


def cmyk() -> bytes:
    """Every corner of ink has a colour in Lab: paper white, all others black but for cyan, which is a mid blue."""
    corners = [(255, 128, 128) if ink == 0 else (140, 110, 90) if ink == 8 else (0, 128, 128) for ink in range(16)]
    line = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if place % 4 == 0 else 0 for place in range(9)))
    table = b"".join(map(bytes, corners))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + line * 4 + table + line * 3
    return _profile(b"CMYK", {b"A2B0": lut, b"A2B1": lut}, b"Lab ")


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    name = b"test\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    tags = {b"desc": description, b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(D50), **tags}
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    start, directory, data = 128 + 4 + 12 * len(tags), b"", b""
    for signature, content in tags.items():
        directory += struct.pack(">4sII", signature, start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(data), b"\0\0\0\0", 0x02100000, kind, space, connection)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += struct.pack(">3i", *(round(value * 65536) for value in D50))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + directory + data
