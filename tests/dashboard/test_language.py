from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tasks
from dashboard import charts
from dashboard.charts import quality, system, training
from dashboard.components import request_status, snapshot_details
from dashboard.data import drawings
from dashboard.panels import curves, logs
from dashboard.panels import system as system_page
from dashboard.server import page
from dashboard.text import formatting, language, setting_words
from dashboard.text.language import TEXTS, best_match, say
from evaluator import selection
from evaluator.results_table import REFERENCE
from shared.config.loading import parse_config
from shared.config.path_settings import NO_PICTURES
from shared.followers.alerts import SENTENCES
from shared.run_folder.metric_descriptions import Words
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.process_status import FINAL_STATES
from shared.statistics import signs
from shared.sweeps import words as sweep_words
from tasks.image_classification.evaluation.descriptions import descriptions as of_classes
from tasks.image_classification.evaluation.exhibits import exhibits as exhibits_of_classes
from tasks.language_model.evaluation.descriptions import descriptions as of_language
from tasks.language_model.evaluation.exhibits import exhibits as exhibits_of_language
from tasks.text_to_image.metrics import descriptions
from tasks.text_to_image.profiles import PROFILES
from tests.new_metric import SHIPPED

DASHBOARD = Path(charts.__file__).parents[1]
EVALUATOR = (*Path(selection.__file__).parent.rglob("*.py"), Path(signs.__file__), Path(sweep_words.__file__))
CHINESE = ("zh-Hans", "zh-Hant")
DESCRIBED = [
    descriptions(
        parse_config(
            {
                "data": {"path": "p", "class_word": "dress"},
                "evaluation": {"prompts": "p.txt", "profile": profile, "probes": 2, "judge": "j"},
            }
        )
    )
    for profile in PROFILES
]
DESCRIBED += [
    descriptions(parse_config({"data": data, "evaluation": {"prompts": "p.txt"}}))
    for data in ({"path": NO_PICTURES}, {"path": "x", "num_validation": 0})
]
DESCRIBED.append(descriptions(parse_config({"data": {"path": "pairs", "sources": "files"}})))
SHOWN = [column for one in (*DESCRIBED, OLDER_METRICS) for column in (*one.compared, *one.charted)]
POINTERS = [column for one in DESCRIBED for column in one.pointers]


def of_other_tasks() -> Iterator[str]:
    """What they measure, how they call it, and what they show beside numbers."""
    for task, describe in (("image_classification", of_classes), ("language_model", of_language)):
        own = {"syntax": "python"} if task == "language_model" else {}
        tree = {"run": {"task": task}, "data": {"path": "p"}, task: own}
        found = describe(parse_config(tree, settings_of=tasks.settings))
        yield from map(str, found.words.model_dump().values())
        for column in (column for metric in found.metrics for column in metric.columns):
            yield from (column.title, column.topic, column.meaning)
    classes = np.array([[0.9, 0.1], [0.8, 0.2]])
    shown, _ = exhibits_of_classes(("a", "b"), ("x", "y"), np.array([0, 1]), classes)
    for one in [*shown, *exhibits_of_language(["x"], ["q"], ["e"], ["a"], {"x": ""})]:
        yield from (one.title, one.note)
        if one.table:
            yield from (one.table.of_rows, one.table.of_columns)
            yield from one.table.columns if one.table.shading != "matrix" else ()


OF_OTHER_TASKS = {text for text in of_other_tasks() if text}
LOOKED_UP = {
    *OF_OTHER_TASKS,
    *quality.ANCHOR_NAMES.values(),
    *training.LANES,
    *training.GPU_MEMORY,
    *system.PROGRAMS,
    *system_page.OVER.values(),
    *logs.LEVELS.values(),
    *logs.STARTS.values(),
    *curves.X_NAMES.values(),
    *curves.OPTIONS.values(),
    *request_status.NAMES.values(),
    "gap",
    page.HINT,
    *Words().model_dump().values(),
    REFERENCE,
    *(text for column in SHOWN if (sign := column.sign) for text in (sign.name, sign.evidence, sign.unknown)),
    *(column.guard.fallen for column in SHOWN if column.guard),
    *(column.title for column in (*SHOWN, *POINTERS)),
    *(column.topic for column in SHOWN),
    *(column.meaning for column in SHOWN),
    *request_status.DONE.values(),
    request_status.DRAWN,
    *drawings.SHEETS.values(),
    *snapshot_details.FACTS.values(),
    *setting_words.WORDS.values(),
    *setting_words.SWITCHES.values(),
    *(text for kind, text in SENTENCES.items() if kind != "notice"),  # the program's own words
    *FINAL_STATES,
    "requested",
    "seen",
    "saved",
    "stopped",
}


def texts_of(*, shipped: bool) -> set[str]:
    """Every text of the metrics that come with Darkroom, or of those that somebody has added."""
    metrics = [metric for one in DESCRIBED for metric in one.metrics if (metric.name in SHIPPED) == shipped]
    columns = [column for metric in metrics for column in metric.columns]
    of_overfitting = [column.sign for column in columns if column.sign]
    said = {text for sign in of_overfitting for text in (sign.name, sign.evidence, sign.unknown)}
    return said | {text for column in columns for text in (column.title, column.topic, column.meaning)}


def said() -> Iterator[str]:
    """Every text that the page says, and every sentence of the evaluator's that it says again."""
    yield from texts_in(DASHBOARD.rglob("*.py"), "say")
    yield from texts_in(EVALUATOR, "phrase", "joined")


def texts_in(paths: Iterable[Path], *names: str) -> Iterator[str]:
    """First arguments of calls of these functions."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield from [str(node.args[0].value)] if isinstance(node.args[0], ast.Constant) else []


@pytest.mark.parametrize("code", CHINESE)
def test_everything_the_page_says_is_translated(code: str) -> None:
    may_stay_english = texts_of(shipped=False) - texts_of(shipped=True)
    assert {*said(), *LOOKED_UP} - may_stay_english - TEXTS[code].keys() == set()


@pytest.mark.parametrize("code", CHINESE)
def test_nothing_is_translated_that_is_not_said(code: str) -> None:
    states = {"starting", "preparing", "training", "paused", "evaluating", "idle", "draining", "saving", "serving"}
    spelled = {"allocated", "reserved", "resident", "device, all processes"}
    assert TEXTS[code].keys() - {*said(), *LOOKED_UP, *states, *spelled} == set()


@pytest.mark.parametrize("code", CHINESE)
def test_a_translation_fills_the_same_places(code: str) -> None:
    for text, translated in TEXTS[code].items():
        assert sorted(re.findall(r"{[^}]+}", text)) == sorted(re.findall(r"{[^}]+}", translated)), text


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("zh-CN", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("zh-TW", "zh-Hant"),
        ("zh_HK", "zh-Hant"),
        ("de-CH", "en"),
        (None, "en"),
    ],
)
def test_the_browsers_language_is_matched(tag: str | None, expected: str) -> None:
    assert best_match(tag) == expected


def test_where_epochs_are_counted_no_text_speaks_of_steps() -> None:
    of_a_trainer = {*setting_words.WORDS.values(), "{number} steps/s", "Memory, estimated before the first step"}
    try:
        for code, mark in (("en", r"(?<!{)\b[Ss]teps?\b(?!})"), *((code, language.STEP) for code in CHINESE)):
            language.use(code)
            with language.counting("epoch"):
                told = {text: say(text) for text in TEXTS["zh-Hans"].keys() - of_a_trainer}
                kept = {setting_words.setting_words(key) for key in setting_words.WORDS}
            assert not [text for text, words in told.items() if re.search(mark, words)]
            assert kept == {say(text) for text in setting_words.WORDS.values()}, "settings keep their names"
    finally:
        language.use("en")


def test_say_speaks_the_language_in_use() -> None:
    try:
        language.use("zh-Hant")
        assert say("Keep training") == "繼續訓練"
        assert formatting.duration(65) == "1 分 05 秒"
        language.use("xx")
        assert say("Keep training") == "Keep training"
    finally:
        language.use("en")
