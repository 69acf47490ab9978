"""Text to tokens and back, by the files of a model: `tokenizer.json`, `tokenizer_config.json`, its chat template.

`run.py` checks lengths before any program starts, so this imports neither torch nor transformers; `tokenizers` is what
transformers uses itself. Templates run in jinja's sandbox, as transformers runs them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer as Vocabulary

from shared.errors import DataError, ModelError
from shared.files.json_text import parse_json
from tasks.language_model.data.examples import Message

VOCABULARY, CONFIG, SPECIAL, TEMPLATE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
FILES = (VOCABULARY, CONFIG, SPECIAL, TEMPLATE)


class _Generation(Extension):
    """`{% generation %}`, by which some templates mark what the assistant says: it changes no text."""

    tags = {"generation"}  # noqa: RUF012  # as jinja declares it

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """The nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Tokenizer:
    """Of one model."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelError where the folder has no tokenizer that can be read."""
        try:
            self._vocabulary = Vocabulary.from_file(str(folder / VOCABULARY))
        except Exception as error:  # noqa: BLE001  # `tokenizers` raises nothing else
            reason = str(error).partition("\n")[0]
            raise ModelError(
                f"{folder} has no {VOCABULARY} that can be read: {reason}",
                "load its tokenizer with AutoTokenizer of transformers, and save it there with save_pretrained",
            ) from None
        self._vocabulary.no_padding()
        self._vocabulary.no_truncation()
        self._folder = folder
        self._settings = _read(folder / SPECIAL) | _read(folder / CONFIG)
        end = self._special("eos_token")
        self.end: int | None = self._vocabulary.token_to_id(end) if end else None
        """Ends a text; None: the model has no such token."""
        bare = self._vocabulary.encode("a", add_special_tokens=False).ids
        whole = self._vocabulary.encode("a").ids
        self.begin: list[int] = whole[: max(0, len(whole) - len(bare))] if whole[-len(bare) :] == bare else []
        """Stands before every text that no template writes."""
        if not self.begin and whole[: len(bare)] != bare:  # something on both sides
            self.begin = whole[: whole.index(bare[0])]

    @property
    def padding(self) -> int:
        """Fills rows; what it is does not matter."""
        return self.end or 0

    def encode(self, text: str) -> list[int]:
        """Without special tokens around it."""
        return self._vocabulary.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Without special tokens."""
        return self._vocabulary.decode(list(tokens), skip_special_tokens=True)

    @property
    def has_template(self) -> bool:
        """Whether it knows how conversations are written."""
        return bool(self._template_text)

    def render(self, messages: Sequence[Message], *, asks: bool) -> str:
        """A conversation as the model reads it. asks: it ends where the assistant is to speak.

        Raises:
            ModelError: there is no template.
            DataError: the template refuses these messages.
        """
        said = [{"role": one.role, "content": one.content} for one in messages]
        special = {name: self._special(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
        try:
            return self._template.render(messages=said, add_generation_prompt=asks, **special)
        except TemplateError as error:
            roles = ", ".join(one.role for one in messages)
            raise DataError(
                f"the chat template of {self._folder} refuses messages of {roles}: {error}",
                "put the messages into the order that the model was made for",
            ) from None

    @cached_property
    def _template(self) -> Any:
        if not self._template_text:
            raise ModelError(
                f"{self._folder} has no chat template, and the data set has messages",
                "write prompt and completion in place of messages, take a model that was made for conversations, or "
                f"put its template into {TEMPLATE}",
            )
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: "2026-01-01"  # the same text in every process, every day
        return environment.from_string(self._template_text)

    @cached_property
    def _template_text(self) -> str:
        file = self._folder / TEMPLATE
        if file.is_file():
            return file.read_text(encoding="utf-8")
        given = self._settings.get("chat_template") or ""
        if isinstance(given, list):
            named = {one["name"]: one["template"] for one in given}
            return named.get("default", "")
        return given

    def _special(self, name: str) -> str:
        token = self._settings.get(name)
        return (token.get("content") if isinstance(token, dict) else token) or ""


def _read(file: Path) -> dict[str, Any]:
    try:
        return parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _to_json(value: Any, indent: int | None = None, **others: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    raise TemplateError(message)
