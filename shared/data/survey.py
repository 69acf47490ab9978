"""An overview of a data set: number, sizes and shapes of its pictures, and whether captions are there."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.config.schema import DataConfig, RunConfig, TrainConfig
from shared.data import dataset
from shared.data.headers import Headers
from shared.data.inspection import Inspection
from shared.data.sources import Pair, ScanReport
from shared.data.split import groups, held_out, regularization
from shared.data.split.near_duplicates import Thumbprints
from shared.errors import DataError
from shared.files.digests import Digests
from shared.files.progress_lines import spoken

STRATA_NAMED = 6
DEFAULT_SEED = TrainConfig.model_fields["seed"].default
DEFAULT_CACHE = RunConfig().output_dir / ".cache"


@dataclass(frozen=True)
class Survey:
    """The overview."""

    num_images: int
    """Pictures of the subject that have a caption, or may have one."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) of every picture that could be opened."""
    captions: tuple[str, ...]
    problems: tuple[str, ...] = ()
    """Problems that prevent training."""
    cure: str = ""
    """How to solve them."""
    num_regularization: int = 0
    """Pictures of the class."""
    regularization_folders: tuple[str, ...] = ()
    """Folders of these, below the data set's folder."""
    num_copies: int = 0
    """Pictures of the subject that are copies of another one, or look like it."""
    num_masked: int = 0
    """Pictures with a mask beside them."""
    num_sources: int = 0
    """Of a picture, at most: what it is made from by its caption; 0: they are no pairs for an edit model."""
    strata: tuple[tuple[str, int, int], ...] = ()
    """(Folder, pictures, pictures × repeats) of the subject, as the held-out pairs are spread over them."""
    notices: tuple[str, ...] = ()
    """Notices of what was interpreted differently or not used."""
    trigger_word: str = ""
    """Put into every caption."""
    held_out_captions: tuple[str, ...] = ()
    """Of the pictures that a run with the suggested number and the usual seed holds out; empty: there are too few."""
    pictures: tuple[Path, ...] = ()
    """Of the subject, without those that look like another."""

    @property
    def median_short_side(self) -> int:
        """Pixels; 0 if no picture could be opened."""
        return int(statistics.median(min(size) for size in self.sizes)) if self.sizes else 0

    @property
    def mixed_shapes(self) -> bool:
        """Whether aspect ratios differ by more than a tenth."""
        ratios = [width / height for width, height in self.sizes]
        return bool(ratios) and max(ratios) / min(ratios) > 1.1

    def sentences(self) -> list[str]:
        """For the terminal."""
        lines = [f"{self.num_images} pictures, {len(self.captions)} captions"]
        if self.num_regularization:
            lines.append(
                f"{self.num_regularization} further pictures for regularisation, in "
                f"{', '.join(self.regularization_folders)}: trained on beside the others, as many in each pass, "
                "and never held out"
            )
        if self.num_masked:
            lines.append(
                f"{self.num_masked} with a mask beside them: only what is white there counts in the loss (data.masks)"
            )
        if self.num_sources:
            several = f", up to {self.num_sources} each" if self.num_sources > 1 else ""
            lines.append(
                f"pairs for an edit model: pictures have sources{several}, and captions are instructions (data.sources)"
            )
        if len(self.strata) > 1:
            named = ", ".join(
                f"{name or 'the top folder'} ({count}{f', {weight} with repeats' if weight != count else ''})"
                for name, count, weight in self.strata[:STRATA_NAMED]
            )
            more = f" and {len(self.strata) - STRATA_NAMED} more" if len(self.strata) > STRATA_NAMED else ""
            lines.append(f"held-out pictures are chosen in proportion to what is trained of {named}{more}")
        if self.sizes:
            widths, heights = zip(*self.sizes, strict=True)
            ratios = sorted(width / height for width, height in self.sizes)
            lines.append(
                f"{min(widths)} to {max(widths)} wide, {min(heights)} to {max(heights)} high; median short side "
                f"{self.median_short_side}; aspect ratios {ratios[0]:.2f} to {ratios[-1]:.2f}"
            )
        if self.captions:
            words = statistics.median(len(caption.split()) for caption in self.captions)
            lines.append(f"captions: {words:g} words in the median, {len(set(self.captions))} different")
        return lines


def survey(
    path: str | Path,
    trigger_word: str = "",
    *,
    cache: Path = DEFAULT_CACHE,
    say: Callable[[str], object] = lambda text: None,
) -> Survey:
    """Read a data set in any of its forms, as a run would.

    trigger_word: in every caption, and the caption of pictures that have none. cache: where the pictures of a
    `datasets` data set are written out. say: gets progress messages if this takes long.

    Raises:
        DataError: no such data set, or nothing in it can be used; it lists the same problems as a run.
    """
    edited = dataset.has_sources(str(path), cache)
    data = DataConfig(path=str(path), trigger_word=trigger_word, sources="files" if edited else "off")
    report = ScanReport()
    headers = Headers(cache / "headers.json")
    digest = Digests(cache / "digests.json")
    thumbprint = Thumbprints(cache / "thumbprints.json")
    inspection = Inspection(headers, digest, thumbprint, spoken(say, "pictures looked at"))
    pairs = dataset.look(data, cache, report, inspection)
    if not pairs:
        dataset.refuse(str(path), pairs, report)
    sizes = tuple(size for size in (_size(pair.image, headers) for pair in pairs) if size)
    subject = [pair for pair in pairs if not pair.is_regularization]
    distinct = subject if report.problems else dataset.one_of_each(subject, digest)
    together: groups.Groups = {} if report.problems else groups.groups(distinct, thumbprint=thumbprint, digest=digest)
    candidates = groups.one_of_each(distinct, together)
    copied = "" if report.problems else dataset.copies(pairs, digest)
    held_out_ids = _held_out(candidates)
    caption = {pair.id: pair.caption for pair in candidates}
    return Survey(
        num_images=len(subject),
        sizes=sizes,
        captions=tuple(pair.caption for pair in subject if trigger_word or pair.image not in report.uncaptioned),
        problems=tuple(dict.fromkeys(report.problems)),
        cure=dataset.cure(report),
        num_regularization=len(pairs) - len(subject),
        regularization_folders=tuple(regularization.folders(pairs)),
        num_copies=len(subject) - len(candidates),
        num_masked=sum(pair.mask is not None for pair in pairs),
        num_sources=max((len(pair.sources) for pair in pairs), default=0),
        strata=_strata(subject),
        notices=(
            *report.notices,
            *([f"{copied}: {held_out.OF_COPIES}"] if copied else []),
            *groups.notices(held_out_ids, together),
        ),
        trigger_word=trigger_word,
        held_out_captions=tuple(caption[pair_id] for pair_id in held_out_ids),
        pictures=tuple(pair.image for pair in candidates),
    )


def _held_out(candidates: list[Pair]) -> list[str]:
    """The ids that a run with the suggested number and the usual seed holds out; none where there are too few."""
    count = held_out.suggested(len(candidates))
    return held_out.choose(candidates, count, DEFAULT_SEED) if len(candidates) > count else []


def _strata(subject: list[Pair]) -> tuple[tuple[str, int, int], ...]:
    repeats_of: dict[str, list[int]] = {}
    for pair in subject:
        repeats_of.setdefault(held_out.stratum(pair.id), []).append(pair.repeats)
    return tuple((name, len(repeats), sum(repeats)) for name, repeats in sorted(repeats_of.items()))


def _size(path: Path, headers: Headers) -> tuple[int, int] | None:
    try:
        return headers(path).size
    except DataError:
        return None
