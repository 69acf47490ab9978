"""The loop of a sweep: what is unfinished goes on, what is surely worse is stopped, a free slot gets the next trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.files.replacing import replace_file
from shared.launch.attended.say import say as say_plainly
from shared.run_folder.pending import left_to_evaluate
from shared.sweeps import pruning, reporting
from shared.sweeps.places.place import Place
from shared.sweeps.record import SweepRecord
from shared.sweeps.reporting import State
from shared.sweeps.results import Results
from shared.sweeps.standing import best_settings
from shared.sweeps.study import Asked, Study
from shared.sweeps.sweep_dir import SweepDir, trial_name
from shared.sweeps.sweep_file import Sweep
from shared.sweeps.trial import Trial
from shared.sweeps.yardstick import Yardstick

POLL_SECONDS = 0.5
RECORD_SECONDS = 2.0
"""Between two writes of `sweep.json` that only tell of progress."""
MAX_FAILURES = 3
"""In a row: what is wrong then is no matter of a setting."""

Say = Callable[[str], object]


@dataclass
class Sweeping:
    """One session of a sweep. `stop` may be called from a signal handler."""

    sweep: Sweep
    folder: SweepDir
    study: Study
    place: Place
    say: Say = say_plainly
    _trials: dict[int, Trial] = field(default_factory=dict[int, Trial])
    _working: list[int] = field(default_factory=list[int])
    _failures: int = 0
    _num_stops: int = 0
    _yardstick: Yardstick | None = None
    _written: float = 0.0

    def run(self) -> SweepRecord:
        """To its end, or until it is stopped; returns what was found."""
        for one in self._asked():
            self._trials[one.number].results.refresh()
        try:
            while self._step():
                time.sleep(POLL_SECONDS)
        finally:
            for number in self._working:
                self._end(number)
        return self._write(self._state())

    def stop(self) -> None:
        """The first call lets the trials save and end, the second leaves them to that alone."""
        self._num_stops += 1

    def _step(self) -> bool:
        """One look at everything; whether there is more to do."""
        for number in list(self._working):
            self._look(number)
        self._fill()
        if time.monotonic() - self._written > RECORD_SECONDS:
            self._write("running")
        return bool(self._working) and self._num_stops < 2

    def _look(self, number: int) -> None:
        """At a trial that runs: new results, whether it goes on, whether it has ended."""
        trial = self._trials[number]
        asked = next(one for one in self._asked() if one.number == number)
        if trial.started is None:
            self._start(trial)
            return
        is_new = trial.results.refresh()
        self._yardstick = self._yardstick or Yardstick.of(trial.results)
        may_be_pruned = self.sweep.table.prune and asked.is_search  # repeats are there to be compared
        shall_be_pruned = asked.shall_be_pruned or (is_new and may_be_pruned and self._prune(trial))
        if shall_be_pruned or self._num_stops:
            trial.ask_stop()
        if (code := trial.poll()) is not None:
            self._working.remove(number)
            self._ended(trial, code, is_pruned=shall_be_pruned)

    def _start(self, trial: Trial) -> None:
        if trial.is_held():  # by a sweep that was killed: its trial saves and ends
            trial.ask_stop()
            return
        if self._num_stops:
            self._working.remove(trial.number)
            return
        trial.start()

    def _prune(self, trial: Trial) -> bool:
        if self._yardstick is None or self._is_complete(trial):
            return False
        rivals = {number: one.results for number, one in self._trials.items() if number != trial.number}
        found = pruning.surely_worse(trial.results, rivals, self._yardstick, self.sweep.table.min_snapshots)
        if found is None:
            return False
        self.study.prune(trial.number, str(found))
        self.say(f"{trial_name(trial.number)} is stopped early: {found}")
        return True

    def _is_complete(self, trial: Trial) -> bool:
        """Whether training has no step left: to stop it would save nothing, and lose its last snapshot."""
        step, total = trial.progress()
        return step >= total > 0

    def _ended(self, trial: Trial, code: int, *, is_pruned: bool) -> None:
        trial.results.refresh()
        self._yardstick = self._yardstick or Yardstick.of(trial.results)
        name = trial_name(trial.number)
        by_step = self._yardstick.by_step(trial.results) if self._yardstick else {}
        if is_pruned:
            reason = next(one.reason for one in self._asked() if one.number == trial.number)
            self._failures = 0
            self.study.end(trial.number, "pruned", reason, by_step=by_step)
            return
        if code:
            self._failed(trial, trial.last_words(code), by_step)
            return
        if self._num_stops and not self._has_finished(trial):
            step, total = trial.progress()
            self.say(f"{name} is saved at step {step} of {total}; the same command goes on")
            return
        chosen = self._yardstick.chosen(trial.results) if self._yardstick else None
        if chosen is None:
            self._failed(trial, "none of its snapshots has a composite that compares with the other trials'", by_step)
            return
        self._failures = 0
        value = sum(chosen[1].values()) / len(chosen[1])
        self.study.end(trial.number, "done", self._early(trial), value=value, by_step=by_step)
        self.say(f"{name} is done: composite {value:+.3f} at step {chosen[0]}")

    def _has_finished(self, trial: Trial) -> bool:
        return self._is_complete(trial) and not left_to_evaluate(trial.run)

    def _early(self, trial: Trial) -> str:
        """Why training has ended before its last step, where it has."""
        step, total = trial.progress()
        return f"training ended at step {step} of {total}" if step < total else ""

    def _failed(self, trial: Trial, reason: str, by_step: dict[int, float]) -> None:
        self._failures += 1
        self.study.end(trial.number, "failed", reason, by_step=by_step)
        self.say(f"{trial_name(trial.number)} has failed: {reason}")

    @property
    def has_given_up(self) -> bool:
        """Whether too many trials have failed one after another."""
        return self._failures >= MAX_FAILURES

    def _fill(self) -> None:
        while len(self._working) < self.place.num_slots and not self._num_stops and not self.has_given_up:
            asked = self._next()
            if asked is None:
                return
            self._begin(asked)

    def _begin(self, asked: Asked) -> None:
        trial = self._trial(asked)
        self._write_config(asked, trial)
        verb = "goes on" if trial.run.record.is_file() else "begins"
        values = ", ".join(f"{key} = {value}" for key, value in asked.labels.items())
        self.say(f"{trial_name(asked.number)} {verb}: {values}, seed {asked.seed}")
        self._working.append(asked.number)

    def _next(self) -> Asked | None:
        """What is unfinished, then the search, then the best once more with other seeds; None: nothing for now."""
        asked = self._asked()
        left = [one for one in asked if one.ending is None and one.number not in self._working]
        for one in left:
            if not one.shall_be_pruned or self._trials[one.number].is_held():
                return one
            self._ended(self._trials[one.number], 0, is_pruned=True)
        if self.study.num_waiting or self.study.num_searched() < self.sweep.num_trials:
            return self.study.ask()
        if self._working and any(one.is_search for one in asked if one.number in self._working):
            return None  # the best is not known yet
        return self._repeat(asked)

    def _repeat(self, asked: list[Asked]) -> Asked | None:
        done = reporting.placed(asked, self._trials, self._yardstick)
        for setting in best_settings(done, self.sweep.table.finalists):
            alike = [one for one in asked if one.setting == setting]
            for seed in self.sweep.seeds:
                if seed not in {one.seed for one in alike}:
                    return self.study.repeat(alike[0], seed)
        return None

    def _asked(self) -> list[Asked]:
        """All trials; each has its `Trial`."""
        asked = self.study.trials()
        for one in asked:
            self._trial(one)
        return asked

    def _trial(self, one: Asked) -> Trial:
        if one.number not in self._trials:
            run = self.folder.run(one.number)
            self._trials[one.number] = Trial(
                one.number, self.folder.config(one.number), self.folder.log(one.number), Results(run), self.place
            )
        if self._yardstick is None:
            self._yardstick = Yardstick.of(self._trials[one.number].results)
        return self._trials[one.number]

    def _write_config(self, asked: Asked, trial: Trial) -> None:
        """Anew at each start: the folder may lie elsewhere by now."""
        more = {
            "run.name": trial_name(asked.number),
            "run.output_dir": str(self.folder.runs),
            **({"data.validation_ids": list(held_out)} if (held_out := self.study.held_out) else {}),
            "data.cache_dir": str(self.sweep.config.data.cache_dir or self.folder.path.parent / ".cache"),
        }
        trial.config.parent.mkdir(parents=True, exist_ok=True)
        replace_file(trial.config, self.sweep.trial(asked.values, asked.seed, more).encode())

    def _end(self, number: int) -> None:
        if started := self._trials[number].started:
            started.end()

    def _state(self) -> State:
        if self.has_given_up:
            return "failed"
        return "stopped" if self._num_stops else "finished"

    def _write(self, state: State) -> SweepRecord:
        asked = self._asked()
        found = reporting.record(
            self.sweep, state, asked, self._trials, self._yardstick, self.study.importance(), self._working
        )
        found.write(self.folder.record)
        self._written = time.monotonic()
        return found
