"""The files of a data set's folder, and which of them are pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.data.pictures import KINDS, OTHER_SUFFIXES, SUFFIXES
from shared.data.sources.scan_report import ScanReport
from shared.errors import DataError
from shared.files.json_text import parse_json
from shared.files.publication import MANIFEST

SYSTEM_FOLDERS = frozenset(
    {
        *("@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),  # network storage: thumbnails, waste
        *("$recycle.bin", "system volume information", "lost+found", "__macosx"),
    }
)
CAPTION_ENDINGS = (".txt", ".caption")
NOT_TOLD = frozenset({*CAPTION_ENDINGS, ".md", ".toml", ".npz"})
"""Endings of files that are usual beside pictures but are not data: notes, settings, other programs' caches."""
ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz"})
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", MANIFEST})


def walk(folder: Path, report: ScanReport) -> list[Path]:
    """Every file at any depth that may be data, sorted; links to folders are followed.

    Names that begin with a dot, thumbnails and waste of the system are ignored, and so are run folders and caches.
    """
    return list(_below(folder, (), report))


def pictures_among(files: list[Path], report: ScanReport) -> list[Path]:
    """The files that are pictures by their ending; unusable ones are problems."""
    pictures: list[Path] = []
    readable = {file.with_suffix("") for file in files if file.suffix.lower() in SUFFIXES}
    for file in files:
        suffix = file.suffix.lower()
        if suffix in OTHER_SUFFIXES and file.with_suffix("") in readable:
            report.notices.append(f"{file}: not used; the picture of the same name beside it is")
        elif suffix in OTHER_SUFFIXES:
            report.problems.append(f"{file}: {suffix} pictures are not read; save it as {KINDS}")
        elif suffix in SUFFIXES and _is_sound(file, report):
            pictures.append(file)
    return pictures


def tell_unused(files: list[Path], used: set[Path], report: ScanReport) -> None:
    """Notices of files that may be meant to be data: captions without a picture, other kinds by ending."""
    left = [file for file in files if file not in used and file.suffix.lower() not in (*SUFFIXES, *OTHER_SUFFIXES)]
    of_others = {file.with_suffix("") for file in files if file.suffix.lower() in OTHER_SUFFIXES}
    captions = [
        file for file in left if file.suffix.lower() in CAPTION_ENDINGS and file.with_suffix("") not in of_others
    ]
    if captions:
        report.notices.append(f"{len(captions)} caption file(s) belong to no picture, such as {captions[0]}")
    endings = Counter(file.suffix.lower() or file.name for file in left if file.suffix.lower() not in NOT_TOLD)
    if endings:
        counts = ", ".join(f"{count} {ending}" for ending, count in endings.most_common())
        report.notices.append(f"files that are not used: {counts}")


def files_in(folder: Path) -> list[Path]:
    """What is directly in a folder; nothing if it cannot be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def wrong_path(path: Path) -> DataError:
    """The error for a data set's path that is neither a folder nor a table."""
    suffix, folder = path.suffix.lower(), "give the folder that holds the pictures"
    if not path.exists():
        return DataError(f"{path} does not exist", folder + ("" if path.is_absolute() else f", seen from {Path.cwd()}"))
    if suffix in ARCHIVES:
        return DataError(f"{path} is an archive, not a folder", "unpack it and give the folder")
    if suffix in (".parquet", ".arrow"):
        return DataError(f"{path} is not a folder", "load it with `datasets`, `save_to_disk`, and give that folder")
    what = "a single picture" if suffix in (*SUFFIXES, *OTHER_SUFFIXES) else "a file"
    return DataError(f"{path} is {what}, not a folder", f"{folder}, or a table of pictures and captions: CSV, JSON")


def _below(folder: Path, above: tuple[Path, ...], report: ScanReport) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        report.problems.append(f"{folder}: a link to a folder it lies in")
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        report.problems.append(f"{folder}: {error.strerror}")
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FILES:
            continue
        if entry.is_dir():
            if entry.name.lower() in SYSTEM_FOLDERS:
                continue
            if made_here := _made_here(entry):
                report.notices.append(f"{entry}: {made_here}, never data")
                continue
            yield from _below(entry, (*above, real), report)
        else:
            yield entry


def _made_here(folder: Path) -> str:
    """The program of ours that wrote this folder, if any; its pictures are samples or copies."""
    if (folder / "run.json").is_file() and (folder / "config.toml").is_file():
        return "a run folder"
    if (folder / "digests.json").is_file() and any(
        (folder / name).is_dir() for name in ("latents", "texts", "datasets")
    ):
        return "a cache folder"
    try:
        tree: Any = parse_json((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return ""
    return "published by a run" if isinstance(tree, dict) and {"kind", "run_id", "files"} <= tree.keys() else ""


def _is_sound(file: Path, report: ScanReport) -> bool:
    """Whether the name is valid UTF-8 and the file exists."""
    if not file.is_file():
        report.problems.append(f"{file}: a link that leads to no file")
    elif any("\udc80" <= character <= "\udcff" for character in str(file)):  # how Python keeps bytes it cannot decode
        report.problems.append(f"{str(file)!a}: the name is not UTF-8")
    else:
        return True
    return False
