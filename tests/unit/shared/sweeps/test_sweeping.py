"""Whole sweeps, with stand-ins for their trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import tasks
from shared.errors import ConfigError, RunFolderError
from shared.run_folder.run_dir import RunDir
from shared.sweeps import study, sweep_file, sweeping
from shared.sweeps.opening import opened
from shared.sweeps.record import SweepRecord
from shared.sweeps.sweep_dir import list_sweeps
from shared.sweeps.sweep_file import Sweep
from shared.sweeps.sweeping import Sweeping
from tests.unit.shared.sweeps.stand_in import Stage, base_loss

SWEEP = """
[sweep]
num_trials = {trials}
sampler = "{sampler}"
seeds = {seeds}
output_dir = "{output}"

[base.data]
path = "pictures"

[space]
"lora.rank" = [2, 4, 8, 16]
{more}
"""


def good_ranks(settings: Mapping[str, Any], step: int, prompt: int) -> float:
    """The higher the rank, the lower the loss; seeds and prompts differ by a little."""
    luck = 0.003 * ((prompt * 7 + settings["train.seed"] * 3) % 5)
    return base_loss(prompt) - 0.01 * step * settings["lora.rank"] / 16 + luck


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "POLL_SECONDS", 0.0)
    monkeypatch.setattr("os.fsync", lambda file: None)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Sweep]:
    """A sweep file, read."""

    def made(trials: int = 4, sampler: str = "grid", seeds: str = "[]", more: str = "", name: str = "ranks") -> Sweep:
        text = SWEEP.format(
            trials=trials, sampler=sampler, seeds=seeds, output=(tmp_path / "runs").as_posix(), more=more
        )
        path = tmp_path / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return sweep_file.read(path, tasks.settings)

    return made


def swept(
    sweep: Sweep,
    stage: Stage,
    on_say: Callable[[Sweeping, str], object] | None = None,
    *,
    retry: bool = False,
) -> SweepRecord:
    """To its end, or until what it says stops it."""
    with opened(sweep, lambda: ("pair-0", "pair-1")) as folder:
        journal = study.Study(folder.journal, sweep)
        if retry:
            journal.retry()
        session = Sweeping(sweep, folder, journal, stage, lambda text: None)
        if on_say:
            session.say = lambda text: on_say(session, text)
        return session.run()


def states(found: SweepRecord) -> list[str]:
    return [trial.state for trial in found.trials]


def test_the_best_setting_wins_and_what_is_surely_worse_is_stopped_early(make: Callable[..., Sweep]) -> None:
    found = swept(
        make(more="", sampler="grid"),
        Stage(lambda s, step, p: good_ranks({**s, "lora.rank": 18 - s["lora.rank"]}, step, p)),
    )
    assert found.state == "finished"
    assert states(found) == ["done", "pruned", "pruned", "pruned"]
    assert [trial.step for trial in found.trials] == [30, 20, 20, 20]
    assert "surely worse than that of trial 0" in found.trials[1].reason
    assert found.winner
    assert found.winner.values == {"lora.rank": 2}


def test_winner_and_runner_up_are_trained_again_and_give_the_noise_floor(make: Callable[..., Sweep]) -> None:
    found = swept(make(seeds="[0, 1, 2]"), Stage(good_ranks))
    assert states(found) == ["done"] * 8
    assert [setting.values["lora.rank"] for setting in found.settings] == [16, 8, 4, 2]
    assert [(one.values["lora.rank"], one.seed, one.repeats) for one in found.trials[4:]] == [
        (16, 1, 3),
        (16, 2, 3),
        (8, 1, 2),
        (8, 2, 2),
    ]
    assert found.noise
    assert found.noise.num_trials == 6
    assert found.difference
    assert found.sure
    assert found.within_noise is False
    assert found.difference.delta == pytest.approx(-0.15 / base_spread(), rel=0.02)


def base_spread() -> float:
    """One unit of the composite: the loss's own deviation at step 0, but at least a quarter of its mean there."""
    losses = [base_loss(prompt) for prompt in range(8)]
    return max(0.25 * sum(losses) / 8, 0.2449)


def test_a_difference_that_seeds_alone_make_is_said_to_be_within_the_noise(make: Callable[..., Sweep]) -> None:
    def by_seed(settings: Mapping[str, Any], step: int, prompt: int) -> float:
        return (
            base_loss(prompt) - 0.01 * step - 0.2 * (settings["train.seed"] % 2) - settings["lora.rank"] / 1e4 * prompt
        )

    found = swept(make(seeds="[0, 1, 2]"), Stage(by_seed))
    assert found.within_noise is True
    assert any("is within it" in str(sentence) for sentence in found.sentences)


def test_a_sweep_that_is_stopped_goes_on_where_it_was(make: Callable[..., Sweep]) -> None:
    first, second = Stage(good_ranks), Stage(good_ranks)

    def stop(session: Sweeping, text: str) -> None:
        if text.startswith("trial-001 begins"):
            session.stop()

    found = swept(make(seeds="[0, 1]"), first, stop)
    assert found.state == "stopped"
    assert states(found) == ["done", "waiting"]
    whole = swept(make(seeds="[0, 1]"), second)
    assert states(whole) == ["done"] * 6
    assert first.started == ["trial-000"]
    assert second.started == [f"trial-00{number}" for number in range(1, 6)]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_killed_sweep_goes_on_with_the_trials_it_would_have_had(
    make: Callable[..., Sweep], sampler: str, tmp_path: Path
) -> None:
    """Killed while a trial runs: nothing is closed, half a line stands in the journal, and its lock is there."""
    more = '"train.learning_rate" = { low = 1e-5, high = 1e-3, log = true }'
    whole = swept(make(12, sampler, more=more, name="whole"), Stage(good_ranks))

    class Killed(BaseException):
        pass

    def kill(session: Sweeping, text: str) -> None:
        if text.startswith("trial-005 begins"):
            raise Killed

    again, stage = make(12, sampler, more=more, name="killed"), Stage(good_ranks)
    with pytest.raises(Killed):
        swept(again, stage, kill)
    journal = again.folder / "journal.log"
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    journal.with_name("journal.log.lock").symlink_to(journal)
    found = swept(again, stage)
    assert [trial.values for trial in found.trials] == [trial.values for trial in whole.trials]
    assert [trial.seed for trial in found.trials] == [trial.seed for trial in whole.trials]
    assert states(found) == states(whole)
    assert len({(str(trial.values), trial.seed) for trial in found.trials}) == 12
    assert found.importance.keys() in ({"lora.rank", "train.learning_rate"}, set())


def test_a_trial_that_was_to_be_pruned_when_the_sweep_was_killed_is_not_started_again(
    make: Callable[..., Sweep],
) -> None:
    sweep = make()

    def worse(settings: Mapping[str, Any], step: int, prompt: int) -> float:
        return good_ranks({**settings, "lora.rank": 18 - settings["lora.rank"]}, step, prompt)

    class Killed(BaseException):
        pass

    def kill(session: Sweeping, text: str) -> None:
        if "is stopped early" in text:
            raise Killed

    with pytest.raises(Killed):
        swept(sweep, Stage(worse), kill)
    (RunDir(sweep.folder / "runs" / "trial-001").processes / "supervisor.json").unlink()  # it ended with the sweep
    stage = Stage(worse)
    found = swept(sweep, stage)
    assert states(found) == ["done", "pruned", "pruned", "pruned"]
    assert stage.started == ["trial-002", "trial-003"]


def test_a_trial_that_fails_is_marked_with_its_reason_and_the_others_go_on(make: Callable[..., Sweep]) -> None:
    found = swept(make(), Stage(good_ranks, fails=lambda settings: 4 if settings["lora.rank"] == 4 else 0))
    assert states(found) == ["done", "failed", "done", "done"]
    assert found.trials[1].reason == "exit code 4: no luck with 4; take another"


def test_three_failures_in_a_row_end_the_sweep_and_the_same_command_tries_what_is_left(
    make: Callable[..., Sweep],
) -> None:
    found = swept(make(), Stage(good_ranks, fails=lambda settings: 4))
    assert (found.state, states(found)) == ("failed", ["failed"] * 3)
    found = swept(make(), Stage(good_ranks))
    assert (found.state, states(found)) == ("finished", ["failed"] * 3 + ["done"])


def test_failed_trials_are_tried_again_with_their_values_and_seeds(make: Callable[..., Sweep]) -> None:
    swept(make(seeds="[5, 6]"), Stage(good_ranks, fails=lambda settings: 4))
    again, bad = make(seeds="[5, 6]"), Stage(good_ranks, fails=lambda s: 4 if s["lora.rank"] == 4 else 0)
    found = swept(again, bad, retry=True)
    assert found.state == "finished"
    assert states(found) == ["failed"] * 3 + ["done", "failed", "done", "done", "done", "done"]
    ranks = [(trial.values["lora.rank"], trial.seed, trial.repeats) for trial in found.trials]
    assert ranks[3:] == [(2, 5, None), (4, 5, None), (8, 5, None), (16, 5, None), (16, 6, 6), (8, 6, 5)]
    whole = swept(again, Stage(good_ranks), retry=True)
    assert states(whole) == [*states(found), "pruned"]
    assert whole.trials[9].values == {"lora.rank": 4}
    assert states(swept(again, Stage(good_ranks), retry=True)) == states(whole)


def test_a_sweep_killed_after_it_had_asked_for_failed_trials_tries_them_once(make: Callable[..., Sweep]) -> None:
    sweep = make()
    swept(sweep, Stage(good_ranks, fails=lambda settings: 4))
    with opened(sweep, tuple) as folder:
        assert study.Study(folder.journal, sweep).retry() == 3
    with opened(sweep, tuple) as folder:
        assert study.Study(folder.journal, sweep).retry() == 3
    found = swept(sweep, Stage(good_ranks))
    assert states(found) == ["failed"] * 3 + ["done"] * 4


def test_a_trial_that_was_killed_is_resumed(make: Callable[..., Sweep]) -> None:
    codes = iter([-9, 0, 0, 0, 0, 0])
    stage = Stage(good_ranks, fails=lambda settings: next(codes))
    assert states(swept(make(), stage)) == ["done"] * 4
    assert stage.started[:2] == ["trial-000", "trial-000"]


def test_several_slots_are_filled_at_once(make: Callable[..., Sweep]) -> None:
    found = swept(make(seeds="[0, 1]"), Stage(good_ranks, num_slots=3))
    assert sorted(states(found)) == ["done"] * 6


def test_a_setting_that_is_sampled_twice_is_trained_with_another_seed(make: Callable[..., Sweep]) -> None:
    found = swept(make(9, "random", seeds="[5, 6]"), Stage(good_ranks))
    runs = [(trial.values["lora.rank"], trial.seed) for trial in found.trials]
    assert len(set(runs)) == len(runs) == 9 + sum(trial.number >= 9 for trial in found.trials)
    assert found.noise


def test_every_trial_is_evaluated_on_the_same_pairs_whatever_its_seed(make: Callable[..., Sweep]) -> None:
    sweep = make(seeds="[0, 1]")
    swept(sweep, Stage(good_ranks))
    configs = [path.read_text(encoding="utf-8") for path in sorted((sweep.folder / "configs").iterdir())]
    assert len(configs) == 6
    assert all('validation_ids = ["pair-0", "pair-1"]' in text for text in configs)
    assert len({text.partition("seed = ")[2].split()[0] for text in configs}) == 2


def test_two_sweeps_of_one_name_are_refused(make: Callable[..., Sweep]) -> None:
    sweep = make()
    with opened(sweep, tuple), pytest.raises(RunFolderError, match=r"another `run\.py sweep`"), opened(sweep, tuple):
        pass


def test_a_changed_sweep_file_is_refused_and_more_trials_are_not(make: Callable[..., Sweep], tmp_path: Path) -> None:
    swept(make(2, "random"), Stage(good_ranks))
    before = (tmp_path / "runs" / "ranks" / "journal.log").read_bytes()
    changed = make(2, "tpe", more='"train.learning_rate" = [1e-3, 1e-4]')
    with pytest.raises(ConfigError) as refused, opened(changed, tuple):
        pass
    assert "sweep.sampler was 'random', is 'tpe'" in str(refused.value)
    assert "space.train.learning_rate was not given, is [0.001, 0.0001]" in str(refused.value)
    assert (tmp_path / "runs" / "ranks" / "journal.log").read_bytes() == before
    assert len(swept(make(3, "random"), Stage(good_ranks)).trials) == 3


def test_a_folder_that_is_no_sweep_is_left_alone(make: Callable[..., Sweep], tmp_path: Path) -> None:
    (tmp_path / "runs" / "ranks").mkdir(parents=True)
    with pytest.raises(ConfigError, match="exists and is no sweep"), opened(make(), tuple):
        pass
    assert list((tmp_path / "runs" / "ranks").iterdir()) == []


def test_a_sweep_is_found_among_the_runs_and_beside_its_own(make: Callable[..., Sweep], tmp_path: Path) -> None:
    sweep = make()
    swept(sweep, Stage(good_ranks))
    for place in (tmp_path / "runs", sweep.folder / "runs"):
        assert [found.path for found in list_sweeps(place)] == [sweep.folder]
    assert list_sweeps(sweep.folder / "configs") == []
