"""The files of a data set's folder, and which of them are pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shared.pictures import OTHER_SUFFIXES, SUFFIXES
from shared.sources.findings import Findings


def walk(folder: Path, findings: Findings) -> list[Path]:
    """Every file at any depth, sorted; links to folders are followed, names that begin with a dot are not seen."""
    return list(_below(folder, (), findings))


def pictures_among(files: list[Path], findings: Findings) -> list[Path]:
    """Those that are pictures by their ending; what cannot be one of the data set is a problem."""
    found: list[Path] = []
    for file in files:
        suffix = file.suffix.lower()
        if suffix in OTHER_SUFFIXES:
            findings.problems.append(f"{file}: {suffix} pictures are not read; save it as PNG, JPEG or WebP")
        elif suffix in SUFFIXES and _is_sound(file, findings):
            found.append(file)
    return found


def _below(folder: Path, above: tuple[Path, ...], findings: Findings) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        findings.problems.append(f"{folder}: a link to a folder it lies in")
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        findings.problems.append(f"{folder}: {error.strerror}")
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(entry, (*above, real), findings)
        else:
            yield entry


def _is_sound(file: Path, findings: Findings) -> bool:
    """A name that can be written down, and a file behind it."""
    if not file.is_file():
        findings.problems.append(f"{file}: a link that leads to no file")
    elif any("\udc80" <= character <= "\udcff" for character in str(file)):  # how Python keeps bytes it cannot decode
        findings.problems.append(f"{str(file)!a}: the name is not UTF-8")
    else:
        return True
    return False
