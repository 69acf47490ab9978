"""What a run is evaluated by: held-out pairs, captions as prompts and pictures as references, published once per run;
and a copy of the file of a person's own prompts, with the sources that these name.

From then on evaluators depend on the run folder alone, whatever happens to the data set. A reference has the size that
training gives the picture: its bucket's. References are published when the run is created if the base model's files
give its size multiple, otherwise by the first program that loads the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shared.config.schema import Config
from shared.data import buckets, prompt_file
from shared.data.pictures import open_picture, upright_size
from shared.data.prompt_file import OwnPrompt
from shared.data.sources import Pair
from shared.errors import DataError
from shared.files import paths
from shared.files.publication import publish, remove
from shared.files.replacing import replace_file
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.run_record import RunRecord
from shared.run_folder.run_dir import steps_in

if TYPE_CHECKING:
    from shared.run_folder.run_dir import RunDir


PROMPTS = "prompts.txt"
"""Before the number of a line, the id of a prompt of a person's own."""


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


Named = TypeVar("Named", bound=_HasId)


def first(config: Config, record: RunRecord) -> tuple[str, ...]:
    """Ids of the held-out pairs that every snapshot is evaluated on."""
    return record.dataset.held_out[: config.evaluation.num_prompts]


def further(config: Config, record: RunRecord) -> tuple[str, ...]:
    """Ids of the pairs after them, on which the finalists are evaluated as well; empty if none are left."""
    rest = record.dataset.held_out[config.evaluation.num_prompts :]
    return rest[: config.evaluation.confirm_prompts]


def own_prompts(run: RunDir, config: Config, multiple: int = prompt_file.SIZE_MULTIPLE) -> tuple[OwnPrompt, ...]:
    """The run's prompts of a person's own, from its copy of the file; empty if it has none.

    multiple: the model's size multiple.

    Raises:
        ConfigError: lines of it are wrong.
    """
    if not run.prompts.exists():
        return ()
    return prompt_file.read(run.prompts, config.data.trigger_word, multiple, is_copy=True)


def prompt_id(own: OwnPrompt) -> str:
    """The id of a prompt of a person's own."""
    return f"{PROMPTS}:{own.line}"


def copy_prompts(run: RunDir, config: Config) -> None:
    """Copy the file of `evaluation.prompts` into the run folder, if it is not there yet.

    Raises:
        ConfigError: it cannot be read.
    """
    if config.evaluation.prompts is None or run.prompts.exists():
        return
    source = Path(config.evaluation.prompts)
    prompt_file.read(source, config.data.trigger_word)
    replace_file(run.prompts, source.read_bytes())


def publish_missing(
    run: RunDir,
    config: Config,
    multiple: int,
    pairs: Callable[[], Iterable[Pair]],
    source_sizes: Sequence[buckets.Size] = (),
) -> None:
    """Publish the references that are missing, with their sources beside them: `<id>.source-1.png` ….

    Sources of a person's own prompts, which have no reference, lie there too.

    multiple: the model's size multiple. pairs: called to read the data set if something is missing. source_sizes: the
    buckets for sources, if there are some.

    Raises:
        DataError: a held-out pair is no longer in the data set, or a source of a prompt cannot be read.
        ConfigError: the resolution does not suit the model.
    """
    record = run.read_record()
    edits = [one for one in own_prompts(run, config, multiple) if one.sources] if not run.references.exists() else []
    wanted = {run.references: first(config, record), run.further_references: further(config, record)}
    if steps_in(run.evaluations):  # an older version published no further ones where there were few
        del wanted[run.further_references]
    found = dict(missing(config, wanted, pairs, "pairs", "pictures"))
    for folder in wanted:
        own = edits if folder == run.references else []
        if folder in found or own:
            _publish(run, record.run_id, folder, found.get(folder, []), own, config, multiple, source_sizes)


def missing(
    config: Config,
    wanted: Mapping[Path, Sequence[str]],
    everything: Callable[[], Iterable[Named]],
    what: str,
    things: str,
) -> Iterator[tuple[Path, list[Named]]]:
    """Folders of held-out ones that are missing, and what belongs into each, in order.

    wanted: folder → ids. everything: called to read the data set if something is missing. what, things: what held-out
    ones are called, and what can be restored.

    Raises:
        DataError: one is no longer in the data set.
    """
    absent = {folder: ids for folder, ids in wanted.items() if ids and not folder.exists()}
    by_id = {one.id: one for one in everything()} if absent else {}
    for folder, ids in absent.items():
        if gone := [name for name in ids if name not in by_id]:
            place = paths.behind_links(config.data.path)
            raise DataError(
                f"held-out {what} are gone from {place}: {', '.join(gone)}", f"restore these {things} in {place}"
            )
        folder.parent.mkdir(exist_ok=True)
        yield folder, [by_id[name] for name in ids]


def withdraw(run: RunDir) -> None:
    """Remove references and prompts, so that others can be published; only while nothing is evaluated."""
    run.prompts.unlink(missing_ok=True)
    for folder in (run.references, run.further_references):
        if folder.exists():
            remove(run.staging, folder)


def source_names(prompt_id: str, count: int) -> list[str]:
    """Files of a folder of references: the sources of one of them, in order."""
    return [f"{prompt_id}.source-{number}.png" for number in range(1, count + 1)]


def _publish(
    run: RunDir,
    run_id: str,
    folder: Path,
    pairs: list[Pair],
    own: Sequence[OwnPrompt],
    config: Config,
    multiple: int,
    source_sizes: Sequence[buckets.Size],
) -> None:
    """own: the prompts with sources."""
    sizes = buckets.sizes(config.data.resolution, multiple, square=not config.data.buckets)
    framings = {pair.id: buckets.frame(upright_size(pair.image), sizes) for pair in pairs}
    sources = {pair.id: pair.sources for pair in pairs if pair.sources}
    file = Path(config.evaluation.prompts or run.prompts)
    for one in own:
        sources[prompt_id(one)] = tuple(prompt_file.source_path(file, source) for source in one.sources)
        framings[prompt_id(one)] = _own_framing(one, sources[prompt_id(one)][0], sizes)

    def write(stage: Path) -> None:
        for pair in pairs:
            path = stage / f"{pair.id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            framings[pair.id].apply(open_picture(pair.image)).save(path)
        for its_id, files in sources.items():
            for name, source in zip(source_names(its_id, len(files)), files, strict=True):
                framing = buckets.frame_source(upright_size(source), framings[its_id], source_sizes)
                framing.apply(open_picture(source)).save(stage / name)

    details: dict[str, Any] = {
        "prompts": {pair.id: pair.caption for pair in pairs},
        "sizes": {its_id: framing.target for its_id, framing in framings.items()},
    }
    if sources:
        details["num_sources"] = {its_id: len(files) for its_id, files in sources.items()}
    publish(run.staging, folder, Manifest(kind="references", run_id=run_id, step=0, details=details), write)


def _own_framing(own: OwnPrompt, source: Path, sizes: Sequence[buckets.Size]) -> buckets.Framing:
    """Of what is drawn: in the source's shape, unless the prompt says a width or a height."""
    framing = buckets.frame(upright_size(source), sizes)
    if own.width is None and own.height is None:
        return framing
    size = own.width or framing.target[0], own.height or framing.target[1]
    return buckets.Framing(size, size)
