"""The pictures of a run by what its `dataset.json` says of them: nothing else of the data set is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.config.schema import Config
from shared.data import dataset
from shared.data.dataset import Digest
from shared.data.sources import Pair
from shared.run_folder.records.inventory import Inventory


@dataclass(frozen=True)
class RecordedPairs:
    """The pairs as they were when the run was made. Their pictures may have been moved or changed since."""

    pairs: list[Pair]
    _digests: dict[Path, str]

    def digest(self, picture: Path) -> str:
        """sha256 that a picture of them had then."""
        return self._digests[picture]

    def are_unchanged(self, some: Iterable[Pair], digest: Digest) -> bool:
        """Whether the pictures of these pairs are where they were, with the bytes they had. digest: of a file now."""
        pictures = (picture for pair in some for picture in (pair.image, *pair.sources))
        return all(picture.is_file() and digest(picture) == self.digest(picture) for picture in pictures)


def recorded_pairs(inventory: Inventory | None, config: Config) -> RecordedPairs | None:
    """What `dataset.json` lists, looked for where `config.data.path` is; None: an older run has no paths there."""
    if inventory is None or not inventory.paths:
        return None
    folder = dataset.folder_of(config)
    pairs = [
        Pair(
            record.id,
            folder / inventory.paths[record.id],
            record.caption,
            record.repeats,
            record.is_regularization,
            sources=tuple(folder / place for place in inventory.source_paths.get(record.id, ())),
        )
        for record in inventory.pairs
    ]
    digests = {
        picture: digest
        for pair, record in zip(pairs, inventory.pairs, strict=True)
        for picture, digest in zip((pair.image, *pair.sources), (record.image, *record.sources), strict=True)
    }
    return RecordedPairs(pairs, digests)
