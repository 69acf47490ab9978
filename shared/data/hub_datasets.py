"""Data sets of Hugging Face's `datasets` library, from the hub or saved, written to disk once as files.

What is written is a Hugging Face folder: the original bytes of every picture, of what it is made from if columns hold
that, and one metadata.jsonl, under `<cache>/datasets/`. It is published complete or not at all and used from then on;
`datasets` is not needed again.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

from PIL import Image

from shared.config.path_settings import HUB
from shared.data.pictures import ENDINGS, FORMATS, UNREADABLE
from shared.data.sources.columns import (
    CAPTION_COLUMNS,
    LABEL_COLUMNS,
    PICTURE_COLUMNS,
    Record,
    caption_column,
    column,
    named_as_edited,
    named_as_sources,
)
from shared.errors import DataError
from shared.files.publication import publish, sweep
from shared.run_folder.records.manifest import Manifest

SPLIT = "train"
ROWS_LOOKED_AT = 100
"""To tell captions from paths and numbers where no column has a known name."""


def on_disk(path: str, cache: Path, *, classes: bool = False, label: str = "") -> Path:
    """The folder or file of pictures to read; a `datasets` data set is written out below `cache` the first time.

    classes: what belongs to a picture is its class and not a caption. label: the column of classes; empty: found by
    type and name.

    Raises:
        DataError: `datasets` is needed and not installed, cannot load it, or finds no pictures or captions in it.
    """
    if not is_copied(path):
        return Path(path)
    target, staging = place_of_copy(path, cache, classes=classes), cache / ".staging"
    if not target.is_dir():
        dataset = _load(path)
        sources = [] if classes else _sources(dataset)
        others = dataset.remove_columns(sources) if sources else dataset
        picture, caption = _columns_of_classes(dataset, path, label) if classes else _columns(others, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(staging)
        manifest = Manifest(kind="dataset", run_id="", step=0, details={"path": path})
        publish(staging, target, manifest, lambda folder: _write(dataset, picture, caption, sources, folder))
    return target


def is_copied(path: str) -> bool:
    """Whether what is trained on is a copy that was written out, not the data set itself."""
    return path.startswith(HUB) or _is_saved(Path(path))


def place_of_copy(path: str, cache: Path, *, classes: bool = False) -> Path:
    """Where the copy of such a data set lies, or will."""
    return cache / "datasets" / (_name(path) + ("-classes" if classes else ""))


def _is_saved(path: Path) -> bool:
    """Whether `save_to_disk` made this folder."""
    return (path / "dataset_dict.json").is_file() or all(
        (path / name).is_file() for name in ("dataset_info.json", "state.json")
    )


def _name(path: str) -> str:
    """A folder name: readable, and another one when a saved data set was saved again with other content."""
    identity = path
    if not path.startswith(HUB):
        identity += "".join(file.read_text(encoding="utf-8") for file in sorted(Path(path).rglob("state.json")))
    readable = re.sub(r"[^\w.-]+", "--", path.removeprefix(HUB).strip("/"))[-60:]
    return f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _load(path: str) -> Any:
    try:
        import datasets  # noqa: PLC0415  # an optional extra, slow to import
    except ImportError:
        raise DataError(
            f"{path} needs the `datasets` library, which is not installed", "pip install datasets"
        ) from None
    try:
        if path.startswith(HUB):
            loaded = datasets.load_dataset(path.removeprefix(HUB))
        else:
            loaded = datasets.load_from_disk(path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"cannot load {path}: {reason}", "check the name and the connection to the hub") from None
    if not isinstance(loaded, datasets.DatasetDict):
        return loaded
    if SPLIT in loaded or len(loaded) == 1:
        return loaded[SPLIT if SPLIT in loaded else next(iter(loaded))]
    raise DataError(
        f"{path} has no split {SPLIT!r}; it has {', '.join(map(str, loaded))}",
        "save the one you want and give its folder",
    )


def _columns(dataset: Any, path: str) -> tuple[str, str]:
    """Names of the picture and caption columns: by type, then by name where several have it.

    Raises:
        DataError: either cannot be told; the columns are named.
    """
    kinds = {
        name: getattr(feature, "dtype", None) or type(feature).__name__ for name, feature in dataset.features.items()
    }
    images = [name for name, feature in dataset.features.items() if type(feature).__name__ == "Image"]
    picture = images[0] if len(images) == 1 else column(images, PICTURE_COLUMNS) or named_as_edited(images)
    texts = [name for name, kind in kinds.items() if kind in ("string", "large_string")]
    caption = texts[0] if len(texts) == 1 else _caption_among(dataset, texts)
    if picture and caption:
        return picture, caption
    missing = "picture" if not picture else "caption"
    known = PICTURE_COLUMNS[1] if not picture else " or ".join(CAPTION_COLUMNS[:3])
    raise DataError(
        f"{path}: cannot tell the {missing} column; its columns are "
        + ", ".join(f"{name} ({kind})" for name, kind in kinds.items()),
        f"rename the {missing} column to {known}, save it with `save_to_disk` and give that folder",
    )


def _sources(dataset: Any) -> list[str]:
    """Columns of what pictures are made from: by type and name, where another column has pictures."""
    images = [name for name, feature in dataset.features.items() if type(feature).__name__ == "Image"]
    several = [
        name
        for name, feature in dataset.features.items()
        if type(getattr(feature, "feature", None)).__name__ == "Image"
    ]
    return next((found for found in named_as_sources([*images, *several]) if {*images} - {*found}), [])


def _columns_of_classes(dataset: Any, path: str, label: str) -> tuple[str, str]:
    """Names of the columns of pictures and of classes: by type, then by name.

    Raises:
        DataError: either cannot be told; the columns are named.
    """
    kinds = {name: type(feature).__name__ for name, feature in dataset.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    picture = images[0] if len(images) == 1 else column(images, PICTURE_COLUMNS)
    of_type = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    found = of_type[0] if len(of_type) == 1 else column([*dataset.features], LABEL_COLUMNS)
    found = label if label in dataset.features else found if not label else None
    if picture and found:
        return picture, found
    missing = "picture" if not picture else "class"
    raise DataError(
        f"{path}: cannot tell the {missing} column; its columns are "
        + ", ".join(f"{name} ({kind})" for name, kind in kinds.items()),
        f"rename the {missing} column to {'image' if not picture else 'label'}, save it with `save_to_disk` and give "
        "that folder",
    )


def _caption_among(dataset: Any, texts: list[str]) -> str | None:
    first_rows: list[Record] = list(dataset.select_columns(texts).select(range(min(ROWS_LOOKED_AT, len(dataset)))))
    return caption_column(first_rows, texts, besides="")


def _write(dataset: Any, picture: str, caption: str, sources: list[str], folder: Path) -> None:
    """Sources lie beside their picture, under names by which they are found again."""
    import datasets  # noqa: PLC0415

    encoded = datasets.Image(decode=False)
    undecoded = dataset.select_columns([picture, caption, *sources]).cast_column(picture, encoded)
    for name in sources:
        feature = undecoded.features[name]
        kind = encoded if type(feature).__name__ == "Image" else type(feature)(encoded)
        undecoded = undecoded.cast_column(name, kind)
    digits = max(5, len(str(len(undecoded))))
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
        for number, row in enumerate(undecoded):
            data = _bytes_of(row[picture])
            name = f"{number:0{digits}d}{_ending(data)}"
            (folder / name).write_bytes(data)
            for place, source in enumerate(map(_bytes_of, _cells(row, sources)), 1):
                (folder / f"{number:0{digits}d}.source-{place}{_ending(source)}").write_bytes(source)
            line = {"file_name": name, "text": _text(undecoded.features[caption], row[caption])}
            metadata.write(json.dumps(line, ensure_ascii=False) + "\n")


def _cells(row: dict[str, Any], columns: list[str]) -> list[dict[str, Any]]:
    """What is in columns of one picture or of several."""
    cells = [cell for name in columns for cell in (row[name] if isinstance(row[name], list) else [row[name]])]
    return [cell for cell in cells if cell]


def _text(feature: Any, cell: Any) -> str:
    """A caption, or the name of a class, which may be kept as a number."""
    if cell is None:
        return ""
    return feature.int2str(cell) if hasattr(feature, "int2str") else str(cell)


def _bytes_of(cell: dict[str, Any] | None) -> bytes:
    """The encoded picture; nothing where the cell is empty, which the check of the files then reports."""
    if not cell:
        return b""
    return cell["bytes"] or Path(cell["path"]).read_bytes()


def _ending(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            return ENDINGS["JPEG" if picture.format == "MPO" else str(picture.format)][0]
    except UNREADABLE:
        return ".png"  # the check of the files then says what is wrong with it
