"""The demo's examples are real functions, and its model is one that a run can begin from."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path

import pytest

import tasks
from shared.config.loading import load_config
from tasks.language_model.data.tokenizer import Tokenizer
from tasks.language_model.docstrings import functions, pretraining
from tasks.language_model.models import files, shapes
from tests.conftest import ROOT


def test_functions_have_a_sentence_and_a_call_each_of_them_once() -> None:
    found = functions.of_modules()
    assert len(found) > 1500
    assert len({one.doc for one in found}) == len(found)
    assert len({(one.module, one.call.partition("(")[0]) for one in found}) == len(found), "ids are distinct"
    fill = next(one for one in found if one.module == "textwrap" and one.call.startswith("fill("))
    assert fill.call == f"fill{inspect.signature(textwrap.fill)}"
    assert fill.doc == "Fill a single paragraph of text, returning a new string."
    for one in found[::20]:
        ast.parse(f"def f{one.call[one.call.index('(') :]}: pass")


def test_the_model_has_read_a_package_and_has_a_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "PACKAGES", ("PIL",))
    monkeypatch.setattr(pretraining, "STEPS", 1)
    pretraining.write(tmp_path)
    config = load_config(ROOT / tasks.demo("language")[0], [f"model.path={tmp_path}"], tasks.settings)
    found = files.find(config.model)
    assert 1e6 < shapes.read(found).num_parameters < 3e6
    tokenizer = Tokenizer(found.folder)
    text = 'def crop(box):\n    """Return a part."""\n'
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.end is not None
