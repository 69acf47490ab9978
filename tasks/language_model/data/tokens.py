"""An example as tokens, and which of them count in the loss.

What is asked is turned into tokens by itself, as it is when a snapshot is asked: the tokens of an example begin with
exactly those of its question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from tasks.language_model.data.examples import Example, Message
from tasks.language_model.data.tokenizer import Tokenizer
from tasks.language_model.settings import Settings

LISTED = 5


@dataclass(frozen=True)
class Tokens:
    """Of one example."""

    ids: NDArray[np.int64]
    counted: NDArray[np.bool_]
    """Whether predicting this token counts; the first is never predicted."""

    @property
    def num_counted(self) -> int:
        """Predictions that count."""
        return int(self.counted[1:].sum())


def tokens_of(example: Example, tokenizer: Tokenizer, settings: Settings) -> Tokens:
    """All of an example, however long.

    Raises:
        DataError, ModelError: as `Tokenizer.render`.
    """
    if example.messages:
        ids, counted = _joined(tokenizer, [], _conversation(example.messages, tokenizer))
    elif example.completion:
        parts = [(example.prompt, False), (example.prompt + example.completion, True)]
        ids, counted = _joined(tokenizer, tokenizer.begin, parts)
    else:
        ids, counted = _joined(tokenizer, tokenizer.begin, [(example.text, True)])
    if not example.messages and tokenizer.end is not None:
        ids, counted = [*ids, tokenizer.end], [*counted, True]
    found = np.array(counted if settings.mask_prompt else [True] * len(ids), dtype=np.bool_)
    return Tokens(np.array(ids, dtype=np.int64), found)


def question_of(example: Example, tokenizer: Tokenizer, settings: Settings) -> tuple[list[int], str, str]:
    """Tokens that a snapshot is given, the same as text, and the answer that is expected.

    Of `text` it is given the first half.
    """
    if example.messages:
        text = tokenizer.render(example.messages[:-1], asks=True)
        return tokenizer.encode(text), example.question, example.expected
    if example.completion:
        return [*tokenizer.begin, *tokenizer.encode(example.prompt)], example.prompt, example.completion
    whole = tokenizer.encode(example.text)[: settings.context_length]
    half = max(1, len(whole) // 2)
    return [*tokenizer.begin, *whole[:half]], tokenizer.decode(whole[:half]), tokenizer.decode(whole[half:])


def fitting(
    examples: Iterable[Example],
    tokenizer: Tokenizer,
    settings: Settings,
    say: Callable[[str], object] = lambda text: None,
) -> dict[str, Tokens]:
    """Id → tokens of the examples that are used: none has more than `context_length`.

    Raises:
        DataError: some are longer, and `too_long` says that they must not be; or nothing of some counts.
    """
    found, long, empty = dict[str, Tokens](), dict[str, int](), list[str]()
    limit = settings.context_length
    for one in examples:
        tokens = tokens_of(one, tokenizer, settings)
        if len(tokens.ids) > limit:
            long[one.id] = len(tokens.ids)
            if settings.too_long != "cut":
                continue
            tokens = Tokens(tokens.ids[:limit], tokens.counted[:limit])
        if tokens.num_counted:
            found[one.id] = tokens
        else:
            empty.append(one.id)
    if long and settings.too_long == "error":
        longest = max(long, key=lambda name: long[name])
        raise DataError(
            f"{_count(len(long))} more than language_model.context_length ({limit}) tokens: {_some(long)}; the "
            f"longest is {longest} with {long[longest]}",
            f"set language_model.context_length = {long[longest]}, or language_model.too_long = 'skip' or 'cut'",
        )
    if long:
        done = "are left out" if settings.too_long == "skip" else "end there"
        say(f"{_count(len(long))} more than {limit} tokens and {done}: {_some(long)}")
    if empty and settings.too_long != "cut":
        raise DataError(f"nothing is left to learn of {_some(empty)}", "write a completion, or a longer text")
    if empty:
        say(f"what counts of {_some(empty)} lies beyond {limit} tokens: left out")
    return found


def _count(number: int) -> str:
    return "1 example has" if number == 1 else f"{number} examples have"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:LISTED]) + (f" and {len(listed) - LISTED} more" if len(listed) > LISTED else "")


def _conversation(messages: Sequence[Message], tokenizer: Tokenizer) -> list[tuple[str, bool]]:
    """The text up to each point where what counts begins or ends, and whether it counts."""
    parts: list[tuple[str, bool]] = []
    for number, one in enumerate(messages):
        if one.role != "assistant":
            continue
        asked = tokenizer.render(messages[:number], asks=True) if number else ""
        answered = tokenizer.render(messages[: number + 1], asks=False)
        if not answered.startswith(asked):
            asked = tokenizer.render(messages[:number], asks=False)
        parts += [(asked, False), (answered, True)]
    texts = ["", *(text for text, _ in parts)]
    if any(not longer.startswith(text) for text, longer in pairwise(texts)):
        raise DataError(
            "the model's chat template changes what was said before when a conversation goes on, so it is not known "
            "which tokens are the assistant's",
            "write each answer as an example of its own, with prompt and completion",
        )
    return parts


def _joined(
    tokenizer: Tokenizer, begin: Sequence[int], parts: Sequence[tuple[str, bool]]
) -> tuple[list[int], list[bool]]:
    """Tokens of growing texts. Where a token would cross a border, the parts are taken apart there."""
    ids, counted, before = list(begin), [False] * len(begin), ""
    for text, counts in parts:
        whole = [*begin, *tokenizer.encode(text)]
        added = whole[len(ids) :] if whole[: len(ids)] == ids else tokenizer.encode(text[len(before) :])
        ids, counted, before = [*ids, *added], [*counted, *[counts] * len(added)], text
    return ids, counted
