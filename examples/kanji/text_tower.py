"""The text encoder: a small CLIP text tower that is first taught which shapes a meaning stands for.

A text tower of CLIP says something of pictures because it has learnt beside them. Pocket has one of garments, which
knows none of these words. This one learns beside glyphs: from the meanings of a training character to the principal
components of its glyph. Then the denoiser need not learn 2,000 arbitrary codes first, which takes hours on two cores.
It sees no character that is held out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from rich.progress import track
from tokenizers import Tokenizer, trainers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MAX_LENGTH = 16
"""Tokens of a meaning, start and end included; longer ones are cut."""
WIDTH = 192
VOCABULARY = 6000
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
NUM_STEPS, BATCH_SIZE, LEARNING_RATE = 400, 256, 3e-3


def tokenizer_of(meanings: Sequence[str]) -> CLIPTokenizer:
    """CLIP's way of splitting text, with merges learnt from these meanings: most words are one token."""
    blank = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(BPE(end_of_word_suffix=WORD_END))
    learner.normalizer, learner.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    learner.train_from_iterator(
        meanings, trainers.BpeTrainer(vocab_size=VOCABULARY, end_of_word_suffix=WORD_END, show_progress=False)
    )
    merges: list[Any] = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    alphabet = sorted(ByteLevel.alphabet())
    pieces = [*alphabet, *(letter + WORD_END for letter in alphabet), *("".join(pair) for pair in merges), START, END]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_LENGTH)


def tokenise(tokenizer: CLIPTokenizer, meanings: Sequence[str]) -> Tensor:
    """(N, L), padded as diffusers pads."""
    return tokenizer(
        list(meanings), padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids


def components(glyphs_NHW: Tensor) -> Tensor:
    """Principal components of blurred glyphs, the strongest first, divided by their common deviation. (N, WIDTH)."""
    small_NP = F.avg_pool2d(glyphs_NHW.unsqueeze(1), 2).flatten(1)
    left, values, _ = torch.linalg.svd(small_NP - small_NP.mean(dim=0), full_matrices=False)
    found = left[:, :WIDTH] * values[:WIDTH]
    return found / found.std()


def train(tokenizer: CLIPTokenizer, meanings: Sequence[str], glyphs_NHW: Tensor, seed: int = 0) -> CLIPTextModel:
    """A tower of two layers. glyphs: of each meaning, 0…1, the mean over the training fonts."""
    torch.manual_seed(seed)
    specials: dict[str, Any] = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
    }
    tower = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_attention_heads=4,
            num_hidden_layers=2,
            vocab_size=len(tokenizer),
            max_position_embeddings=MAX_LENGTH,
            **specials,
        )
    )
    head, target_NC = nn.Linear(WIDTH, WIDTH), components(glyphs_NHW)
    target_NC = target_NC[:, :WIDTH]
    if target_NC.shape[1] < WIDTH:
        target_NC = F.pad(target_NC, (0, WIDTH - target_NC.shape[1]))
    input_ids_NL = tokenise(tokenizer, meanings)
    optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, NUM_STEPS, pct_start=0.1)
    for step in track(range(NUM_STEPS), description="the text encoder learns meanings"):
        chosen = torch.randint(len(input_ids_NL), (BATCH_SIZE,), generator=torch.Generator().manual_seed(step))
        loss = F.mse_loss(head(tower(input_ids_NL[chosen]).pooler_output), target_NC[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return tower.eval()
