"""Answers to questions, greedily and in batches: the same in every attempt."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from tasks.language_model.data.tokenizer import Tokenizer

log = logging.getLogger(__name__)


def answers(
    network: Any,
    questions: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    device: torch.device,
    *,
    batch_size: int,
    new_tokens: int,
    max_positions: int | None,
) -> list[list[int]]:
    """Tokens of the answer to each question, without the token that ends it; `new_tokens` at most.

    Questions of similar lengths stand in one batch, filled up on the left. max_positions: tokens that the model can
    tell apart, question and answer together.
    """
    ends = _ends(network, tokenizer)
    order = sorted(range(len(questions)), key=lambda place: len(questions[place]))
    found: list[list[int]] = [[] for _ in questions]
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        width = max(len(questions[place]) for place in places)
        ids = torch.full((len(places), width), tokenizer.padding)
        attended = torch.zeros((len(places), width), dtype=torch.long)
        for row, place in enumerate(places):
            question = torch.tensor(questions[place])
            ids[row, width - len(question) :] = question
            attended[row, width - len(question) :] = 1
        room = new_tokens if max_positions is None else min(new_tokens, max_positions - width)
        if room < 1:
            continue
        settings = GenerationConfig(
            max_new_tokens=room,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=sorted(ends) or None,
            pad_token_id=tokenizer.padding,
        )
        with torch.no_grad():
            whole = network.generate(
                input_ids=ids.to(device), attention_mask=attended.to(device), generation_config=settings
            )
        for row, place in enumerate(places):
            tokens = whole[row, width:].tolist()
            end = next((number for number, token in enumerate(tokens) if token in ends), len(tokens))
            found[place] = tokens[:end]
        log.info("%d of %d answers", min(start + batch_size, len(order)), len(order))
    return found


def _ends(network: Any, tokenizer: Tokenizer) -> set[int]:
    """Tokens that end an answer: the tokenizer's, and those that the model's own settings name."""
    own = getattr(network, "generation_config", None)
    named = getattr(own, "eos_token_id", None)
    listed = named if isinstance(named, list) else [named]
    return {token for token in (*listed, tokenizer.end) if isinstance(token, int)}
