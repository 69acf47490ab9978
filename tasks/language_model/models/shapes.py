"""How large a model is, from its configuration and the headers of its weights. Nothing is loaded.

Where the weights are not on this machine yet, they are counted from the configuration, as of a decoder of the usual
kind: attention with four matrices, a feed-forward layer with two or three.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.files.json_text import parse_json
from tasks.language_model.models.files import ModelFiles

PLAIN = frozenset(
    {
        "gpt2",
        "gpt_neo",
        "gptj",
        "gpt_neox",
        "opt",
        "bloom",
        "falcon",
        "phi",
        "codegen",
        "gpt_bigcode",
        "starcoder2",
        "mpt",
    }
)
"""Types whose feed-forward layer has two matrices; others have a gate, which is a third."""
OUTSIDE = re.compile(r"(embed|wte|wpe|lm_head|embed_out|shared)")
"""In the names of matrices that are no linear layers of blocks."""


@dataclass(frozen=True)
class Shapes:
    """Of one model."""

    num_layers: int
    hidden: int
    feed_forward: int
    """Numbers inside the feed-forward layer."""
    kv_width: int
    """Numbers of a token's keys in one layer; of its values as well."""
    vocabulary: int
    linears: tuple[tuple[int, int], ...]
    """(Inputs, outputs) of each linear layer of the blocks."""
    num_others: int
    """Parameters outside these layers: embeddings, norms, the layer that scores tokens."""
    max_positions: int | None = None
    """Tokens that the model can tell apart; None: not limited."""

    @property
    def num_in_blocks(self) -> int:
        """Parameters of the linear layers of the blocks."""
        return sum(inputs * outputs for inputs, outputs in self.linears)

    @property
    def num_parameters(self) -> int:
        """All of them."""
        return self.num_in_blocks + self.num_others

    def num_learning(self, rank: int) -> int:
        """Parameters of a LoRA of all linear layers of the blocks."""
        return sum(rank * (inputs + outputs) for inputs, outputs in self.linears)


def read(found: ModelFiles) -> Shapes:
    """Those of a model."""
    hidden = found.field("hidden_size", "n_embd", "d_model", default=1)
    heads = found.field("num_attention_heads", "n_head", "n_heads", default=1)
    kv_heads = found.field("num_key_value_heads", default=heads)
    head = found.field("head_dim", default=max(1, hidden // heads))
    layers = found.field("num_hidden_layers", "n_layer", "n_layers", default=1)
    feed_forward = found.field("intermediate_size", "n_inner", "ffn_dim", default=4 * hidden)
    vocabulary = found.field("vocab_size", default=1)
    tensors = [one for file in found.weights for one in _tensors(file)]
    if tensors:
        inside = [shape for name, shape in tensors if len(shape) == 2 and not OUTSIDE.search(name)]
        linears = tuple((shape[1], shape[0]) for shape in inside)
        others = sum(_count(shape) for _, shape in tensors) - sum(map(_count, inside))
    else:
        attention = [
            (hidden, heads * head),
            (hidden, kv_heads * head),
            (hidden, kv_heads * head),
            (heads * head, hidden),
        ]
        ups = 1 if found.description.get("model_type") in PLAIN else 2
        linears = tuple([*attention, *[(hidden, feed_forward)] * ups, (feed_forward, hidden)] * layers)
        tied = found.description.get("tie_word_embeddings", found.description.get("model_type") in PLAIN)
        others = vocabulary * hidden * (1 if tied else 2) + 2 * layers * hidden
    return Shapes(layers, hidden, feed_forward, kv_heads * head, vocabulary, linears, others, found.max_positions)


def _tensors(file: Path) -> Iterator[tuple[str, list[int]]]:
    """Name and shape of each tensor of a safetensors file; none where its header cannot be read."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            tree: dict[str, Any] = parse_json(opened.read(min(length, file.stat().st_size)))
    except (OSError, ValueError):
        return
    for name, entry in tree.items():
        if name != "__metadata__":
            yield name, entry["shape"]


def _count(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
