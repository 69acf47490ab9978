"""Qwen3-VL's processor without its halves for pictures and films, which need torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, ProcessorMixin

IMAGE_TOKEN = "<|image_pad|>"


class TextProcessor(ProcessorMixin):
    """Makes tokens of texts as the whole processor does."""

    def __init__(self, tokenizer: Any = None, chat_template: str | None = None) -> None:
        super().__init__(tokenizer, chat_template=chat_template)
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)


def read(folder: Path) -> TextProcessor:
    """folder: of the whole processor."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    return TextProcessor(tokenizer, tokenizer.chat_template)
