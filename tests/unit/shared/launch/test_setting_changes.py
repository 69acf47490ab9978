"""Changing a setting of a run: named when refused, written down when allowed, never when the run depends on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.config.loading import parse_config
from shared.config.resume_rule import CHANGEABLE, Rule
from shared.config.schema import RULES, Config
from shared.errors import ConfigError, RunFolderError
from shared.files.publication import publish
from shared.launch import setting_changes
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


@pytest.fixture
def changed(run: RunDir) -> Callable[..., Config]:
    """The run's settings with others in them: `changed(train={"learning_rate": 1.0})`."""

    def change(**sections: dict[str, object]) -> Config:
        tree = run.read_config().model_dump(mode="json", exclude_none=True)
        for section, values in sections.items():
            tree[section].update(values)
        return parse_config(tree)

    return change


def save(run: RunDir, parent: str, step: int) -> None:
    folder = run.snapshot(step) if parent == "snapshot" else run.checkpoint(step)
    manifest = Manifest(kind="snapshot" if parent == "snapshot" else "checkpoint", run_id=run_id(run), step=step)
    assert publish(run.staging, folder, manifest, lambda stage: (stage / "weights").touch())


def run_id(run: RunDir) -> str:
    return run.read_record().run_id


def test_equal_settings_change_nothing(run: RunDir, changed: Callable[..., Config]) -> None:
    before = run.config.read_bytes(), run.record.read_bytes()
    assert setting_changes.apply(run, changed(), ()) == ()
    assert setting_changes.apply(run, changed(dashboard={"port": 9999}), ("train.learning_rate",)) == ()
    assert (run.config.read_bytes(), run.record.read_bytes()) == before


def test_a_difference_is_refused_with_its_key_and_the_flag_that_allows_it(
    run: RunDir, changed: Callable[..., Config]
) -> None:
    before = run.config.read_bytes()
    config = changed(train={"learning_rate": 0.5, "weight_decay": 0.25})
    with pytest.raises(RunFolderError, match=r"train\.learning_rate was 0\.0001, is 0\.5") as caught:
        setting_changes.apply(run, config, ("train.weight_decay",))
    assert "weight_decay" not in str(caught.value)
    assert "--allow-change train.learning_rate" in caught.value.hint
    assert run.config.read_bytes() == before


def test_an_allowed_change_holds_from_the_last_checkpoint_on_and_is_noted(
    run: RunDir, changed: Callable[..., Config]
) -> None:
    save(run, "checkpoint", 4)
    config = changed(train={"learning_rate": 0.5, "max_train_steps": 9})
    made = setting_changes.apply(run, config, ("train.learning_rate", "train.max_train_steps"))
    assert run.read_config() == config
    assert run.read_record().changes == made
    assert {(change.key, change.before, change.after, change.step) for change in made} == {
        ("train.learning_rate", 0.0001, 0.5, 4),
        ("train.max_train_steps", 6, 9, 4),
    }
    assert setting_changes.apply(run, config, ()) == (), "the same command again just resumes"

    later = setting_changes.apply(run, changed(stop={"max_bad_steps": 3}), ("stop.max_bad_steps",))
    assert run.read_record().changes == (*made, *later)
    assert "train.learning_rate was 0.0001, is 0.5 after step 4" in list(setting_changes.describe(made))


FIXED = {
    "data.resolution": {"resolution": 64},
    "lora.rank": {"rank": 8},
    "train.seed": {"seed": 7},
    "train.train_batch_size": {"train_batch_size": 1},
    "train.optimizer": {"optimizer": "prodigy"},
}


@pytest.mark.parametrize("key", FIXED)
def test_what_the_run_depends_on_never_changes(run: RunDir, changed: Callable[..., Config], key: str) -> None:
    config = changed(**{key.partition(".")[0]: FIXED[key]})
    with pytest.raises(RunFolderError, match="can never change") as caught:
        setting_changes.apply(run, config, (key,))
    assert RULES[key] not in CHANGEABLE
    assert RULES[key].value in str(caught.value)
    assert "--new" in caught.value.hint


def test_how_snapshots_are_evaluated_may_change_until_the_first_is(run: RunDir, changed: Callable[..., Config]) -> None:
    config = changed(evaluation={"num_seeds": 3})
    with pytest.raises(RunFolderError, match="num_seeds was 1, is 3"):
        setting_changes.apply(run, config, ())
    assert setting_changes.apply(run, config, ("evaluation.num_seeds",))
    run.evaluation(0).mkdir()
    with pytest.raises(RunFolderError, match="could not be compared"):
        setting_changes.apply(run, changed(evaluation={"num_seeds": 2}), ("evaluation.num_seeds",))
    assert setting_changes.apply(run, changed(evaluation={"rescan_seconds": 1.0}), ("evaluation.rescan_seconds",))


def test_a_mistyped_key_is_refused_with_the_right_one(run: RunDir, changed: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"lerning_rate, did you mean train\.learning_rate\?"):
        setting_changes.apply(run, changed(), ("train.lerning_rate",))


def test_going_on_differently_must_not_contradict_what_is_published(
    run: RunDir, changed: Callable[..., Config]
) -> None:
    save(run, "checkpoint", 4)
    save(run, "snapshot", 4)
    save(run, "snapshot", 6)
    before = run.config.read_bytes()
    with pytest.raises(RunFolderError, match=r"later steps \(6\)") as caught:
        setting_changes.apply(run, changed(train={"learning_rate": 0.5}), ("train.learning_rate",))
    assert f"--new --from-checkpoint {run.checkpoint(4)}" in caught.value.hint
    assert run.config.read_bytes() == before
    upkeep = changed(train={"checkpointing_steps": 1})
    assert setting_changes.apply(run, upkeep, ("train.checkpointing_steps",)), "the same steps come out"


@pytest.mark.parametrize("role", ["trainer", "evaluator"])
def test_nothing_changes_under_a_program_at_work(run: RunDir, changed: Callable[..., Config], role: str) -> None:
    before = run.config.read_bytes()
    with hold_role(run, role), pytest.raises(RunFolderError, match="is in use"):  # type: ignore[arg-type]
        setting_changes.apply(run, changed(stop={"max_bad_steps": 3}), ("stop.max_bad_steps",))
    assert run.config.read_bytes() == before


def test_a_checkpoint_names_what_its_state_was_made_with(changed: Callable[..., Config]) -> None:
    settings = setting_changes.state_settings(changed())
    assert settings.keys() == {key for key, rule in RULES.items() if rule is Rule.STATE}
    manifest = Manifest(kind="checkpoint", run_id="r", step=4, details={"settings": settings})
    setting_changes.require_same_state(changed(train={"learning_rate": 0.5, "seed": 3}), manifest)
    with pytest.raises(RunFolderError, match=r"lora\.rank was 2, is 8"):
        setting_changes.require_same_state(changed(lora={"rank": 8}), manifest)


@pytest.mark.parametrize(("given", "kept"), [({}, "gradients"), ({"visual": "dreamsim"}, "dreamsim")])
def test_a_run_keeps_a_default_of_an_earlier_version_unless_the_config_names_another(
    changed: Callable[..., Config], given: dict[str, str], kept: str
) -> None:
    before = changed(evaluation={"visual": "gradients"})
    tree = before.model_dump(mode="json", exclude_none=True)
    del tree["evaluation"]["visual"]
    tree["evaluation"] |= given
    assert setting_changes.with_former_defaults(before, parse_config(tree)).evaluation.visual == kept
    before = changed(train={"snr_gamma": 5.0})
    tree["train"].pop("snr_gamma")
    assert setting_changes.with_former_defaults(before, parse_config(tree)).train.snr_gamma == 5.0
    of_today = changed(evaluation={"visual": "efficientnet-lite0"})
    assert setting_changes.with_former_defaults(of_today, parse_config(tree)) == parse_config(tree)
