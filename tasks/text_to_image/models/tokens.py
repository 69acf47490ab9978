"""How long captions are in tokens: what of them the text encoders never see, told before anything is loaded.

Counted with the model's own tokenizer. For a single file, or a hub id that is not downloaded, any tokenizer of the same
vocabulary that is on this machine counts the same (`Family.same_vocabulary`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from huggingface_hub import try_to_load_from_cache
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from shared.config.schema import DataConfig, ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models.base_model import HUB_ID, family_or_guess, model_files, resolve
from tasks.text_to_image.models.pipeline_folder import read_json

MAX_TOKEN_LENGTH = 75
"""Tokens of text that CLIP's text encoder takes at once, beside the start and the end."""
CLIP = "tokenizer"
"""What pipelines call the tokenizer of a CLIP that is one of several text encoders."""
CHOICES: tuple[int, ...] = get_args(DataConfig.model_fields["max_token_length"].annotation)
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP takes for a word (Radford et al. 2021)."""


@dataclass(frozen=True)
class Lengths:
    """How many tokens each caption has, and how many one pass of the text encoders takes."""

    counts: tuple[int, ...]
    window: int = MAX_TOKEN_LENGTH
    choices: tuple[int, ...] = CHOICES
    """Values of `data.max_token_length` that a model has; none: its window is all it takes."""

    def limit(self, max_token_length: int) -> int:
        """Tokens that are encoded under this setting, of a tokenizer that may be shorter than CLIP's."""
        return max_token_length // MAX_TOKEN_LENGTH * self.window

    def cut(self, max_token_length: int) -> str | None:
        """What is lost under this setting, and the setting that helps; None: nothing."""
        limit = self.limit(max_token_length)
        lost = [count - limit for count in self.counts if count > limit]
        if not lost:
            return None
        return (
            f"{len(lost)} of {len(self.counts)} captions are longer than the {limit} tokens that are encoded: "
            f"{sum(lost)} tokens are cut off, {max(lost)} of the longest caption"
            + self._cure(max_token_length, max(self.counts))
        )

    def _cure(self, max_token_length: int, longest: int) -> str:
        larger = [choice for choice in self.choices if choice > max_token_length]
        enough = next((choice for choice in larger if self.limit(choice) >= longest), None)
        if enough:
            return f"; data.max_token_length = {enough} encodes all of them whole"
        shorten = "shorten the captions, the most important words first"
        return f"; {shorten}, or set data.max_token_length = {larger[-1]}" if larger else f"; {shorten}"


def measure(captions: Iterable[str], model: ModelConfig) -> Lengths | None:
    """Count the tokens of captions; None: neither the model's tokenizer nor one like it is on this machine.

    Raises:
        ModelError: `model.path` is no model, or its tokenizer is damaged.
    """
    own = family_or_guess(model)
    folder = _tokenizer(model, own)
    if folder is None:
        return None
    is_clip = own.text_window is None or folder.name == CLIP != own.window_tokenizer
    tokenizer = _load(folder, is_clip=is_clip)
    counts = tuple(len(tokenizer.encode(caption, add_special_tokens=False).ids) for caption in captions)
    if own.text_window:
        return Lengths(counts, MAX_TOKEN_LENGTH if is_clip else own.text_window, ())
    settings = folder / "tokenizer_config.json"
    whole = read_json(settings).get("model_max_length") if settings.is_file() else None
    window = whole - 2 if isinstance(whole, int) and whole <= MAX_TOKEN_LENGTH + 2 else MAX_TOKEN_LENGTH
    return Lengths(counts, window)


def sentence(captions: Iterable[str], model: ModelConfig, max_token_length: int) -> str:
    """What a person should know of captions before training.

    Raises:
        ModelError: as `measure`.
    """
    lengths = measure(captions, model)
    if lengths is None:
        return f"captions are not counted in tokens yet: the tokenizer of {model.path} is not on this machine"
    limit, longest = lengths.limit(max_token_length), max(lengths.counts, default=0)
    return lengths.cut(max_token_length) or f"captions have up to {longest} tokens, and up to {limit} are encoded"


def _tokenizer(model: ModelConfig, own: Family) -> Path | None:
    """The folder of the model's tokenizer, or of one with the same vocabulary."""
    files = model_files(model.path, model.revision)
    if files is not None and files.is_dir():
        return _in_folder(files, own)
    described = resolve(model.single_file_config or own.completed_by or "")
    sources = (described, *own.same_vocabulary)
    return next(filter(None, (_folder(source, own) for source in sources)), None)


def _in_folder(pipeline: Path, own: Family) -> Path:
    """An optional text encoder's tokenizer may be missing with it."""
    tokenizer = pipeline / own.window_tokenizer
    return tokenizer if tokenizer.is_dir() else pipeline / CLIP


def _folder(source: str, own: Family) -> Path | None:
    """Where a pipeline, or a CLIP, has its tokenizer on this machine."""
    if source and any((Path(source) / name).is_dir() for name in (own.window_tokenizer, CLIP)):
        return _in_folder(Path(source), own)
    if not HUB_ID.fullmatch(source):
        return None
    part = own.window_tokenizer
    for name in (f"{part}/merges.txt", f"{part}/tokenizer.json", "merges.txt", "tokenizer.json"):
        cached = try_to_load_from_cache(source, name)
        if isinstance(cached, str):
            return Path(cached).parent
    return None


def _load(folder: Path, *, is_clip: bool) -> Tokenizer:
    """A tokenizer that neither pads nor cuts; CLIP's may be in two files instead of one."""
    merges = folder / "merges.txt"
    try:
        if is_clip and merges.is_file():
            return _assembled(folder / "vocab.json", merges)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001  # the library raises nothing more special
        raise ModelError(f"{folder} holds no readable tokenizer: {error}", "download the model again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _assembled(vocabulary: Path, merges: Path) -> Tokenizer:
    pieces = BPE.from_file(str(vocabulary), str(merges), end_of_word_suffix="</w>")  # pyright: ignore[reportUnknownMemberType]
    tokenizer = Tokenizer(pieces)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer
