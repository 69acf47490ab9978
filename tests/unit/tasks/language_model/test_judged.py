"""What an answer is worth."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.language_model.evaluation import judged


def test_an_answer_is_exact_give_or_take_spaces_around_it() -> None:
    assert judged.is_exact(" a b\n", "a b")
    assert not judged.is_exact("a  b", "a b")


@pytest.mark.parametrize(("answer", "expected"), [("abcd", 1.0), ("", 0.0), ("abxx", 0.5), ("abcdabcd", 2 * 4 / 12)])
def test_similarity_is_the_share_of_letters_in_common_blocks(answer: str, expected: float) -> None:
    assert judged.similarity(answer, "abcd") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "is_code"),
    [
        ("x = 1", True),
        ("def f(a, *, b):\n    return a", True),
        ("Here it is:\n```python\nx = 1\n```\nDone.", True),
        ("```\nx = = 1\n```", False),
        ("this is no code", False),
        ("", False),
        ("# nothing but a comment", False),
        ("(" * 500 + ")" * 500, False),
        ("x\0", False),
    ],
)
def test_code_is_parsed_and_never_run(answer: str, *, is_code: bool) -> None:
    assert judged.is_python(answer) is is_code


def test_perplexity_has_an_interval_that_repeats() -> None:
    sums, counts = np.log(np.array([2.0, 8.0, 4.0])) * np.array([1, 3, 2]), np.array([1, 3, 2])
    figure = judged.perplexity(sums, counts, 3)
    assert figure.value == pytest.approx(np.exp(sums.sum() / 6))
    assert figure.low == pytest.approx(2.0)
    assert figure.high == pytest.approx(8.0)
    assert judged.perplexity(sums, counts, 3) == figure
