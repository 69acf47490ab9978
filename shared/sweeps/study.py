"""The trials of a sweep in Optuna's journal: what is tried next, and how each trial ended.

The journal is the only truth about trials; a killed sweep reads it and goes on. What Optuna is told of a trial's end is
told last, so that a trial is either unfinished or has everything that belongs to it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shared.launch import end_signals
from shared.sweeps import space
from shared.sweeps.space import Dimension, Label
from shared.sweeps.sweep_file import Sweep

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

INSTALL = "pip install 'darkroom[sweeps]'"
NAME = "sweep"
MIN_STARTUP, MAX_STARTUP = 4, 10
"""Trials before TPE has something to learn from, of a short sweep and of any."""
SEED, REPEATS, RETRIES, PRUNED, REASON, HELD_OUT = "seed", "repeats", "retries", "pruned", "reason", "held_out"
"""Attributes of a trial, and of the study."""
VOID = "interrupted before it had its values"
MIN_FOR_IMPORTANCE = 10
"""Trials that are done: of fewer, half are too few to compare with the others."""
NUM_BEST, BEST = 5, 0.1
"""Trials that count as the best, by number at least and by share: Optuna's own advice."""

Ending = Literal["done", "pruned", "failed"]


@dataclass(frozen=True)
class Asked:
    """A trial as the journal has it."""

    number: int
    values: dict[str, Any]
    """Setting → value, as TOML has it."""
    seed: int
    setting: str
    """The same for trials that differ by their seeds only."""
    is_search: bool
    """Whether it is no repeat that was asked for after the search."""
    repeats: int | None
    """The first trial of the same setting that has not failed; None: it is the first."""
    retries: int | None
    """The failed trial that it tries again."""
    ending: Ending | None
    """None: it is unfinished."""
    value: float | None
    """Of a trial that is done: its composite."""
    reason: str
    """Why it was or shall be pruned, or has failed."""
    shall_be_pruned: bool
    started: datetime | None
    ended: datetime | None

    @property
    def labels(self) -> dict[str, Label]:
        """As tables have the values."""
        return {key: space.label(value) for key, value in self.values.items()}


def is_installed() -> bool:
    """Whether Optuna is."""
    return find_spec("optuna") is not None


def create(journal: Path, held_out: Sequence[str]) -> None:
    """An empty journal. held_out: the pairs by which all trials are evaluated."""
    optuna = _optuna()
    study = optuna.create_study(storage=_storage(journal), study_name=NAME)
    study.set_user_attr(HELD_OUT, list(held_out))


class Study:
    """The journal of a sweep that this process is the only one to write."""

    def __init__(self, journal: Path, sweep: Sweep) -> None:
        mend(journal)
        self._optuna, self._sweep = _optuna(), sweep
        self._storage = _storage(journal)
        self._study = self._optuna.load_study(study_name=NAME, storage=self._storage)
        self._id = self._storage.get_study_id_from_name(NAME)
        self._dimensions = {dimension.key: dimension for dimension in sweep.dimensions}
        self._distributions = {key: _distribution(dimension) for key, dimension in self._dimensions.items()}
        self._ended: dict[int, Asked] = {}
        for trial in self._frozen():
            if trial.state.name == "RUNNING" and trial.params.keys() != self._dimensions.keys():
                self._tell(trial.number, "failed", VOID)

    @property
    def held_out(self) -> tuple[str, ...]:
        """The pairs by which all trials are evaluated."""
        return tuple(self._study.user_attrs[HELD_OUT])

    def trials(self) -> list[Asked]:
        """All that have values, by number. What has ended stays as it is, and is spelled out once."""
        asked: list[Asked] = []
        alike: dict[str, list[Asked]] = {}
        for trial in self._frozen():
            if trial.state.name == "WAITING" or trial.user_attrs.get(REASON) == VOID:
                continue
            one = self._ended.get(trial.number) or self._asked(trial, alike.get(_setting(trial.params), ()))
            if one.ending:
                self._ended[one.number] = one
            asked.append(one)
            alike.setdefault(one.setting, []).append(one)
        return asked

    @property
    def num_waiting(self) -> int:
        """Trials that are to be begun before others."""
        return sum(trial.state.name == "WAITING" for trial in self._frozen())

    def ask(self) -> Asked:
        """One that waits, else a new trial of the search."""
        if not self.num_waiting and self._sweep.table.sampler == "grid":
            self._enqueue(self._sweep.combinations[self.num_searched()], {})
        else:
            self._study.sampler = self._sampler()
        return self._begin()

    def repeat(self, first: Asked, seed: int) -> Asked:
        """The same setting with another seed."""
        self._enqueue(first.values, {SEED: seed, REPEATS: first.number})
        return self._begin()

    def retry(self) -> int:
        """Let every failed trial be tried once more, with its values and its seed; how many wait for it."""
        asked = self.trials()
        retried = {one.retries for one in asked}
        for one in asked:
            if one.ending == "failed" and one.number not in retried:
                more = {} if one.is_search else {REPEATS: one.repeats}
                self._enqueue(one.values, {SEED: one.seed, RETRIES: one.number, **more})
        return self.num_waiting

    def num_searched(self) -> int:
        """Trials of the search; one that was tried again counts once."""
        return sum(one.is_search and one.retries is None for one in self.trials())

    def prune(self, number: int, reason: str) -> None:
        """Note that a trial is to be stopped: a sweep that goes on stops it, too."""
        self._storage.set_trial_user_attr(self._trial_id(number), PRUNED, reason)

    def end(
        self,
        number: int,
        ending: Ending,
        reason: str = "",
        *,
        value: float | None = None,
        by_step: Mapping[int, float] | None = None,
    ) -> None:
        """A trial has ended. value: its composite; by_step: that of each snapshot."""
        known = self._storage.get_trial(self._trial_id(number)).intermediate_values
        for step, composite in (by_step or {}).items():
            if step not in known:
                self._storage.set_trial_intermediate_value(self._trial_id(number), step, composite)
        self._tell(number, ending, reason, value)

    def importance(self) -> dict[str, float]:
        """Setting → how much it decides whether a trial is among the best; sum 1. Empty where too few are done.

        PED-ANOVA (Watanabe et al. 2023) as Optuna has it, over the search alone: repeats of the best would count its
        values once more.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # noqa: PLC0415

        done = [one for one in self._frozen() if one.state.name == "COMPLETE" and REPEATS not in one.user_attrs]
        if len(done) < MIN_FOR_IMPORTANCE:
            return {}
        evaluator = PedAnovaImportanceEvaluator(target_quantile=max(BEST, NUM_BEST / len(done)))
        alone = self._optuna.create_study()
        alone.add_trials(done)
        with warnings.catch_warnings(action="ignore", category=self._optuna.exceptions.ExperimentalWarning):
            found = get_param_importances(alone, evaluator=evaluator, normalize=False)
        total = sum(found.values())
        return {key: share / total for key, share in found.items()} if total > 0 else {}

    def _begin(self) -> Asked:
        number = self._study.ask(self._distributions).number
        asked = next(trial for trial in self.trials() if trial.number == number)
        self._storage.set_trial_user_attr(self._trial_id(number), SEED, asked.seed)
        return asked

    def _enqueue(self, values: Mapping[str, Any], attributes: dict[str, Any]) -> None:
        """One that waits already was left by a sweep that was killed here."""
        wanted = {key: space.label(value) for key, value in values.items()}
        for trial in self._frozen():
            waiting = trial.system_attrs.get("fixed_params") if trial.state.name == "WAITING" else None
            if waiting == wanted and trial.user_attrs == attributes:
                return
        self._study.enqueue_trial(wanted, user_attrs=attributes)

    def _tell(self, number: int, ending: Ending, reason: str, value: float | None = None) -> None:
        states = self._optuna.trial.TrialState
        state = {"done": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[ending]
        if reason:
            self._storage.set_trial_user_attr(self._trial_id(number), REASON, reason)
        self._study.tell(number, value if ending == "done" else None, state)

    def _sampler(self) -> Any:
        """Its numbers depend on the sweep's seed and the trial's number alone: a sweep that was killed goes on with the
        trials it would have had."""
        seed = (self._sweep.table.seed * 1_000_003 + len(self._frozen())) % 2**32
        samplers = self._optuna.samplers
        if self._sweep.table.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        startup = min(MAX_STARTUP, max(MIN_STARTUP, self._sweep.num_trials // 3))
        return samplers.TPESampler(seed=seed, n_startup_trials=startup)

    def _asked(self, trial: FrozenTrial, alike: Sequence[Asked]) -> Asked:
        """alike: earlier trials of the same setting."""
        values = {key: self._value(key, trial.params[key]) for key in self._dimensions}
        own = values.get("train.seed")
        seed = trial.user_attrs.get(SEED, own if own is not None else self._free_seed(alike))
        pruned = trial.user_attrs.get(PRUNED)
        endings: dict[str, Ending] = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
        return Asked(
            number=trial.number,
            values=values,
            seed=int(seed),
            setting=_setting(trial.params),
            is_search=REPEATS not in trial.user_attrs,
            repeats=next((one.number for one in alike if one.ending != "failed"), None),
            retries=trial.user_attrs.get(RETRIES),
            ending=endings.get(trial.state.name),
            value=trial.value if trial.state.name == "COMPLETE" else None,
            reason=str(trial.user_attrs.get(REASON) or pruned or ""),
            shall_be_pruned=pruned is not None,
            started=trial.datetime_start,
            ended=trial.datetime_complete,
        )

    def _free_seed(self, alike: Sequence[Asked]) -> int:
        """Of a setting that the sampler gives once more: the same seed would give the same run."""
        taken = {one.seed for one in alike}
        free = [seed for seed in self._sweep.seeds if seed not in taken]
        return free[0] if free else max(taken) + 1

    def _value(self, key: str, found: Any) -> Any:
        return self._dimensions[key].labels.get(found, found)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _frozen(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)


def mend(journal: Path) -> None:
    """Take away what a killed sweep left: half a line at the end, which Optuna would glue the next one to, and its
    lock. The caller is the only one who writes the journal."""
    with journal.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
    with suppress(FileNotFoundError):
        journal.with_name(f"{journal.name}.lock").unlink()


def _setting(labels: Mapping[str, Any]) -> str:
    """The same for trials that differ by their seeds only."""
    return repr(sorted((key, value) for key, value in labels.items() if key != "train.seed"))


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna import distributions  # noqa: PLC0415

    found = dimension.range
    if found is None:
        return distributions.CategoricalDistribution(tuple(dimension.labels))
    if found.is_whole:
        step = 1 if found.log else int(found.step or 1)
        return distributions.IntDistribution(int(found.low), int(found.high), log=found.log, step=step)
    return distributions.FloatDistribution(float(found.low), float(found.high), log=found.log, step=found.step)


def _storage(journal: Path) -> Any:
    from optuna.storages import JournalStorage  # noqa: PLC0415
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock  # noqa: PLC0415

    lock = JournalFileOpenLock(str(journal)) if end_signals.IS_WINDOWS else None  # links need rights there
    return JournalStorage(JournalFileBackend(str(journal), lock))


def _optuna() -> Any:
    import optuna  # noqa: PLC0415 - an install without the extra has no sweeps

    optuna.logging.set_verbosity(logging.WARNING)
    return optuna
