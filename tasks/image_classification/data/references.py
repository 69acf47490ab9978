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
from shared.data.references import first, further, missing
from shared.data.sources.pair import Pair
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
    size = own_settings(config, Settings).img_size
    for folder, chosen in missing(config, wanted, pairs, "pictures", "pictures"):

        def write(stage: Path, chosen: list[Pair] = chosen) -> None:
            for number, pair in enumerate(chosen):
                fit(open_picture(pair.image), size).save(stage / f"{number:06d}.png")

        details = {"ids": [pair.id for pair in chosen], "labels": [pair.caption for pair in chosen]}
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
