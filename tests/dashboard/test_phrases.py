"""The evaluator's sentences in the reader's language."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboard.text import language
from dashboard.text.phrases import told
from shared.run_folder.phrase import Phrase, joined, phrase

ONLY = "Step {step} is the only snapshot evaluated."


@pytest.fixture(autouse=True)
def _chinese() -> Iterator[None]:
    language.use("zh-Hans")
    yield
    language.use("en")


def test_a_sentence_is_said_in_the_readers_language_with_its_numbers() -> None:
    level = "Both evaluations together choose step {chosen} (composite {level:+.2f}), not step {first} "
    sentence = phrase(level + "({first_level:+.2f}).", chosen=200, level=-0.5, first=300, first_level=-0.25)
    both = [phrase(ONLY, step=40), sentence]
    chinese = "第 40 步是唯一评估过的快照。两次评估合起来选第 200 步（综合得分 -0.50），而不是第 300 步（-0.25）。"
    assert told(both, "English") == chinese
    language.use("en")
    assert told(both, "English") == "English"


def test_a_sentence_within_a_sentence_and_a_word_of_the_task_are_said_too() -> None:
    reasons = joined("{one} and {other}", [phrase("fails a guard"), phrase("shows a sign of overfitting")])
    assert told([phrase("Step {step} {reason} and was passed over.", step=1, reason=reasons)], "") == (
        "第 1 步未通过底线检查，且有过拟合迹象，已跳过。"
    )
    assert told([phrase("1 {unit}", unit="prompt")], "") == "1 个提示词"


@pytest.mark.parametrize(
    "found",
    [
        None,
        phrase("Nobody has translated this."),
        phrase(ONLY),
        Phrase(text="{step.__class__}", values={"step": 1}),
        phrase(
            "the held-out loss was lowest at step {lowest} ({least:.4g}) and is {loss:.4g} at step {last}", least="x"
        ),
        phrase(ONLY, step=phrase("{more}")),
    ],
)
def test_what_cannot_be_said_stays_english(found: Phrase | None) -> None:
    assert told([phrase(ONLY, step=1), found], "English") == "English"
    assert told([], "English") == "English"


def test_a_value_from_a_file_is_never_a_template() -> None:
    assert told([phrase("1 {unit}", unit="{step.__class__}")], "") == "1 个{step.__class__}"
