"""What a sweep has found, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared.run_folder.phrase import Phrase, phrase
from shared.sweeps.record import Noise, TrialRecord
from shared.sweeps.standing import Standing
from shared.sweeps.study import MIN_FOR_IMPORTANCE
from shared.sweeps.sweep_dir import trial_name


def sentences(found: Standing, trials: Sequence[TrialRecord], *, explained: bool) -> tuple[Phrase, ...]:
    """Who wins, whether surely, and beyond the noise of seeds. explained: the importance of settings is known."""
    return (*_winner(found), *_noise(found), *_endings(trials), *_importance(trials, explained=explained))


def _winner(found: Standing) -> Iterator[Phrase]:
    if not found.settings:
        yield phrase("No trial is done yet.")
        return
    winner = found.settings[0]
    name, value = trial_name(winner.first.number), winner.mean
    if found.difference is None:
        yield phrase(
            "{trial} is the only setting that is done, with a composite of {value:+.2f}.", trial=name, value=value
        )
    else:
        gap, other = found.difference, trial_name(found.settings[1].first.number)
        yield phrase("{trial} wins with a composite of {value:+.2f}.", trial=name, value=value)
        facts = {"other": other, "mean": gap.mean}
        if gap.low is None or gap.high is None:
            yield phrase("Its difference to the runner-up, {other}, is {mean:+.2f}, of a single prompt.", **facts)
        elif gap.is_below_zero:
            yield phrase(
                "By the prompts it is surely better than the runner-up, {other}: {mean:+.2f} ({low:+.2f} to "
                "{high:+.2f}).",
                **facts,
                low=gap.low,
                high=gap.high,
            )
        else:
            yield phrase(
                "By the prompts it cannot be told from the runner-up, {other}: {mean:+.2f} ({low:+.2f} to "
                "{high:+.2f}).",
                **facts,
                low=gap.low,
                high=gap.high,
            )
    if winner.flagged:
        yield phrase("None of its snapshots can be recommended all the same.")


def _noise(found: Standing) -> Iterator[Phrase]:
    if not found.settings:
        return
    if found.noise is None:
        yield phrase("No setting was trained with several seeds, so nothing is known of their luck: set sweep.seeds.")
        return
    yield _floor(found.noise)
    if found.within_noise is not None and found.noise.margin is not None:
        margin = found.noise.margin
        if found.within_noise:
            yield phrase(
                "The difference to the runner-up is within it: seeds alone make up to {margin:.2f}.", margin=margin
            )
        else:
            yield phrase(
                "The difference to the runner-up is beyond it: seeds alone make up to {margin:.2f}.", margin=margin
            )


def _floor(noise: Noise) -> Phrase:
    facts = {"deviation": noise.deviation, "trials": noise.num_trials}
    if noise.num_settings == 1:
        return phrase(
            "Noise floor: seeds alone move the composite by {deviation:.3f} (standard deviation over {trials} trials "
            "of one setting).",
            **facts,
        )
    return phrase(
        "Noise floor: seeds alone move the composite by {deviation:.3f} (standard deviation over {trials} trials of "
        "{settings} settings).",
        **facts,
        settings=noise.num_settings,
    )


def _endings(trials: Sequence[TrialRecord]) -> Iterator[Phrase]:
    pruned, failed = (sum(trial.state == state for trial in trials) for state in ("pruned", "failed"))
    if pruned:
        yield phrase(
            "Stopped early, because they were surely worse: {count} of {trials} trials.",
            count=pruned,
            trials=len(trials),
        )
    if failed:
        yield phrase("Failed: {count} of {trials} trials.", count=failed, trials=len(trials))


def _importance(trials: Sequence[TrialRecord], *, explained: bool) -> Iterator[Phrase]:
    done = sum(trial.state == "done" and trial.repeats is None for trial in trials)
    if not explained:
        yield phrase(
            "The importance of settings needs {least} trials that are done, there are {count}.",
            least=MIN_FOR_IMPORTANCE,
            count=done,
        )
