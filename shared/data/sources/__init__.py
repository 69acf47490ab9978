"""The forms of captioned pictures, each read into pairs; problems are collected and reported together.

| form                | captions stand in                                                                          |
| ------------------- | ------------------------------------------------------------------------------------------ |
| text files          | `<picture>.txt`, `.caption` or `.json`; kohya's `N_name/` repeats its pictures N times      |
| Hugging Face folder | `metadata.jsonl` or `metadata.csv` beside or above the pictures                             |
| one table           | a CSV, JSON or JSON Lines file: a column of paths, a column of captions, columns of sources |

An id is the picture's path below the data set's folder without its ending; of a picture outside, its whole path.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shared.data.sources import caption_tables, mask_files, source_files, text_files
from shared.data.sources.folder import pictures_among, tell_unused, walk, wrong_path
from shared.data.sources.pair import Pair
from shared.data.sources.scan_report import ScanReport, listed
from shared.data.sources.strays import passed_over
from shared.data.sources.text_files import KOHYA_FOLDER

__all__ = ["KOHYA_FOLDER", "Pair", "ScanReport", "find_pictures", "listed", "passed_over", "read"]


def read(path: Path, report: ScanReport) -> list[Pair]:
    """Every pair at `path`; problems are added to `report`, and a pair with a problem may be returned.

    Raises:
        DataError: there is no such folder or table, or a table cannot be read at all.
    """
    if path.is_file() and path.suffix.lower() in caption_tables.ENDINGS:
        pairs = caption_tables.from_file(path, report)
        images = [pair.image for pair in pairs]
        return _with_company(pairs, mask_files.beside(images), source_files.beside(images, report))
    if not path.is_dir():
        raise wrong_path(path)
    files = walk(path, report)
    pictures = pictures_among(files, report)
    named = [file for file in files if file.name.lower() in caption_tables.METADATA]
    captions = text_files.Captions(files)
    if not named and not any(captions.of(picture) for picture in pictures):
        named = caption_tables.that_caption(path, files, pictures, report)
    pairs = caption_tables.from_folder(path, named, pictures, report)
    known = {pair.image for pair in pairs}

    def is_captioned(picture: Path) -> bool:
        return picture in known or captions.of(picture) is not None

    mask_of = mask_files.by_picture(pictures, is_captioned)
    sources_of = source_files.by_picture(pictures, is_captioned, report)
    named_sources = {source for pair in pairs for source in pair.sources if not is_captioned(source)}
    company = {*mask_of.values(), *(one for some in sources_of.values() for one in some), *named_sources}
    left = [picture for picture in pictures if picture not in {*known, *company}]
    if sources_of:
        orphans = source_files.tell_orphans((picture for picture in left if not is_captioned(picture)), report)
        left = [picture for picture in left if picture not in orphans]
    tell_unused(files, {*named, *captions.files_of(known, left, named, report)}, report)
    left_over = text_files.pairs(path, left, captions, report)
    if named:
        names = " or ".join(table.name for table in named)
        bare = {picture: f"{picture}: not named in {names}" for picture in left if not captions.of(picture)}
        report.uncaptioned.update(bare)
    return _with_company(pairs + left_over, mask_of, sources_of)


def _with_company(pairs: list[Pair], mask_of: dict[Path, Path], sources_of: source_files.Sources) -> list[Pair]:
    """Sources that a table names go before those beside a picture."""
    return [
        replace(pair, mask=mask_of.get(pair.image), sources=pair.sources or sources_of.get(pair.image, ()))
        for pair in pairs
    ]


def find_pictures(folder: Path, report: ScanReport) -> list[Path]:
    """Every picture at any depth that is not the mask or a source of another; problems are added to `report`."""
    files = walk(folder, report)
    pictures, captions = pictures_among(files, report), text_files.Captions(files)

    def is_captioned(picture: Path) -> bool:
        return captions.of(picture) is not None

    taken = set(mask_files.by_picture(pictures, is_captioned).values())
    taken.update(*source_files.by_picture(pictures, is_captioned, report).values())
    return [picture for picture in pictures if picture not in taken]
