"""The page's language: English texts stand in the code, each with its Chinese in `dashboard.text`.

A viewer's language is that of the browser or `?lang=`. It is set at the start of a page and of each panel, which run in
threads of their own; `say` looks it up there, so that charts and tables need not carry it around. So is what the
snapshots of the run that is shown are counted in: texts are written of steps, and `say` makes epochs of them.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from dashboard.text import zh_hans, zh_hant
from shared.run_folder.averages import is_average, label
from shared.run_folder.phrase import Unit, in_unit

LANGUAGES = {"en": "English", "zh-Hans": "简体中文", "zh-Hant": "繁體中文"}
TEXTS: dict[str, dict[str, str]] = {"en": {}, "zh-Hans": zh_hans.TEXTS, "zh-Hant": zh_hant.TEXTS}
TRADITIONAL = ("zh-hant", "zh-tw", "zh-hk", "zh-mo")

STEP, EPOCH = "步", {"zh-Hans": "轮", "zh-Hant": "輪"}

_current: ContextVar[str] = ContextVar("language", default="en")
_unit: ContextVar[Unit] = ContextVar("unit", default="step")


def say(text: str, **values: object) -> str:
    """`text` in the viewer's language, its `{names}` filled in; what has no translation stays English."""
    translated = counted(TEXTS[_current.get()].get(text, text))
    return translated.format(**{name: _spelled(value) for name, value in values.items()}) if values else translated


def _spelled(value: object) -> object:
    """The number of an average of snapshots as people read it: `750–900`."""
    return label(value) if isinstance(value, int) and is_average(value) else value


def use(language: str) -> None:
    """Speak this language from here on, in this thread, and of steps."""
    _current.set(language if language in TEXTS else "en")
    _unit.set("step")


def count_in(unit: Unit) -> None:
    """Speak of what a run counts from here on, in this thread."""
    _unit.set(unit)


@contextmanager
def counting(unit: Unit) -> Generator[None]:
    """Speak of what one of several runs counts."""
    before = _unit.set(unit)
    try:
        yield
    finally:
        _unit.reset(before)


def counted(text: str) -> str:
    """A text or template in the viewer's language, about what the run counts."""
    if _unit.get() == "step":
        return text
    return in_unit(text, "epoch").replace(STEP, EPOCH.get(_current.get(), STEP))


def current() -> str:
    """The language spoken."""
    return _current.get()


def asked_for(chosen: str | None, accepted: str) -> str:
    """The language of an answer. chosen: `?lang=`; accepted: the header Accept-Language."""
    return chosen if chosen in TEXTS else best_match(accepted.partition(",")[0])


def in_all(text: str) -> dict[str, str]:
    """Language → the text in it, for a script that chooses by itself."""
    return {code: texts.get(text, text) for code, texts in TEXTS.items()}


def best_match(tag: str | None) -> str:
    """The nearest of our languages to a browser's tag such as `zh-TW` or `de-CH`."""
    lowered = (tag or "").lower().replace("_", "-")
    if lowered.startswith(TRADITIONAL):
        return "zh-Hant"
    return "zh-Hans" if lowered.startswith("zh") else "en"
