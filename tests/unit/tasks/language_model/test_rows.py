"""How examples are laid out in rows changes no loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, BloomConfig

from tasks.language_model.data.tokens import Tokens
from tasks.language_model.network import LanguageModel, keeps_apart, scores
from tasks.language_model.rows import NONE, lay_out, loss_sums
from tests import tiny_language

CPU = torch.device("cpu")


def some(lengths: list[int], vocabulary: int = 256) -> list[Tokens]:
    random = np.random.default_rng(0)
    return [Tokens(random.integers(vocabulary, size=length), np.arange(length) >= length // 2) for length in lengths]


def test_each_example_is_whole_in_one_row_and_positions_begin_again() -> None:
    examples = some([3, 7, 2, 5])
    rows = lay_out(examples, 10, 0, packs=True)
    assert rows.owners.tolist() == [[1, 1, 1, 1, 1, 1, 1, 0, 0, 0], [3, 3, 3, 3, 3, 2, 2, NONE, NONE, NONE]]
    assert rows.positions[1].tolist() == [0, 1, 2, 3, 4, 0, 1, 0, 1, 2]
    assert lay_out(examples, 10, 0, packs=False).owners[:, 0].tolist() == [0, 1, 2, 3]
    for number, one in enumerate(examples):
        assert rows.ids[rows.owners == number].tolist() == one.ids.tolist()
        assert int(rows.counted[rows.owners == number].sum()) == one.num_counted


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_packed_losses_are_those_of_examples_alone(tmp_path: Path, kind: str) -> None:
    tiny_language.write_model(tmp_path, kind)
    module = LanguageModel(AutoModelForCausalLM.from_pretrained(tmp_path)).eval()
    examples = some([3, 7, 2, 5])
    with torch.no_grad():
        packed, single = (
            loss_sums(scores(module, rows, CPU), rows, 4)
            for rows in (lay_out(examples, 10, 0, packs=True), lay_out(examples, 10, 0, packs=False))
        )
        first = module.network(torch.from_numpy(examples[1].ids)[None]).logits[0].log_softmax(dim=-1)
    torch.testing.assert_close(packed, single)
    by_hand = -sum(first[place - 1, examples[1].ids[place]] for place in range(3, 7))
    torch.testing.assert_close(single[1], torch.as_tensor(by_hand))
    assert keeps_apart(module, examples, 0, CPU)


def test_a_model_that_lets_examples_of_a_row_see_one_another_is_noticed() -> None:
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=256, hidden_size=32, n_layer=2, n_head=4)
    module = LanguageModel(AutoModelForCausalLM.from_config(config)).eval()
    assert not keeps_apart(module, some([6, 7]), 0, CPU)


def test_gradients_are_of_the_tokens_that_count() -> None:
    rows = lay_out(some([4, 4], 8), 8, 0, packs=True)
    table = nn.Parameter(torch.zeros(1, 8, 8))
    loss_sums(table, rows, 2).sum().backward()
    touched = table.grad.abs().sum(dim=-1)[0] > 0  # type: ignore[union-attr]
    assert touched.tolist() == [False, True, True, False, False, True, True, False]
