"""A vision-language model as judge: read by the real loading code, off by default, a sentence where it is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from shared.config.loading import parse_config
from shared.errors import ModelError
from tasks.text_to_image.encoders.judge import ASKED, load_judge
from tasks.text_to_image.evaluation.scorer import load_scorer
from tasks.text_to_image.metrics import descriptions, metrics_of
from tasks.text_to_image.metrics.judge import QUESTIONS
from tasks.text_to_image.scoring.metric_input import MetricInput
from tests.tiny_judge import WORDS, write_judge

PICTURES = [Image.new("RGB", (40, 30), color) for color in ("red", "white")]
ASK = "Is it red ?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judge(tmp_path_factory.mktemp("judge"))


def test_its_sureness_is_read_from_the_logits_of_yes_and_no(folder: Path) -> None:
    judge = load_judge(str(folder))
    found = [judge.sureness(picture, "a red dress", ASK) for picture in PICTURES]
    assert found == [judge.sureness(picture, "a red dress", ASK) for picture in PICTURES], "nothing is drawn by lot"
    assert found[0] != found[1]
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    text = "<image> " + ASKED.format(prompt="a red dress", question=ASK) + " "
    logits = model(**processor(text=[text], images=[PICTURES[0]], return_tensors="pt")).logits[0, -1].detach().double()
    yes, no = (logits[[WORDS.index(word), WORDS.index(word.title())]].exp().sum() for word in ("yes", "no"))
    assert found[0] == pytest.approx(float(yes / (yes + no)))
    assert judge.record.digest


def test_its_score_is_the_mean_over_the_checklist(folder: Path) -> None:
    prompts = ["a red dress", "a dress"]
    given = MetricInput([], PICTURES, prompts)
    scores = {
        questions: load_scorer("pocket", metrics=("judge",), judge=str(folder), judge_questions=questions)
        .score_without_references(given)
        .rows
        for questions in ((), (ASK,), ("Is the picture red ?",), (ASK, "Is the picture red ?"))
    }
    one, other, both = ([row["judge_score"] for row in rows] for questions, rows in scores.items() if questions)
    assert both == pytest.approx([(a + b) / 2 for a, b in zip(one, other, strict=True)])
    assert len(QUESTIONS) == 6
    assert all(0 < (row["judge_score"] or 0) < 1 for row in scores[()])


def test_a_run_has_none_unless_it_names_one() -> None:
    plain = parse_config({"data": {"path": "p"}})
    judged = parse_config({"data": {"path": "p"}, "evaluation": {"judge": "someone/a-model"}})
    assert "judge" not in metrics_of(plain)
    assert "judge" in metrics_of(judged)
    (column,) = [column for column in descriptions(judged).columns if column.name == "judge_score"]
    assert (column.needs_votes, column.everywhere, column.role) == (True, True, "loss")
    assert "judge_score" not in descriptions().header


def test_a_judge_that_cannot_be_had_leaves_its_column_empty_with_the_cure(tmp_path: Path) -> None:
    scorer = load_scorer("pocket", metrics=("judge",), judge=str(tmp_path / "nowhere"))
    scores = scorer.score_without_references(MetricInput([], PICTURES, ["a", "b"]))
    assert [row["judge_score"] for row in scores.rows] == [None, None]
    assert "is not a folder" in scores.missing["judge_score"]


def test_a_folder_that_is_no_judge_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no model"):
        load_judge(str(tmp_path))
    broken = write_judge(tmp_path / "broken")
    (broken / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ModelError, match="cannot be loaded") as raised:
        load_judge(str(broken))
    assert raised.value.hint.startswith("name a vision-language model")
    mute = write_judge(
        tmp_path / "mute", tuple(word if word.lower() not in ("yes", "no") else f"{word}x" for word in WORDS)
    )
    with pytest.raises(ModelError, match="has no token for yes"):
        load_judge(str(mute))
    assert torch.is_inference_mode_enabled() is False
