"""The prompts to draw and the pictures to compare with: the run's own, or prompts that the user requested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from shared.config.schema import Config
from shared.data import buckets, dataset
from shared.data import references as published
from shared.data.recorded import recorded_pairs
from shared.data.sources import Pair
from shared.files.digests import Digests
from shared.files.publication import verify
from shared.launch import relocation
from shared.run_folder.run_dir import RunDir


@dataclass(frozen=True)
class References:
    """Prompts and pictures by id, in the order of evaluation. Prompts that the user requested have no pictures."""

    prompts: dict[str, str]
    pictures: dict[str, Image.Image]
    size: buckets.Size = (0, 0)
    """The size of samples without a reference."""

    @property
    def sizes(self) -> dict[str, buckets.Size]:
        """Width and height of each picture; its samples are drawn in the same size."""
        return {name: self.pictures[name].size if name in self.pictures else self.size for name in self.prompts}

    def beside(self, others: References) -> References:
        """These, and then the others."""
        return References({**self.prompts, **others.prompts}, {**self.pictures, **others.pictures})


def load(run: RunDir, config: Config, multiple: int, folder: Path | None = None) -> References:
    """Read the run's references, or those in `folder`; publish them first if they are missing.

    multiple: the sides of a picture must be multiples of it.

    Raises:
        DataError: they have to be created, but the data set is missing or has changed.
        ConfigError: the resolution does not suit the model.
        RunFolderError: they have changed since they were published; all results of a run must use the same ones.
    """
    folder = folder or run.references
    published.publish_missing(run, config, multiple, lambda: _pairs(run, config))
    prompts: dict[str, str] = verify(folder).details["prompts"]
    return References(prompts, {prompt_id: _read(folder / f"{prompt_id}.png") for prompt_id in prompts})


def requested(prompts: Sequence[str], config: Config, multiple: int) -> References:
    """Prompts that the user requested, to be drawn as squares."""
    size = buckets.sizes(config.data.resolution, multiple, square=True)[0]
    return References({f"asked-{number:02d}": prompt for number, prompt in enumerate(prompts, 1)}, {}, size)


def _pairs(run: RunDir, config: Config) -> list[Pair]:
    """The held-out pairs from the run's record if they have not changed, else from reading the data set again.

    An old run can therefore be evaluated if only training pictures have changed.
    """
    recorded, ids = recorded_pairs(run.read_inventory(), config), set(run.read_record().dataset.held_out)
    held_out = [pair for pair in recorded.pairs if pair.id in ids] if recorded else []
    if recorded and recorded.are_unchanged(held_out, Digests(dataset.digests_path(config))):
        return held_out
    if run.read_inventory():
        return relocation.scan_again(run, config, Digests(dataset.digests_path(config)))
    relocation.require_data(run, config)
    return dataset.scan(config)


def _read(path: Path) -> Image.Image:
    with Image.open(path, formats=["PNG"]) as picture:
        return picture.convert("RGB")
