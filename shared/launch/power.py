"""Before training: what the planned prompts can show, in words with an example.

Held-out pairs with the same caption are one prompt, as everywhere (`shared/statistics/paired.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from shared.config.path_settings import NO_PICTURES
from shared.config.save_interval import EveryMinutes
from shared.config.schema import Config
from shared.data import references
from shared.data.split import held_out
from shared.machine.disk import num_saves
from shared.run_folder.run_dir import RunDir
from shared.statistics.power import LARGE_GAIN, chance

LIKELY, DOUBTFUL, HOPELESS = 0.9, 0.5, 0.2
"""Chances to see a large gain: enough to rely on, too small to keep quiet about, next to none."""
TYPICAL_SNAPSHOTS = 10
"""Where snapshots come by the minute, so that their number is not known beforehand."""


@dataclass(frozen=True)
class Power:
    """What a plan can show."""

    num_prompts: int
    """Different captions that every snapshot is evaluated on; where all are the same, held-out pairs."""
    num_further: int
    """Different captions, or pairs, besides, that the best snapshots are evaluated on at the end."""
    num_snapshots: int
    one_caption: bool = False
    """All held-out pairs have the same caption."""
    num_available: int = 0
    """Different captions in the whole data set; 0: not known."""
    num_pictures: int = 0
    """Of the data set; 0: not known."""
    num_pairs: int = 0
    """Pictures behind the captions that every snapshot is evaluated on; 0: not known."""
    num_own: int = 0
    """Prompts of a person's own among `num_prompts`, and among those that the best are evaluated on again."""
    imported: bool = False
    """Another trainer's LoRAs: pictures are not held out of a data set, but given as references."""
    by_picture: bool = False
    """Pictures have classes in place of captions: each is a unit of its own."""
    example: str = "picture"
    """What one of the data set is called."""
    has_pictures: bool = True
    """False: there is none to compare with, so no metric will rank anything."""

    @property
    def _decisive(self) -> int:
        return self.num_prompts + self.num_further

    @property
    def _chance(self) -> float:
        return chance(LARGE_GAIN, self._decisive, self.num_snapshots)

    def sentence(self) -> str:
        """For a person, without a judgement."""
        if not self.has_pictures:
            return f"each snapshot is drawn from {self._held_out()}; no metric ranks them, votes do"
        further = f", the best at the end on {self.num_further} more" if self.num_further else ""
        shown = f"each snapshot is evaluated on {self._held_out()}{further}"
        if self._decisive < 2:
            unit = "prompt" if self.num_own else self.example if self.by_picture else "caption"
            return f"{shown}: one {unit} says nothing about others, so no difference to the base model can be shown"
        snapshots = f"{self.num_snapshots} snapshots" if self.num_snapshots > 1 else "1 snapshot"
        half = chance(LARGE_GAIN / 2, self._decisive, self.num_snapshots)
        return (
            f"{shown}. With {snapshots}, a large gain would be surely seen in {_share(self._chance)} runs, half of it "
            f"in {_share(half)}{self._of_one_caption()}"
        )

    def caution(self) -> str | None:
        """A warning with a cure; None where a large gain would be seen in every second run at least."""
        if self._chance >= DOUBTFUL or not self.has_pictures:
            return None
        verdict = "will hardly ever be sure" if self._chance < HOPELESS else "may miss a large gain"
        return f"{self.sentence()}. The verdict {verdict}: {self._cure()}, or choose by looking at the samples"

    def _held_out(self) -> str:
        what = "reference" if self.imported else "held-out"
        own = f"{self.num_own} prompt{'s' if self.num_own > 1 else ''} of your own"
        num_held_out = self.num_prompts - self.num_own
        pictures = f"{self.num_prompts} {what} {self.example}{'s' if self.num_prompts > 1 else ''}"
        if self.by_picture:
            return pictures
        if self.one_caption:
            return f"{pictures} of one caption"
        if not num_held_out:
            return own
        held_out_captions = f"1 {what} caption" if num_held_out == 1 else f"{num_held_out} {what} captions"
        if num_held_out < self.num_pairs:
            held_out_captions += f" ({self.num_pairs} pictures: those of one caption count as one prompt)"
        return f"{held_out_captions} and {own}" if self.num_own else held_out_captions

    def _of_one_caption(self) -> str:
        if not self.one_caption:
            return ""
        return (
            ". The verdict holds for this caption only: write different captions to know about others. More seeds "
            "(evaluation.num_seeds) make it surer about this caption, and say nothing about others"
        )

    def _cure(self) -> str:
        """What gives the verdict enough captions to see a large gain in nine of ten runs."""
        enough = self._enough()
        if self.num_own:
            place = "--prompts" if self.imported else "evaluation.prompts"
            return f"write {self.num_own + enough - self.num_prompts} or more different prompts into {place}"
        if self.imported:
            return f"give more reference pictures (--references), {enough} or more with different captions"
        few_captions = not self.one_caption and 0 < self.num_available < enough
        if self.num_pictures and held_out.suggested(self.num_pictures) < enough:
            each = ", each with a caption of its own" if few_captions else ""
            return f"add {self.example}s (with {held_out.pictures_needed(enough)}, {enough} can be held out){each}"
        if few_captions:
            return (
                f"the data set has only {_captions(self.num_available)}, and pictures of one caption count once. Write "
                f"{enough} or more different ones; more seeds (evaluation.num_seeds) make it surer about these "
                "captions, but say nothing about others"
            )
        what = f"{self.example}s" if self.one_caption or self.by_picture else "different captions"
        return f"hold out {enough} or more {what} (data.num_validation, evaluation.num_prompts), add {self.example}s"

    def _enough(self) -> int:
        count = 2
        while chance(LARGE_GAIN, count, self.num_snapshots) < LIKELY:
            count += 1
        return count


def planned(
    config: Config,
    captions: Sequence[str],
    pass_length: int = 0,
    everything: Sequence[str] = (),
    own_prompts: Sequence[str] = (),
) -> Power:
    """Of settings.

    Args:
        config: the settings.
        captions: of held-out pairs, in order.
        pass_length: in pictures; 0: unknown.
        everything: captions of all pairs of the subject; empty: unknown.
        own_prompts: of `evaluation.prompts`.
    """
    evaluation = config.evaluation
    captions = captions if config.data.num_validation else ()
    first = [*captions[: evaluation.num_prompts], *own_prompts]
    more = captions[evaluation.num_prompts :][: evaluation.confirm_prompts]
    both = [*first, *more]
    every = math.ceil(_num_snapshots(config, pass_length) / evaluation.every)
    num_available = len(set(everything))
    one_caption = len(set(both)) == 1 and (len(both) > 1 or num_available == 1)
    num_both = _different(both)
    num_first = min(_different(first), num_both)
    num_own = num_first - min(_different(captions[: evaluation.num_prompts]), num_first) if own_prompts else 0
    return Power(
        num_first,
        num_both - num_first,
        max(every, 1),
        one_caption,
        num_available,
        len(everything),
        num_pairs=len(captions[: evaluation.num_prompts]),
        num_own=num_own,
    )


def of_run(run: RunDir, config: Config) -> Power:
    """Of a run folder; captions that an older version did not record count as different ones."""
    dataset, inventory = run.read_record().dataset, run.read_inventory()
    pairs = [pair for pair in inventory.pairs if not pair.is_regularization] if inventory else []
    example = inventory.example if inventory else ""
    by_picture = inventory is not None and (inventory.classified or bool(example))
    caption = {} if by_picture else {pair.id: pair.caption for pair in pairs}
    captions = [caption.get(pair, pair) for pair in dataset.held_out]
    # without a reference a prompt is compared with what was trained on, and with one another: two pictures at least
    can_count = not pairs or len(pairs) - len(dataset.kept_away) > 1
    own = [one.prompt for one in references.own_prompts(run, config)] if can_count else []
    everything = [caption.get(pair.id, pair.id) for pair in pairs]
    found = replace(
        planned(config, captions, dataset.pass_length, everything, own),
        by_picture=by_picture,
        example=example or "picture",
    )
    if imported := run.read_record().imported:
        count = len(run.snapshots_to_evaluate()) or _num_files(Path(imported.folder), imported.pattern)
        found = replace(found, imported=True, num_snapshots=max(1, count))
    has_pictures = config.data.path != NO_PICTURES
    return replace(found, has_pictures=has_pictures)


def _num_files(folder: Path, pattern: str) -> int:
    """LoRAs that another trainer has saved by now, by their names."""
    files = [*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")]
    return sum(fnmatch(file.name, pattern) or fnmatch(file.parent.name, pattern) for file in files)


def _num_snapshots(config: Config, pass_length: int) -> int:
    train = config.train
    if isinstance(train.snapshot_steps, EveryMinutes):
        return TYPICAL_SNAPSHOTS
    steps_per_epoch = pass_length / (train.train_batch_size * train.gradient_accumulation_steps * train.num_processes)
    return num_saves(train.snapshot_steps, 0, train.max_train_steps, steps_per_epoch or 1)


def _different(captions: Sequence[str]) -> int:
    """As `paired.prompts` counts them: where all are the same, each pair."""
    return count if (count := len(set(captions))) > 1 else len(captions)


def _captions(count: int) -> str:
    return "1 caption" if count == 1 else f"{count} different captions"


def _share(chance_of: float) -> str:
    return f"{round(100 * chance_of)} of 100"
