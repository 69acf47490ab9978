"""What an answer is worth beside the expected text. Pure; nothing of an answer is run."""

from __future__ import annotations

import ast
import math
import re
import warnings
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from shared.run_folder.records.exhibit import Figure

FENCED = re.compile(r"```[\w+-]*\n(.*?)(?:```|\Z)", re.DOTALL)
NUM_RESAMPLES, LEVEL = 1000, 0.95


def is_exact(answer: str, expected: str) -> bool:
    """The same text, give or take spaces around it."""
    return answer.strip() == expected.strip()


def similarity(answer: str, expected: str) -> float:
    """Ratcliff and Obershelp's, 0…1: twice the letters in common blocks over the letters of both."""
    return SequenceMatcher(None, answer.strip(), expected.strip(), autojunk=False).ratio()


def is_python(answer: str) -> bool:
    """Whether Python can parse it, or if it has fenced code, that. An empty answer is no code."""
    code = "\n".join(FENCED.findall(answer)) or answer
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bool(ast.parse(code.strip()).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def perplexity(sums_P: NDArray[np.float64], counts_P: NDArray[np.int64], seed: int) -> Figure:
    """e to the mean loss over all tokens, with an interval by the bootstrap over examples (Efron 1979).

    sums, counts: of each example, its loss over all its tokens, and their number. The same seed draws the same
    resamples.
    """
    random, count = np.random.default_rng(seed), len(sums_P)
    places = random.integers(count, size=(NUM_RESAMPLES, count))
    drawn = np.exp(sums_P[places].sum(axis=1) / counts_P[places].sum(axis=1))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value=math.exp(sums_P.sum() / counts_P.sum()), low=float(low), high=float(high))
