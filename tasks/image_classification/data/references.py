"""The held-out pictures of a run as the network sees them, with their classes: evaluators need nothing else.

They are published once, in the order in which they are evaluated; see `shared.data.references`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.data.pictures import open_picture
from shared.data.references import first, further
from shared.data.sources.pair import Pair
from shared.errors import DataError
from shared.files.publication import publish, verify
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.image_classification.data.framing import fit
from tasks.image_classification.settings import Settings


@dataclass(frozen=True)
class Reference:
    """A held-out picture and its class."""

    id: str
    picture: Image.Image
    label: str


def publish_missing(run: RunDir, config: Config, pairs: Callable[[], Iterable[Pair]]) -> None:
    """Publish what is missing. pairs: called to read the data set if something is.

    Raises:
        DataError: a held-out picture is gone.
    """
    record = run.read_record()
    wanted = {run.references: first(config, record), run.further_references: further(config, record)}
    missing = {folder: ids for folder, ids in wanted.items() if ids and not folder.exists()}
    if not missing:
        return
    by_id, size = {pair.id: pair for pair in pairs()}, own_settings(config, Settings).img_size
    for folder, ids in missing.items():
        if gone := [pair_id for pair_id in ids if pair_id not in by_id]:
            raise DataError(
                f"held-out pictures are gone from {config.data.path}: {', '.join(gone)}",
                f"restore these pictures in {config.data.path}",
            )
        folder.parent.mkdir(exist_ok=True)
        chosen = [by_id[pair_id] for pair_id in ids]

        def write(stage: Path, chosen: list[Pair] = chosen) -> None:
            for number, pair in enumerate(chosen):
                fit(open_picture(pair.image), size).save(stage / f"{number:06d}.png")

        details = {"ids": list(ids), "labels": [pair.caption for pair in chosen]}
        publish(run.staging, folder, Manifest(kind="references", run_id=record.run_id, step=0, details=details), write)


def read(folder: Path) -> list[Reference]:
    """Those of a published folder.

    Raises:
        RunFolderError: it is missing or damaged.
    """
    details = verify(folder).details
    return [
        Reference(pair_id, open_picture(folder / f"{number:06d}.png"), label)
        for number, (pair_id, label) in enumerate(zip(details["ids"], details["labels"], strict=True))
    ]
