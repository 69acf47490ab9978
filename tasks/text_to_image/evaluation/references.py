"""The prompts to draw and the pictures to compare with: those of the run, or prompts that the user requested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from shared.config.schema import Config
from shared.data import asked_prompt, buckets, dataset
from shared.data import references as published
from shared.data.prompt_file import AS_OTHERS, OwnPrompt
from shared.data.recorded import recorded_pairs
from shared.data.sources import Pair
from shared.errors import ConfigError
from shared.files.digests import Digests
from shared.files.publication import verify
from shared.launch import relocation
from shared.run_folder.run_dir import RunDir


@dataclass(frozen=True)
class References:
    """Prompts and pictures by id, in the order of evaluation. Prompts of a person's own have no pictures."""

    prompts: dict[str, str]
    pictures: dict[str, Image.Image]
    size: buckets.Size = (0, 0)
    """The size of samples without a reference, unless their prompt says another."""
    own: dict[str, OwnPrompt] = field(default_factory=dict[str, OwnPrompt])
    """What prompts say of themselves, by id."""
    sources: dict[str, tuple[Image.Image, ...]] = field(default_factory=dict[str, tuple[Image.Image, ...]])
    """What pictures are made from, in order; a prompt without sources is absent."""
    shapes: dict[str, buckets.Size] = field(default_factory=dict[str, buckets.Size])
    """The size of samples of prompts with sources and without a reference."""

    @property
    def sizes(self) -> dict[str, buckets.Size]:
        """Width and height of each picture; its samples are drawn in the same size."""
        return {name: self.pictures[name].size if name in self.pictures else self._size(name) for name in self.prompts}

    def beside(self, others: References) -> References:
        """These, and then the others."""
        return References(
            {**self.prompts, **others.prompts},
            {**self.pictures, **others.pictures},
            others.size,
            {**self.own, **others.own},
            {**self.sources, **others.sources},
            {**self.shapes, **others.shapes},
        )

    def _size(self, name: str) -> buckets.Size:
        if name in self.shapes:
            return self.shapes[name]
        own = self.own.get(name, AS_OTHERS)
        return own.width or self.size[0], own.height or self.size[1]


def load(
    run: RunDir,
    config: Config,
    multiple: int,
    folder: Path | None = None,
    source_sizes: Sequence[buckets.Size] = (),
) -> References:
    """Read the run's references, or those in `folder`; publish them first if they are missing.

    The run's prompts of a person's own follow them, but not those in another folder.

    multiple: the sides of a picture must be multiples of it. source_sizes: the buckets for sources, if there are some.

    Raises:
        DataError: they have to be created, but the data set is missing or has changed.
        ConfigError: the resolution or a line of the prompts does not suit the model.
        RunFolderError: they have changed since they were published; all results of a run must use the same ones.
    """
    published.copy_prompts(run, config)
    published.publish_missing(run, config, multiple, lambda: _pairs(run, config), source_sizes)
    if folder is not None:
        return _published(folder)
    own = published.own_prompts(run, config, multiple)
    has_folder = published.first(config, run.read_record()) or any(one.sources for one in own)
    held_out = _published(run.references) if has_folder else References({}, {})
    return held_out.beside(_of_ones_own(own, config, multiple)) if own else held_out


def _published(folder: Path) -> References:
    details = verify(folder).details
    prompts: dict[str, str] = details["prompts"]
    num_sources: dict[str, int] = details.get("num_sources", {})
    sizes: dict[str, list[int]] = details.get("sizes", {})
    return References(
        prompts,
        {prompt_id: _read(folder / f"{prompt_id}.png") for prompt_id in prompts},
        sources={
            prompt_id: tuple(_read(folder / name) for name in published.source_names(prompt_id, count))
            for prompt_id, count in num_sources.items()
        },
        shapes={name: (sizes[name][0], sizes[name][1]) for name in num_sources if name not in prompts},
    )


def _of_ones_own(own: Sequence[OwnPrompt], config: Config, multiple: int) -> References:
    named = {published.prompt_id(one): one for one in own}
    return References({name: one.prompt for name, one in named.items()}, {}, square(config, multiple), named)


def requested(prompts: Sequence[str], config: Config, multiple: int, run: References) -> References:
    """Prompts that the user requested: squares, or as large as the prompt of the run whose sources they name.

    Raises:
        ConfigError: a prompt names sources that the run does not have.
    """
    asked = {f"asked-{number:02d}": asked_prompt.split(prompt) for number, prompt in enumerate(prompts, 1)}
    named = {name: prompt_id for name, (_, prompt_id) in asked.items() if prompt_id}
    if unknown := [prompt_id for prompt_id in named.values() if prompt_id not in run.sources]:
        raise ConfigError(
            f"no prompt of this run with a source is called {unknown[0]}",
            f"name one of {', '.join(list(run.sources)[:5])}" if run.sources else "leave the source out",
        )
    return References(
        {name: text for name, (text, _) in asked.items()},
        {},
        square(config, multiple),
        sources={name: run.sources[prompt_id] for name, prompt_id in named.items()},
        shapes={name: run.sizes[prompt_id] for name, prompt_id in named.items()},
    )


def square(config: Config, multiple: int) -> buckets.Size:
    """The size of pictures whose prompt says none."""
    return buckets.sizes(config.data.resolution, multiple, square=True)[0]


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
