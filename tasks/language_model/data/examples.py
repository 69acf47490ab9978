"""The examples of a run: found, checked and split before a model is loaded.

A line of a JSON Lines file is one example: `prompt` and `completion`, or `messages`, or `text`. `data.path` is one such
file, or a folder that holds some at any depth. An example's id is its file's path without ending and its line, such as
`calls/12`, or its own `id`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from shared.config.path_settings import HUB
from shared.config.schema import Config
from shared.data.sources.folder import walk
from shared.data.sources.pair import Pair
from shared.data.sources.scan_report import ScanReport, listed
from shared.data.sources.text import read_text, why
from shared.data.split import groups, held_out
from shared.errors import DataError
from shared.files.combined_digest import combined_digest
from shared.files.json_text import parse_json

ENDING = ".jsonl"
FORMS = ("prompt and completion", "messages", "text")
CURE = (
    'write a line for each example: {"prompt": "…", "completion": "…"}, {"messages": [{"role": "user", "content": '
    '"…"}, {"role": "assistant", "content": "…"}]} or {"text": "…"}'
)
ROLES = ("system", "user", "assistant", "tool")
SHOWN = 120
"""Characters of a prompt that the run's inventory keeps."""


@dataclass(frozen=True)
class Message:
    """What one side of a conversation says."""

    role: str
    content: str


@dataclass(frozen=True)
class Example:
    """One example, as it was written."""

    id: str
    prompt: str = ""
    completion: str = ""
    """Empty: it has `messages` or `text` instead."""
    messages: tuple[Message, ...] = ()
    text: str = ""

    @property
    def expected(self) -> str:
        """The answer that a snapshot is compared with; empty: of `text`, which tokens divide."""
        return self.messages[-1].content if self.messages else self.completion

    @property
    def question(self) -> str:
        """What is asked, for people; of `text` all of it."""
        if not self.messages:
            return self.prompt if self.completion else self.text
        said = self.messages[:-1]
        return said[0].content if len(said) == 1 else "\n".join(f"{one.role}: {one.content}" for one in said)

    @property
    def record(self) -> dict[str, Any]:
        """As a line holds it, without its id."""
        if self.messages:
            return {"messages": [{"role": one.role, "content": one.content} for one in self.messages]}
        return {"prompt": self.prompt, "completion": self.completion} if self.completion else {"text": self.text}

    @property
    def digest(self) -> str:
        """sha256 of its content."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def scan(config: Config) -> list[Example]:
    """Every example, sorted by file and line.

    Raises:
        DataError: no data set, or lines that cannot be used; every problem in one error.
    """
    path, problems = Path(config.data.path), list[str]()
    examples = [one for file, prefix in files_of(config.data.path) for one in _read(file, prefix, problems)]
    twice = [name for name, count in Counter(one.id for one in examples).items() if count > 1]
    problems += [f"{len(twice)} id(s) are there twice, such as {twice[0]}"] if twice else []
    if problems:
        lines = "\n       ".join(listed(problems))
        raise DataError(f"{len(problems)} problem(s) in the data set:\n       {lines}", CURE)
    if not examples:
        raise DataError(f"data.path {path} holds no examples", CURE)
    return examples


def files_of(place: str) -> list[tuple[Path, str]]:
    """The files of a data set, each with what ids of its lines begin with.

    Raises:
        DataError: there is no such file or folder, or it is of another kind.
    """
    path = Path(place)
    if place.startswith(HUB):
        raise DataError(
            f"data.path is {place}: a language model learns from JSON Lines files",
            "download it, save it with `Dataset.to_json`, and name that file",
        )
    if path.is_file():
        if path.suffix.lower() not in (ENDING, ".json"):
            raise DataError(f"data.path is {path}, which is no JSON Lines file ({ENDING})", CURE)
        return [(path, path.stem)]
    if not path.is_dir():
        raise DataError(f"data.path is {path}, where there is neither a file nor a folder", "give a file of examples")
    found = sorted(file for file in walk(path, ScanReport()) if file.suffix.lower() == ENDING)
    return [(file, file.relative_to(path).with_suffix("").as_posix()) for file in found]


def parse(record: object) -> tuple[Example | None, str]:
    """An example of a line, without an id; or what is wrong with it."""
    if not isinstance(record, dict):
        return None, "not a JSON object"
    line = cast("dict[str, Any]", record)
    forms = [
        *([FORMS[0]] if {"prompt", "completion"} & line.keys() else []),
        *([name for name in FORMS[1:] if name in line]),
    ]
    if len(forms) != 1:
        keys = ", ".join(line) or "nothing"
        return None, f"has {' and '.join(forms)}, must have one of them" if forms else f"has {keys}, none of the forms"
    if forms[0] == "messages":
        return _conversation(line["messages"])
    needed = ("text",) if forms[0] == "text" else ("prompt", "completion")
    for name in needed:
        if not isinstance(line.get(name), str):
            return None, f"{name} is {'no text' if name in line else 'missing'}"
    if not line[needed[-1]].strip():
        return None, f"{needed[-1]} is empty"
    return Example("", **{name: line[name] for name in needed}), ""


def fingerprint(examples: Iterable[Example]) -> str:
    """sha256 over every id and content."""
    return combined_digest(f"{one.id}:{one.digest}" for one in examples)


@dataclass(frozen=True)
class Split:
    """Ids that are held out, in the order of evaluation, and ids that are set apart because of them."""

    held_out: list[str]
    set_apart: list[str]

    def training(self, examples: Sequence[Example], config: Config) -> list[Example]:
        """What is trained on."""
        return training_examples(examples, [*self.held_out, *self.set_apart], config)


def split(examples: Sequence[Example], config: Config) -> Split:
    """Hold out some: examples that ask the same, or that `data.group_key` joins, are on one side.

    Raises:
        DataError: `data.validation_ids` names what is not there, or nothing is left to train on.
    """
    settings, by_id = config.data, {one.id: one for one in examples}
    if unknown := [name for name in settings.validation_ids if name not in by_id]:
        raise DataError(
            f"data.validation_ids names what is not in the data set: {', '.join(unknown)}",
            f"give ids such as {examples[0].id}: the file without its ending, and the line",
        )
    named, asked, distinct = settings.validation_ids, set[str](), list[Example]()
    for one in sorted(examples, key=lambda one: one.id not in named):
        if one.id in named or _key(one) not in asked:
            distinct.append(one)
        asked.add(_key(one))
    if len(distinct) <= settings.num_validation:
        raise DataError(
            f"{len(distinct)} examples that ask different things, {settings.num_validation} of them to be held out, "
            "leave nothing to train on",
            "add examples or lower data.num_validation",
        )
    pairs = [Pair(one.id, Path(one.digest), one.question) for one in distinct]
    together = groups.groups(pairs, settings.group_key) if settings.group_key else {}
    chosen = held_out.choose(
        groups.one_of_each(pairs, together, named), settings.num_validation, config.train.seed, named
    )
    away = {*chosen, *groups.set_apart(chosen, together)}
    asked = {_key(by_id[name]) for name in away}
    apart = [one.id for one in examples if one.id not in set(chosen) and (one.id in away or _key(one) in asked)]
    return Split(chosen, apart)


def training_examples(examples: Sequence[Example], kept_away: Iterable[str], config: Config) -> list[Example]:
    """Neither held out nor set apart, `data.train_size` at most, chosen by seed; sorted by id.

    Raises:
        DataError: nothing is left.
    """
    away = set(kept_away)
    left = {one.id: one for one in examples if one.id not in away}
    if not left:
        raise DataError("every example is held out, or asks the same as one that is", "add examples")
    pairs = [Pair(one.id, Path(one.digest), "") for one in left.values()]
    wanted = held_out.shuffled(pairs, f"train:{config.train.seed}")[: config.data.train_size]
    return [left[name] for name in sorted(wanted)]


def _read(file: Path, prefix: str, problems: list[str]) -> list[Example]:
    try:
        lines = _lines(file)
    except (OSError, ValueError) as error:
        problems.append(f"{file}: {why(error)}")
        return []
    examples: list[Example] = []
    for number, line in lines:
        try:
            record: object = parse_json(line) if isinstance(line, str) else line
        except ValueError as error:
            problems.append(f"{file}:{number}: {why(error)}")
            continue
        example, fault = parse(record)
        own = cast("dict[str, Any]", record).get("id") if isinstance(record, dict) else None
        if example is None:
            problems.append(f"{file}:{number}: {fault}")
        elif own is not None and not (isinstance(own, (str, int)) and str(own).strip()):
            problems.append(f"{file}:{number}: id is neither a text nor a number")
        else:
            examples.append(_named(example, f"{prefix}/{number}" if own is None else str(own).strip()))
    return examples


def _lines(file: Path) -> list[tuple[int, Any]]:
    """Lines by number; of a `.json` file the entries of its list.

    Raises:
        OSError, ValueError: it cannot be read, or holds no list.
    """
    text = read_text(file)
    if file.suffix.lower() == ENDING:
        return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    tree: Any = parse_json(text)
    if not isinstance(tree, list):
        raise ValueError("holds no list")
    return list(enumerate(cast("list[Any]", tree), 1))


def _named(example: Example, name: str) -> Example:
    return Example(name, example.prompt, example.completion, example.messages, example.text)


def _conversation(said: object) -> tuple[Example | None, str]:
    if not isinstance(said, list) or not said:
        return None, "messages is no list of messages"
    messages: list[Message] = []
    for number, one in enumerate(cast("list[Any]", said), 1):
        role, content = (one.get("role"), one.get("content")) if isinstance(one, dict) else (None, None)
        if role not in ROLES:
            return None, f"message {number} has the role {role!r}, must be one of {', '.join(ROLES)}"
        if not isinstance(content, str):
            return None, f"the content of message {number} is no text"
        messages.append(Message(str(role), content))
    if messages[-1].role != "assistant" or not messages[-1].content.strip():
        return None, "the last message is no answer of the assistant"
    if len(messages) == 1:
        return None, "the assistant answers nothing: there is no message before"
    return Example("", messages=tuple(messages)), ""


def _key(example: Example) -> str:
    """Two examples with the same one ask the same, give or take spaces and capitals."""
    return " ".join(example.question.casefold().split())
