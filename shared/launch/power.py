"""Before training: what the planned prompts can show, in words with an example.

Held-out pairs with the same caption are one prompt, as everywhere (`shared/statistics/paired.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.config.save_interval import EveryMinutes
from shared.config.schema import Config
from shared.machine.disk import num_saves
from shared.run_folder.run_dir import RunDir
from shared.statistics.power import chance, detectable

DEMO_GAIN = 2.8
"""The composite's mean gain at the demo's best snapshot, in standard deviations over its 16 prompts: a large one."""
LIKELY, DOUBTFUL, HOPELESS = 0.9, 0.5, 0.2
"""Chances to see the demo's gain: enough to rely on, too small to keep quiet about, next to none."""
TYPICAL_SNAPSHOTS = 10
"""Where snapshots come by the minute, so that nobody knows how many there will be."""


@dataclass(frozen=True)
class Power:
    """What a plan can show."""

    num_prompts: int
    """Different captions that every snapshot is evaluated on."""
    num_further: int
    """Different captions besides, that the best snapshots are evaluated on at the end."""
    num_snapshots: int

    @property
    def _decisive(self) -> int:
        return self.num_prompts + self.num_further

    @property
    def _chance(self) -> float:
        return chance(DEMO_GAIN, self._decisive, self.num_snapshots)

    def sentence(self) -> str:
        """For a person, without a judgement."""
        further = f", the best at the end on {self.num_further} more" if self.num_further else ""
        shown = f"each snapshot is evaluated on {_captions(self.num_prompts)}{further}"
        if self._decisive < 2:
            return f"{shown}: one caption says nothing about others, so no difference to the base model can be shown"
        factor = detectable(self._decisive, self.num_snapshots)
        among = f"the best of {self.num_snapshots}" if self.num_snapshots > 1 else "a snapshot"
        return (
            f"{shown}: {among} is called better than the base model if its mean gain is more than {factor:.1f} times "
            f"the gain's spread between captions; the demo's gain, {DEMO_GAIN} times its spread, would be seen in "
            f"{_share(self._chance)} runs, one half as large in "
            f"{_share(chance(DEMO_GAIN / 2, self._decisive, self.num_snapshots))}"
        )

    def caution(self) -> str | None:
        """A warning with a cure; None where the demo's gain would be seen in every second run at least."""
        if self._chance >= DOUBTFUL:
            return None
        verdict = "will hardly ever be sure" if self._chance < HOPELESS else "may miss a large gain"
        return (
            f"{self.sentence()}; the verdict {verdict}: hold out {self._enough()} or more different captions "
            "(data.num_validation, evaluation.num_prompts), add pictures, or choose by looking at the samples"
        )

    def _enough(self) -> int:
        count = 2
        while chance(DEMO_GAIN, count, self.num_snapshots) < LIKELY:
            count += 1
        return count


def planned(config: Config, captions: Sequence[str], pass_length: int = 0) -> Power:
    """Of settings. captions: of held-out pairs, in order. pass_length: in pictures, 0: unknown."""
    evaluation = config.evaluation
    first = captions[: evaluation.num_prompts]
    both = captions[: evaluation.num_prompts + evaluation.confirm_prompts] if evaluation.confirm_prompts else first
    every = math.ceil(_num_snapshots(config, pass_length) / evaluation.every)
    return Power(_different(first), _different(both) - _different(first), max(every, 1))


def of_run(run: RunDir, config: Config) -> Power:
    """Of a run folder; captions that an older version did not record count as different ones."""
    dataset, inventory = run.read_record().dataset, run.read_inventory()
    caption = {pair.id: pair.caption for pair in inventory.pairs} if inventory else {}
    return planned(config, [caption.get(pair, pair) for pair in dataset.held_out], dataset.pass_length)


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
    return "1 held-out caption" if count == 1 else f"{count} held-out captions"


def _share(chance_of: float) -> str:
    return f"{round(100 * chance_of)} of 100"
