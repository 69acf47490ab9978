"""The pocket tokenizer: CLIP's way of splitting text, with merges learnt from the catalogue's captions.

Every byte has a token, so any text can be encoded; words outside the catalogue fall into short pieces.
"""

import json
from typing import Any

from tokenizers import Tokenizer, trainers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from pocket.lessons.garments import WORDINGS, catalogue

MAX_LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def train() -> CLIPTokenizer:
    """A tokenizer with about 700 tokens; fast and deterministic. Its last two tokens are start and end, as in CLIP."""
    merges = _learn_merges([garment.caption(wording) for garment in catalogue() for wording in range(len(WORDINGS))])
    alphabet = sorted(ByteLevel.alphabet())
    pieces = [*alphabet, *(letter + WORD_END for letter in alphabet), *("".join(pair) for pair in merges), START, END]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_LENGTH)


def _learn_merges(captions: list[str]) -> list[Any]:
    """Pairs of pieces, in the order in which byte-pair encoding finds them; transformers annotates them as strings."""
    blank = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(BPE(end_of_word_suffix=WORD_END))
    learner.normalizer, learner.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    learner.train_from_iterator(captions, trainers.BpeTrainer(end_of_word_suffix=WORD_END, show_progress=False))
    return [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
