"""Checks every picture before training: whether it can be decoded, and its size, colours and digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shared.data.pictures import Header, open_picture, read_header
from shared.errors import DataError
from shared.files.progress_lines import Progress


@dataclass(frozen=True)
class Inspection:
    """One pass over the pictures, on all cores."""

    header: Callable[[Path], Header] = read_header
    digest: Callable[[Path], str] | None = None
    """Called for every good picture, so that it is not read a second time."""
    thumbprint: Callable[[Path], str] | None = None
    """Likewise, to find pictures that look alike."""
    progress: Progress = lambda done, total: None

    def run(self, paths: Sequence[Path], problems: list[str], notices: list[str]) -> None:
        """Decode every picture once; say what is wrong with those that cannot be used, and what happens to colours."""
        seen: dict[Path, Header | str] = {}
        with ThreadPoolExecutor() as pool:
            for path, header in zip(paths, pool.map(self._look, paths), strict=True):
                seen[path] = header
                self.progress(len(seen), len(paths))
        problems.extend(header for header in seen.values() if isinstance(header, str))
        notices.extend(_about_colours({path: header for path, header in seen.items() if isinstance(header, Header)}))

    def _look(self, path: Path) -> Header | str:
        try:
            open_picture(path)
            if self.digest:
                self.digest(path)
            if self.thumbprint:
                self.thumbprint(path)
            return self.header(path)
        except DataError as error:
            return str(error)


def _about_colours(headers: Mapping[Path, Header]) -> Iterator[str]:
    converted = [path for path, header in headers.items() if header.is_converted]
    if converted:
        yield f"{len(converted)} picture(s) are converted to sRGB by their colour profiles, such as {converted[0]}"
    faults = [f"{path}: {header.profile_fault}" for path, header in headers.items() if header.profile_fault]
    if faults:
        yield f"{len(faults)} colour profile(s) are ignored: {faults[0]}"
