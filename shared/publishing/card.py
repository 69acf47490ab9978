"""The model card: a README.md with the hub's metadata, or the text that goes with a zip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import ModelCardData

from shared.publishing import pictures
from shared.publishing.figures import Compared
from shared.publishing.pictures import Shown
from shared.publishing.publication import Form, Part, Publication
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records.best import Best

README, DESCRIPTION = "README.md", "description.md"
MARKS = {letter: f"\\{letter}" for letter in "\\`*_[]#|"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
BETTER = {"lower": "lower is better", "higher": "higher is better", "none": ""}


@dataclass(frozen=True)
class Card:
    """Everything that is told, before places of this machine are taken out."""

    name: str
    form: Form
    publication: Publication
    shown: Shown
    figures: tuple[Compared, ...]
    best: Best | None
    """The verdict, if it is about this snapshot."""
    descriptions: MetricDescriptions
    strength: float | None
    """The recommended one; None: it was not measured."""
    licence: str = ""

    def text(self) -> str:
        """Of a zip without the metadata, which only the hub reads."""
        parts = [part for part in self._parts() if part.text]
        body = "\n\n".join(f"## {part.title}\n\n{part.text}" for part in parts)
        head = f"# {_line(self.name)}\n\n{self.publication.summary}\n\n{self._gallery()}"
        return f"{'' if self.form == 'zip' else self._metadata()}{head}{body}\n"

    def _metadata(self) -> str:
        entries = {**self.publication.metadata, "license": self.licence or None, "widget": self._widget() or None}
        told = ModelCardData(**{name: value for name, value in entries.items() if value})
        return f"---\n{told.to_yaml()}\n---\n"

    def _widget(self) -> list[dict[str, Any]]:
        return [
            {"text": one.prompt or "-", "output": {"url": one.name(number)}}
            for number, one in enumerate(self.shown.drawn, start=1)
        ]

    def _gallery(self) -> str:
        rows = self.shown.rows
        if not rows:
            return ""
        titles = [self.descriptions.words.base if place == 0 else title for place, (title, _) in enumerate(rows)]
        alternative = _line("; ".join(f"row {place}: {title}" for place, title in enumerate(titles, start=1)))
        prompts = "\n".join(f"{number}. {_line(one.prompt)}" for number, one in enumerate(self.shown.drawn, start=1))
        at = f", at strength {self.shown.strength:g}" if self.publication.has_strength else ""
        several = f"the first {len(self.shown.drawn)} prompts" if len(self.shown.drawn) > 1 else "the first prompt"
        return (
            f"![{alternative}]({pictures.SHEET})\n\nFrom above: {'; '.join(titles)}. These are {several} of the "
            f"evaluation, not the best ones, drawn with the same seeds{at}. From the left:\n\n{prompts}\n\n"
        )

    def _parts(self) -> Iterator[Part]:
        yield Part("Use", "\n\n".join(filter(None, [self._use(), *map(_below, self.publication.usage)])))
        yield Part("Measured", self._measured())
        yield Part("Training", _table(self.publication.training))

    def _use(self) -> str:
        facts = dict(self.publication.facts)
        if self.publication.has_strength:
            facts["strength"] = f"{self.strength:g}" if self.strength is not None else "1 (no other was measured)"
        if self.licence:
            facts["licence"] = _line(self.licence)
        return _table(facts, are_markdown=True)

    def _measured(self) -> str:
        texts = [self.best.reason if self.best else "", self._figures()]
        return "\n\n".join(_line(text) if place == 0 else text for place, text in enumerate(texts) if text)

    def _figures(self) -> str:
        if not self.figures:
            return ""
        base = self.descriptions.words.base
        rows = [f"| | {_line(base)} | this model | difference | 95 % interval |", "| --- | ---: | ---: | ---: | ---: |"]
        for one in self.figures:
            column, difference = one.column, one.difference
            better = f" ({BETTER[column.direction]})" if BETTER[column.direction] else ""
            ends = column.spelled_interval(difference.low, difference.high)
            changed = column.spelled(difference.delta, is_change=True)
            values = f"{column.spelled(one.base)} | {column.spelled(one.value)} | {changed} | {ends}"
            rows.append(f"| {_line(column.title)}{better} | {values} |")
        unit, among = self.descriptions.words.prompt, self.best.num_evaluated if self.best else 0
        held = f" The intervals hold for all {among} snapshots at once: this one was picked among them."
        paired = f"Differences are paired: the same inputs, averaged by {unit}."
        return "\n".join(rows) + f"\n\n{paired}{held if among > 1 else ''}"


def _below(part: Part) -> str:
    return f"### {part.title}\n\n{part.text}"


def _table(entries: Mapping[str, str], *, are_markdown: bool = False) -> str:
    rows = [f"| {_line(name)} | {value if are_markdown else _line(value)} |" for name, value in entries.items()]
    return "\n".join(["| | |", "| --- | --- |", *rows]) if rows else ""


def _line(text: str) -> str:
    """Somebody's words in one line of Markdown, shown as they are."""
    marked = "".join(MARKS.get(letter, letter) for letter in text)
    return " ".join(marked.split())
