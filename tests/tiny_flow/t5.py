"""T5 in miniature, and its tokenizer: every character is a token."""

from __future__ import annotations

import string

from transformers import T5Config, T5EncoderModel, T5Tokenizer

WIDTH = 24
XXL = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_layers": 24, "num_heads": 64, "vocab_size": 32128}
"""The size that the models use."""


def tokenizer() -> T5Tokenizer:
    """Reads up to 512 tokens."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(letter, -1.0) for letter in ("▁", *string.ascii_letters, *string.digits, *string.punctuation)]
    return T5Tokenizer(vocab=[*special, *letters], extra_ids=0, model_max_length=512)


def encoder(vocab_size: int) -> T5EncoderModel:
    """With random weights."""
    return T5EncoderModel(
        T5Config(
            vocab_size=vocab_size,
            d_model=WIDTH,
            d_ff=WIDTH + 5,
            d_kv=6,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )


def true_encoder() -> T5EncoderModel:
    """T5 XXL; called on torch's meta device."""
    return T5EncoderModel(T5Config(**XXL, feed_forward_proj="gated-gelu"))
