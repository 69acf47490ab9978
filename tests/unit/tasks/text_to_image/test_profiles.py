"""A profile says what counts for a kind of subject; the settings of a run override it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any, get_args

import pytest

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.config.sections.evaluation import EvaluationConfig
from shared.errors import ConfigError
from tasks.text_to_image import metrics
from tasks.text_to_image.profiles import PROFILES, require_pictures, require_weights
from tests.conftest import ROOT


def config(profile: str = "garment", *, held_out: int = 16, prompts: str | None = "p.txt", **weights: float) -> Config:
    evaluation: dict[str, Any] = {"profile": profile, "weights": weights}
    if prompts:
        evaluation["prompts"] = prompts
    return parse_config({"data": {"path": "p", "num_validation": held_out}, "evaluation": evaluation})


def weights(config: Config) -> dict[str, float]:
    """Those of the losses, as an evaluator publishes them."""
    return {column.name: column.weight for column in metrics.descriptions(config).losses}


def test_the_table_has_every_profile_that_a_config_can_name_and_names_only_what_there_is() -> None:
    named = get_args(EvaluationConfig.model_fields["profile"].annotation)
    assert list(PROFILES) == list(named)
    losses = {
        column.name
        for metric in metrics.all_metrics().values()
        for column in metric.columns
        if column.role == "loss"
    }  # fmt: skip
    for profile in PROFILES.values():
        assert set(profile.weights) <= losses
        assert all(profile.with_reference[name] == profile.without_reference[name] for name in profile.everywhere)
        assert profile.off <= set(metrics.all_metrics())
        assert all(key in Config.model_fields["evaluation"].annotation.model_fields  # type: ignore[union-attr]
                   for key in (name.removeprefix("evaluation.") for name in profile.encoders))  # fmt: skip


def test_a_garment_is_judged_as_the_metrics_own_files_say() -> None:
    own = [metrics.all_metrics()[name].describe() for name in metrics.metrics_of(config())]
    assert list(metrics.descriptions(config()).metrics) == own
    assert metrics.descriptions(config(prompts=None)).metrics == metrics.descriptions().metrics


def test_a_profile_that_needs_more_training_pictures_than_are_left_is_refused() -> None:
    require_pictures(config("style"), 4)
    require_pictures(config("garment"), 1)
    with pytest.raises(ConfigError, match=r"style needs 4 pictures that are trained on, p leaves 3"):
        require_pictures(config("style"), 3)


def test_no_profile_changes_the_leading_columns() -> None:
    leading = metrics.descriptions().header[:8]
    for profile in PROFILES:
        assert metrics.descriptions(config(profile)).header[:8] == leading


def test_a_person_has_no_colour_and_is_told_why() -> None:
    described = metrics.descriptions(config("person"))
    assert "color" not in metrics.metrics_of(config("person"))
    assert "color_loss" not in {column.name for column in (*described.compared, *described.losses)}
    why = "the profile person does not measure it"
    assert metrics.unmeasured(config("person")) == dict.fromkeys(("fashion_clip_loss", "color_loss"), why)
    assert not metrics.unmeasured(config())


def test_texts_have_the_profiles_word_for_the_subject() -> None:
    def texts(profile: str) -> str:
        columns = metrics.descriptions(config(profile)).columns
        return " ".join(text for column in columns for text in (column.label, column.aspect, column.meaning))

    assert "garment" in texts("garment")
    for profile in PROFILES.keys() - {"garment"}:
        assert "garment" not in texts(profile)
        assert profile in texts(profile)
        aspects = [column.aspect for column in metrics.descriptions(config(profile)).compared]
        assert len(set(aspects)) == len(aspects), "each has a name of its own"


def test_likeness_to_the_subject_counts_for_held_out_pairs_too_unless_it_is_a_garment() -> None:
    assert "subject" not in metrics.metrics_of(config(prompts=None))
    assert "subject" in metrics.metrics_of(config("object", prompts=None))
    columns = {column.name: column for column in metrics.descriptions(config("object")).losses}
    assert columns["subject_loss"].counts_for(has_reference=True)
    assert columns["subject_loss"].counts_for(has_reference=False)
    assert not columns["visual_loss"].counts_for(has_reference=False)
    assert not {column.name: column for column in metrics.descriptions(config()).losses}["subject_loss"].counts_for(
        has_reference=True
    )


def test_a_weight_of_the_settings_goes_before_the_profiles() -> None:
    before = weights(config())
    after = weights(config(visual_loss=1.0, color_loss=0))
    assert after == {**{name: weight for name, weight in before.items() if name != "color_loss"}, "visual_loss": 1.0}


def test_a_judge_can_be_given_a_weight_where_there_is_one() -> None:
    judged = config(judge_score=0.2)
    with pytest.raises(ConfigError, match=r"judge_score, which a model gives that judges \(evaluation\.judge\)"):
        require_weights(judged)
    judged = judged.model_copy(update={"evaluation": judged.evaluation.model_copy(update={"judge": "some/model"})})
    require_weights(judged)
    found = {column.name: column.weight for column in metrics.descriptions(judged).losses}
    assert found["judge_score"] == pytest.approx(0.2)
    only = judged.evaluation.model_copy(
        update={"weights": dict.fromkeys(weights(config()), 0.0) | {"judge_score": 1.0}}
    )
    with pytest.raises(ConfigError, match="leaves nothing with a weight above 0"):  # before votes it does not count
        require_weights(judged.model_copy(update={"evaluation": only}))


def test_weights_that_do_not_count_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        require_weights(config("person", prompts=None, color_loss=1.0, subject_los=1.0, visual_loss=0.5))
    assert "color_loss, which the profile person does not weigh" in str(refused.value)
    assert "subject_los, which the profile person does not weigh, did you mean subject_loss?" in str(refused.value)
    assert "visual_loss" not in str(refused.value)
    assert refused.value.hint.startswith("give weights to some of ")
    with pytest.raises(ConfigError, match="subject_loss, which counts only for prompts of your own"):
        require_weights(config(prompts=None, subject_loss=1.0))
    with pytest.raises(ConfigError, match="visual_loss, which compares with held-out pictures"):
        require_weights(config(held_out=0, visual_loss=1.0))
    with pytest.raises(ConfigError, match="leaves nothing with a weight above 0"):
        require_weights(config(subject_loss=0))
    with pytest.raises(ConfigError, match=r"evaluation\.weights\.visual_loss is -1"):
        config(visual_loss=-1)


def test_the_table_is_read_without_torch() -> None:
    code = "import sys, tasks.text_to_image.profiles; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_page_of_profiles_has_the_table() -> None:
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")

    def counted(weights: Mapping[str, float]) -> str:
        return ", ".join(f"`{name}` {weight}" for name, weight in weights.items() if weight)

    for name, profile in PROFILES.items():
        both = f"{counted(profile.with_reference)} | {counted(profile.without_reference)}"
        assert f"| `{name}` | {profile.is_for} | {both} |" in page
