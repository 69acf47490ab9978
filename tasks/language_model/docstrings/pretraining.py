"""A small Llama that has read the functions of some packages: what a LoRA of the demo begins from."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from tasks import devices
from tasks.language_model.docstrings import functions

END = "<|end|>"
VOCABULARY, CONTEXT = 2048, 128
STEPS, BATCH, RATE = 300, 16, 3e-3
SEED = 0


def write(folder: Path) -> None:
    """Train it, and save it as `save_pretrained` does."""
    devices.share_cores(torch.device("cpu"))  # with more threads than idle cores a step takes many times as long
    texts = list(functions.of_packages())
    tokenizer = _tokenizer(texts)
    stream = torch.tensor([token for text in texts for token in tokenizer.encode(text + END)])
    torch.manual_seed(SEED)
    end: Any = tokenizer.convert_tokens_to_ids(END)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )
    network = AutoModelForCausalLM.from_config(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 20) * _cosine(step))
    size = sum(one.numel() for one in network.parameters()) / 1e6
    sys.stdout.write(
        f"{len(texts)} functions, {len(stream)} tokens; a Llama of {size:.1f} million weights reads them\n"
    )
    for step in range(1, STEPS + 1):
        starts = torch.randint(len(stream) - CONTEXT - 1, (BATCH,))
        batch = torch.stack([stream[start : start + CONTEXT + 1] for start in starts])
        scores = network(input_ids=batch[:, :-1]).logits
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            sys.stdout.write(f"step {step} of {STEPS}: loss {loss.item():.2f}\n")
            sys.stdout.flush()
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Pairs of bytes that are frequent in these texts (BPE)."""
    vocabulary = Tokenizer(models.BPE())
    vocabulary.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    vocabulary.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    vocabulary.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=vocabulary, eos_token=END, pad_token=END)


def _cosine(step: int) -> float:
    return 0.05 + 0.95 * (1 + math.cos(math.pi * step / STEPS)) / 2
