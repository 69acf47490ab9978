"""`run.py demo`: which config and which data a demo has."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import tasks
from run import app
from shared.config.loading import load_config
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("task", "family"), [(task, name) for task, one in tasks.DEMOS.items() for name in one.configs]
)
def test_every_demo_has_a_config_of_its_own_run(task: str, family: str) -> None:
    config = load_config(ROOT / tasks.demo(task, family)[0], None, tasks.settings)
    names = [
        load_config(ROOT / file, None, tasks.settings).run.name
        for one in tasks.DEMOS.values()
        for file in one.configs.values()
    ]
    assert names.count(config.run.name) == 1


def test_the_family_of_a_demo_says_which_embedded_model_learns() -> None:
    usual, flow = (load_config(ROOT / tasks.demo("kimono", name)[0], None, tasks.settings) for name in ("", "flow"))
    assert (usual.model.path, flow.model.path) == ("pocket", "pocket-flow")
    assert usual.data.path == flow.data.path


@pytest.mark.parametrize(
    ("words", "problem", "cure"),
    [
        (
            ["--family", "gan"],
            "--family is gan, which the demo kimono does not have",
            "give flow, or leave --family out",
        ),
        (["--task", "digits", "--family", "flow"], "which the demo digits does not have", "leave --family out"),
    ],
)
def test_a_family_that_a_demo_does_not_have_is_refused(words: list[str], problem: str, cure: str) -> None:
    done = CliRunner().invoke(app, ["demo", *words])
    assert done.exit_code == 2
    assert problem in done.output
    assert cure in done.output
