"""Sizes come from headers: what decoding would say, without it, once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from shared.data import headers, png
from shared.data.headers import Headers
from shared.data.inspection import Inspection
from shared.data.pictures import open_picture, read_header
from shared.files import progress_lines
from tests import icc
from tests.unit.shared.data.test_dataset import add

XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[0x0112] = orientation
    return found.tobytes()


def late_exif(path: Path) -> None:
    """As exiftool and cameras' programs write it: the chunk stands behind the pixels."""
    Image.new("RGB", (20, 30)).save(path, exif=exif(6))
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    chunk = data[start : start + int.from_bytes(data[start : start + 4], "big") + 12]
    end = data.index(b"IEND") - 4
    path.write_bytes(data[:start] + data[start + len(chunk) : end] + chunk + data[end:])


def in_text(name: str, text: str, *, zipped: bool = False) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        info = PngInfo()
        info.add_text("workflow", "x" * 2_000_000)
        info.add_text(name, text, zip=zipped) if "xmp" not in name else info.add_itxt(name, text)
        Image.new("RGB", (20, 30)).save(path, pnginfo=info)

    return write


def animated_as_mpo(path: Path) -> None:
    frames = [Image.new("RGB", (20, 30))] * 2
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:])


RAW_PROFILE = f"\nexif\n{len(exif(8)):8}\n{exif(8).hex()}\n"
CORPUS: dict[str, Callable[[Path], object]] = {
    "plain.png": Image.new("RGB", (20, 30)).save,
    "palette.png": Image.new("P", (20, 30)).save,
    "deep.png": Image.new("I;16", (20, 30)).save,
    "clear.png": Image.new("RGBA", (20, 30)).save,
    "interlaced.bmp": Image.new("RGB", (20, 30)).save,
    "profile.png": lambda path: Image.new("RGB", (20, 30)).save(path, icc_profile=icc.rgb(), exif=exif(5)),
    "late.png": late_exif,
    "xmp.png": in_text("XML:com.adobe.xmp", XMP),
    "raw.png": in_text("Raw profile type exif", RAW_PROFILE, zipped=True),
    "mpo.jpg": animated_as_mpo,
    **{
        f"turned-{turned}.{ending}": lambda path, turned=turned: Image.new("RGB", (20, 30)).save(
            path, exif=exif(turned)
        )
        for turned in range(1, 9)
        for ending in ("png", "jpg", "webp")
    },
}


@pytest.mark.parametrize("name", CORPUS)
def test_a_header_says_what_decoding_shows(tmp_path: Path, name: str) -> None:
    CORPUS[name](tmp_path / name)
    assert read_header(tmp_path / name).size == open_picture(tmp_path / name).size


def test_every_orientation_of_the_corpus_is_seen(tmp_path: Path) -> None:
    for name in ("late.png", "xmp.png", "raw.png", "profile.png"):
        CORPUS[name](tmp_path / name)
        assert read_header(tmp_path / name).size == (30, 20), name


def test_no_png_is_decoded_for_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plain.png", "late.png"):
        CORPUS[name](tmp_path / name)
    large = tmp_path / "large.png"
    Image.effect_noise((800, 800), 90).save(large)
    monkeypatch.setattr(PngImageFile, "load", lambda image: pytest.fail("decoded"))
    assert [read_header(tmp_path / name).size for name in ("plain.png", "late.png")] == [(20, 30), (30, 20)]
    assert read_header(large).size == (800, 800)
    reduced = png.without_pixels(large)
    assert reduced is not None
    assert len(reduced.read()) < 200 < large.stat().st_size


def test_headers_are_remembered_while_the_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = add(tmp_path, "a.png")
    Image.new("RGB", (20, 30)).save(path, icc_profile=icc.rgb())
    past = time.time() - 60
    os.utime(path, (past, past))
    first = Headers(tmp_path / "cache" / "headers.json")
    assert first.of([path, path]) == [read_header(path)] * 2
    first.save()
    with monkeypatch.context() as patched:
        patched.setattr(headers, "read_header", lambda path: pytest.fail("read again"))
        assert Headers(tmp_path / "cache" / "headers.json")(path) == read_header(path)
    Image.new("RGB", (8, 8)).save(path)
    assert Headers(tmp_path / "cache" / "headers.json")(path).size == (8, 8)


@pytest.mark.parametrize("content", ["[]", '{"a": [1, 2, 3]}', '{"a": [1, 2, [[1], true, null]]}', "{"])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, content: str) -> None:
    (tmp_path / "headers.json").write_text(content)
    assert Headers(tmp_path / "headers.json")(add(tmp_path, "a.png")).size == (16, 16)


def test_one_pass_decodes_digests_and_tells_how_far_it_is(tmp_path: Path) -> None:
    paths = [add(tmp_path, f"{number}.png") for number in range(5)]
    paths[3].write_bytes(paths[3].read_bytes()[:-40])
    told: list[tuple[int, int]] = []
    digested: list[Path] = []
    problems: list[str] = []
    Inspection(digest=lambda path: str(digested.append(path)), progress=lambda *now: told.append(now)).run(
        paths, problems, []
    )
    assert told == [(done, 5) for done in range(1, 6)]
    assert sorted(digested) == [*paths[:3], paths[4]]
    assert len(problems) == 1


def test_long_work_is_told_after_a_second_and_then_now_and_then() -> None:
    clock = iter([0.0, 0.5, 1.2, 1.2, 5.0, 11.3, 11.3, 99.0])
    said: list[str] = []
    tell = progress_lines.spoken(said.append, "pictures looked at", lambda: next(clock))
    for done in (100, 2000, 3000, 9000):
        tell(done, 10_000)
    tell(10_000, 10_000)
    assert said == ["pictures looked at: 2,000 of 10,000", "pictures looked at: 9,000 of 10,000"]
