"""The held-out pairs a run is judged by: captions as prompts, pictures as references, published once per run.

From then on evaluators depend on the run folder alone, whatever happens to the data set. A reference has the shape that
training gives such a picture: its bucket's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from shared import buckets, dataset
from shared.config import Config
from shared.errors import DataError
from shared.pictures import open_picture, upright_size
from shared.publication import publish, verify
from shared.records import Manifest, RunRecord
from shared.rundir import RunDir

MIN_FURTHER = 4
"""Held-out pairs the finalists are judged again on, at least: fewer would overrule the first judgement by chance."""


@dataclass(frozen=True)
class References:
    """Prompts and pictures by id, in the order they are judged. Prompts that a person asks for have no pictures."""

    prompts: dict[str, str]
    pictures: dict[str, Image.Image]
    size: buckets.Size = (0, 0)
    """Of samples without a reference."""

    @property
    def sizes(self) -> dict[str, buckets.Size]:
        """Width and height of each picture; its samples are drawn at the same."""
        return {name: self.pictures[name].size if name in self.pictures else self.size for name in self.prompts}


def load(run: RunDir, config: Config, record: RunRecord, multiple: int) -> References:
    """Read the run's references, publishing them first if nobody has.

    multiple: of a picture's sides, as the model needs it.

    Raises:
        DataError: they have to be made and a held-out pair is no longer in the data set.
        ConfigError: the resolution does not suit the model.
        RunFolderError: they are not what was published: every result stands on the same ones.
    """
    wanted = record.dataset.held_out[: config.evaluation.num_prompts]
    return _load(run, run.references, wanted, config, multiple)


def load_further(run: RunDir, config: Config, record: RunRecord, multiple: int) -> References:
    """Likewise the pairs the finalists are judged on again; call it only where `further` names some."""
    run.confirmations.mkdir(exist_ok=True)
    return _load(run, run.confirmations / run.references.name, further(config, record), config, multiple)


def asked(prompts: Sequence[str], config: Config, multiple: int) -> References:
    """A person's own prompts, to be drawn as squares."""
    size = buckets.sizes(config.data.resolution, multiple, square=True)[0]
    return References({f"asked-{number:02d}": prompt for number, prompt in enumerate(prompts, 1)}, {}, size)


def further(config: Config, record: RunRecord) -> tuple[str, ...]:
    """Ids of the held-out pairs behind those every snapshot is judged on; empty: too few, or not wanted."""
    first = config.evaluation.num_prompts
    found = record.dataset.held_out[first : first + config.evaluation.confirm_prompts]
    return found if len(found) >= MIN_FURTHER else ()


def _load(run: RunDir, folder: Path, wanted: tuple[str, ...], config: Config, multiple: int) -> References:
    if not folder.exists():
        _publish(run, folder, wanted, config, multiple)
    prompts: dict[str, str] = verify(folder).details["prompts"]
    return References(prompts, {prompt_id: _read(folder / f"{prompt_id}.png") for prompt_id in prompts})


def _publish(run: RunDir, folder: Path, wanted: tuple[str, ...], config: Config, multiple: int) -> None:
    pairs = {pair.id: pair for pair in dataset.scan(config)}
    missing = [prompt_id for prompt_id in wanted if prompt_id not in pairs]
    if missing:
        raise DataError(f"held-out pairs are gone from {config.data.path}: {', '.join(missing)}", "restore them")
    sizes = buckets.sizes(config.data.resolution, multiple, square=not config.data.buckets)
    framings = {prompt_id: buckets.frame(upright_size(pairs[prompt_id].image), sizes) for prompt_id in wanted}

    def write(stage: Path) -> None:
        for prompt_id, framing in framings.items():
            path = stage / f"{prompt_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            framing.apply(open_picture(pairs[prompt_id].image)).save(path)

    details = {
        "prompts": {prompt_id: pairs[prompt_id].caption for prompt_id in wanted},
        "sizes": {prompt_id: framing.target for prompt_id, framing in framings.items()},
    }
    run_id = run.read_record().run_id
    publish(run.staging, folder, Manifest(kind="references", run_id=run_id, step=0, details=details), write)


def _read(path: Path) -> Image.Image:
    with Image.open(path, formats=["PNG"]) as picture:
        return picture.convert("RGB")
