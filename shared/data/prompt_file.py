"""Prompts of a person's own, one in each line, with the options of kohya's sample prompts.

    # for the portraits
    [trigger] in a forest, autumn --n blurry --w 512 --h 768 --d 7
    a pencil drawing of [trigger] --s 30 --l 5.5
    turn the shirt red --ci photo.png

`--ci` names a source, what an edit model makes the picture from, from the file's folder; several in their order.
`[trigger]` is replaced by `data.trigger_word`, in a negative prompt too; a prompt without it gets the word in front, as
captions do. kohya's TOML and JSON are read, too (`shared/data/structured_prompts.py`): line 3 is their third prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from shared.data import captions, structured_prompts
from shared.data.pictures import open_picture
from shared.errors import ConfigError, DataError
from shared.files import paths

TRIGGER = "[trigger]"
ANY_TRIGGER = re.compile(re.escape(TRIGGER), re.IGNORECASE)
LINE_END = re.compile(r"\r\n?|\n")
"""As editors count lines: `str.splitlines` also ends them at form feeds and the like."""
OPTION = re.compile(r"(?:^|\s)--(?=\S|$)")
LEAST_SIDE, MOST_SIDE = 32, 4096
"""Of a picture, pixels."""
SIZE_MULTIPLE = 8
"""What every model's sides are multiples of; some need more."""
MOST_LINES, MOST_FAULTS, MOST_CHARACTERS = 8, 40, 40
"""Told of one fault, of all faults, and of one value: a file of something else is wrong in every line."""


@dataclass(frozen=True)
class OwnPrompt:
    """One line. What is None is as for the other prompts of the run."""

    line: int
    """Number of the line, or of the prompt in TOML and JSON, from 1."""
    prompt: str
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    """Of its first picture; the others follow."""
    sources: tuple[str, ...] = ()
    """What its pictures are made from, in order, as the file names them: `source_path` finds them."""

    def given(self) -> dict[str, Any]:
        """The options, besides size and seed, in which its pictures differ from the run's others."""
        names = ("negative_prompt", "num_inference_steps", "guidance_scale")
        return {name: value for name in names if (value := getattr(self, name))}


AS_OTHERS = OwnPrompt(0, "")
"""Nothing of its own."""
Suits = Callable[[OwnPrompt], Iterable[str]]
"""What of a prompt does not suit the model that draws it."""


def no_fault(prompt: OwnPrompt) -> Iterable[str]:
    """Every prompt suits a model of which nothing is known."""
    return ()


@dataclass(frozen=True)
class _Option:
    """What stands behind `--x`."""

    field: str
    meaning: str
    read: Callable[[str], Any]
    """Raises ValueError with what the value must be."""
    repeats: bool = False
    """Whether it may be given several times: its values are a tuple."""


def source_path(file: Path, source: str) -> Path:
    """Where a source lies. file: of prompts."""
    return file.parent / paths.expand(source)


def read(
    path: Path,
    trigger_word: str = "",
    multiple: int = SIZE_MULTIPLE,
    suits: Suits = no_fault,
    *,
    is_copy: bool = False,
) -> tuple[OwnPrompt, ...]:
    """The prompts of a file, in order.

    multiple: what the model needs the sides of a picture to be multiples of. suits: what the model cannot draw.
    is_copy: whether it is a run's own, which has no sources beside it; else every source is opened.

    Raises:
        ConfigError: the file cannot be read or has no prompt; or with every line that is wrong.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"evaluation.prompts is {path}, which cannot be read: {error.strerror}",
            "give the path of a text file with one prompt in each line",
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"evaluation.prompts: {path} is not UTF-8 ({error.reason})", "save it as UTF-8") from None
    return parse(text, str(path), trigger_word, multiple, suits, None if is_copy else path)


def parse(
    text: str,
    name: str,
    trigger_word: str = "",
    multiple: int = SIZE_MULTIPLE,
    suits: Suits = no_fault,
    file: Path | None = None,
) -> tuple[OwnPrompt, ...]:
    """As `read` does. name: of the file, for errors. file: beside which sources are opened; None: they are not."""
    ending = structured_prompts.ending_of(text, name)
    lines = _Lines(trigger_word, multiple, suits, file, by_key=bool(ending))
    entries = structured_prompts.entries(text, name, ending) if ending else LINE_END.split(text)
    prompts = [found for number, line in enumerate(entries, 1) if (found := lines.read(number, line))]
    if lines.faults:
        wrong = f"{name} has {lines.what}s that are wrong"
        raise ConfigError("\n       ".join([f"evaluation.prompts: {wrong}", *lines.told()]), lines.cure)
    if not prompts:
        raise ConfigError(
            f"evaluation.prompts: {name} has no prompt",
            "write one prompt in each line; empty lines and lines that begin with # do not count",
        )
    return tuple(prompts)


@dataclass
class _Lines:
    """Reads one line after another and collects what is wrong with them."""

    trigger_word: str
    multiple: int
    suits: Suits = no_fault
    file: Path | None = None
    by_key: bool = False
    """TOML or JSON: options have names, and prompts are counted."""
    faults: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """What is wrong → in which lines."""
    _seen: dict[OwnPrompt, int] = field(default_factory=dict[OwnPrompt, int])
    """Prompt, whatever its line → where it stood first."""

    @property
    def what(self) -> str:
        """Is counted."""
        return "prompt" if self.by_key else "line"

    @property
    def cure(self) -> str:
        """Which options there are."""
        if not self.by_key:
            return CURE
        return f"correct these prompts; the keys are prompt, {', '.join(structured_prompts.LETTERS)}"

    def read(self, number: int, line: str | Mapping[str, Any]) -> OwnPrompt | None:
        """None: an empty line, a comment, or a line that is wrong."""
        if isinstance(line, str):
            line = captions.tidy(line)
            if not line or line.startswith("#"):
                return None
            prompt, *options = OPTION.split(line)
            given = [(f"--{letter}", letter, text) for letter, _, text in (one.partition(" ") for one in options)]
        else:
            letters = structured_prompts.LETTERS
            prompt = captions.tidy(str(line.get("prompt", "")))
            given = [(key, letters.get(key, ""), text) for key, value in line.items() for text in _spelled(value)]
            given = [one for one in given if one[0] != "prompt"]
        values, faults = self._values(given)
        prompt = self._filled_in(prompt.strip())
        if "negative_prompt" in values:
            values["negative_prompt"] = self._with_word(values["negative_prompt"])
        negative = values.get("negative_prompt", "")
        if ANY_TRIGGER.search(f"{prompt} {negative}"):
            faults.append(
                f"{TRIGGER} stands for the trigger word, which is not set: give it (data.trigger_word; of init and "
                "evaluate: --trigger-word WORD), or write the word itself"
            )
        if fault := captions.fault(prompt):
            faults.append(fault.replace("caption", "prompt"))
        found = OwnPrompt(number, prompt, **values)
        faults += [*self.suits(found), *self._odd_sources(found)]
        if not faults and (first := self._seen.setdefault(replace(found, line=0), number)) != number:
            seed = "seed" if self.by_key else "--d"
            faults.append(f"it repeats {self.what} {first}: give it another seed by {seed}, or more seeds to all "
                          "prompts by evaluation.num_seeds")  # fmt: skip
        for fault in faults:
            self.faults.setdefault(fault, []).append(number)
        return None if faults else found

    def told(self) -> list[str]:
        """The faults, each once with its lines, in the order of the file; of very many the first."""
        told = [f"{_numbered(self.what, numbers)}: {fault}" for fault, numbers in self.faults.items()]
        more = [f"and {len(told) - MOST_FAULTS:,} more"] if len(told) > MOST_FAULTS else []
        return told[:MOST_FAULTS] + more

    def _values(self, options: list[tuple[str, str, str]]) -> tuple[dict[str, Any], list[str]]:
        """options: (as it is written, its letter, its value)."""
        values: dict[str, Any] = {}
        faults: list[str] = []
        for written, letter, text in options:
            known = OPTIONS.get(letter)
            if known is None:
                faults.append(f"there is no {'option' if written.startswith('--') else 'key'} {_short(written)}")
            elif known.field in values and not known.repeats:
                faults.append(f"{written} is given twice")
            else:
                try:
                    value = known.read(text.strip())
                    values[known.field] = (*values.get(known.field, ()), value) if known.repeats else value
                except ValueError as error:
                    given = f"{_short(text.strip())!r}" if text.strip() else "empty"
                    named = f"{written} ({known.meaning})" if written.startswith("--") else written
                    faults.append(f"{named} is {given}, must be {error}")
        faults += self._odd_sides(values)
        return values, faults

    def _odd_sides(self, values: dict[str, Any]) -> Iterator[str]:
        for name, letter in (("width", "--w"), ("height", "--h")):
            side = values.get(name) or 0
            if side % self.multiple:
                near, written = max(side // self.multiple, 1) * self.multiple, name if self.by_key else letter
                yield f"{written} is {side}, but must be a multiple of {self.multiple}, such as {near}"

    def _odd_sources(self, prompt: OwnPrompt) -> Iterator[str]:
        """Sources that cannot be opened."""
        for place in (source_path(self.file, source) for source in prompt.sources) if self.file else ():
            try:
                if place.is_file():
                    open_picture(place)
                else:
                    yield f"there is no source {place}"
            except DataError as error:
                yield f"the source {error}"

    def _filled_in(self, prompt: str) -> str:
        if not self.trigger_word:
            return prompt
        return captions.with_trigger(self._with_word(prompt), self.trigger_word)

    def _with_word(self, text: str) -> str:
        return ANY_TRIGGER.sub(lambda _: self.trigger_word or TRIGGER, text)


def _spelled(value: Any) -> list[str]:
    """A number or text of TOML or JSON, or each of several, as a line would have it."""
    if isinstance(value, list):
        return [text for one in cast("list[Any]", value) for text in _spelled(one)]
    if isinstance(value, float) and value.is_integer():
        return [str(int(value))]
    return [str(value)]


def _numbered(what: str, numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"{what} {numbers[0]}"
    more = f" and {len(numbers) - MOST_LINES:,} more" if len(numbers) > MOST_LINES else ""
    return f"{what}s {', '.join(map(str, numbers[:MOST_LINES]))}{more}"


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read_number(text: str) -> int:
        if not re.fullmatch(r"\d{1,10}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return read_number


def _guidance(text: str) -> float:
    if not re.fullmatch(r"\d{1,3}(\.\d*)?|\.\d+", text) or not 1 <= float(text) <= 100:
        raise ValueError("a number from 1 to 100")
    return float(text)


def _text(text: str) -> str:
    if not text:
        raise ValueError("a text")
    return text


OPTIONS = {
    "n": _Option("negative_prompt", "negative prompt", _text),
    "w": _Option("width", "width", _whole(LEAST_SIDE, MOST_SIDE)),
    "h": _Option("height", "height", _whole(LEAST_SIDE, MOST_SIDE)),
    "s": _Option("num_inference_steps", "steps", _whole(1, 1000)),
    "l": _Option("guidance_scale", "guidance", _guidance),
    "d": _Option("seed", "seed", _whole(0, 2**31 - 1)),
    "ci": _Option("sources", "source", _text, repeats=True),
}
"""Letter → what it sets."""
CURE = "correct these lines; the options are " + ", ".join(
    f"--{letter} {option.meaning}" for letter, option in OPTIONS.items()
)
