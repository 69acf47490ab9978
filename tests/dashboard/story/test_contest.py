"""Which of several runs is better, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dashboard.data.comparison import Contestant
from dashboard.data.reader import RunReader
from dashboard.story.contest import contest
from dashboard.story.wording import short
from dashboard.text import language
from examples.fake_run.run import PROMPTS, FakeRun
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample

Change = dict[str, Callable[[int], float]]
"""Loss → what to add, given the number of the prompt."""


@pytest.fixture
def demo(states: dict[str, FakeRun]) -> Contestant:
    run = states["finished"].run
    reader = RunReader(run, run.read_record().run_id)
    best = reader.best()
    assert best
    return Contestant(
        "demo",
        reader.known_settings,
        reader.descriptions,
        best,
        references=dict.fromkeys(PROMPTS, "x"),
        evaluated=reader.result(best.step),
        base=reader.result(0),
    )


def other(demo: Contestant, change: Change, name: str = "live") -> Contestant:
    """A run whose pictures score so much more."""
    assert demo.evaluated
    order = list(dict.fromkeys(sample.prompt_id for sample in demo.evaluated.samples))

    def changed(sample: Sample) -> Sample:
        more = {loss: (sample.metrics[loss] or 0) + add(order.index(sample.prompt_id)) for loss, add in change.items()}
        return sample.model_copy(update={"metrics": {**sample.metrics, **more}})

    return replace(demo, name=name, evaluated=with_samples(demo, *map(changed, demo.evaluated.samples)))


def with_samples(one: Contestant, *samples: Sample) -> EvaluationResult:
    assert one.evaluated
    return one.evaluated.model_copy(update={"samples": samples})


def surely(more: float) -> Callable[[int], float]:
    return lambda prompt: more + 0.001 * (prompt % 3)


def by_turns(more: float) -> Callable[[int], float]:
    return lambda prompt: more if prompt % 2 else -more


def test_a_sentence_says_what_each_run_is_better_on(demo: Contestant) -> None:
    live = other(demo, {"visual_loss": surely(0.2), "fashion_clip_loss": by_turns(0.02), "color_loss": by_turns(0.02)})
    said = contest([demo, live], "demo")
    assert demo.best
    assert (said.headline, said.winner) == (f"demo wins with step {demo.best.step}", "demo")
    assert said.sentences[0].startswith("demo beats live on look; garment and colour: no clear difference.")
    assert said.sentences[0].endswith("All together, demo is better on 8 of 8 prompts.")
    assert said.left_out == ""


def test_the_better_run_comes_first_whichever_is_pinned(demo: Contestant) -> None:
    live = other(demo, {"visual_loss": surely(0.2), "fashion_clip_loss": surely(0.1), "color_loss": surely(-0.05)})
    ours, theirs = contest([demo, live], "demo"), contest([live, demo], "live")
    assert ours.sentences == theirs.sentences
    assert ours.sentences[0].startswith("demo beats live on look and garment; live beats demo on colour.")
    assert ours.winner == theirs.winner == "demo"


def test_without_a_clear_difference_nobody_wins(demo: Contestant) -> None:
    live = other(demo, dict.fromkeys(("visual_loss", "fashion_clip_loss", "color_loss"), by_turns(0.1)))
    said = contest([demo, live], "demo")
    assert (said.headline, said.winner) == ("No clear winner", "")
    assert said.sentences[0].startswith("demo and live: no clear difference on look, garment and colour.")


def test_only_shared_prompts_count_and_the_others_are_named_in_one_line(demo: Contestant) -> None:
    live = other(demo, {"visual_loss": surely(0.2)})
    assert live.evaluated
    pairs = list(PROMPTS)
    kept = [sample for sample in live.evaluated.samples if sample.prompt_id not in pairs[:5]]
    shorter = replace(live, evaluated=with_samples(live, *kept), references={**live.references, pairs[5]: "another"})
    said = contest([demo, shorter], "demo")
    assert said.sentences[0].endswith("on 2 of 2 prompts.")
    named = "; ".join(short(PROMPTS[pair]) for pair in pairs[:3])
    assert said.left_out == f"Not counted, because not every run drew them alike: 6 prompts ({named}; …)."


def test_of_three_runs_one_wins_only_if_it_beats_both(demo: Contestant) -> None:
    worse = other(demo, {"visual_loss": surely(0.2)})
    equal = other(demo, {"visual_loss": by_turns(0.1)}, "equal")
    assert contest([demo, worse, other(demo, {"visual_loss": surely(0.3)}, "third")], "live").winner == "demo"
    said = contest([demo, worse, equal], "demo")
    assert (said.headline, len(said.sentences)) == ("No clear winner", 2)


def test_a_metric_that_another_model_scored_decides_nothing(demo: Contestant) -> None:
    live = other(demo, {"visual_loss": surely(0.2)})
    assert live.evaluated
    encoders = {**live.evaluated.encoders, "visual_loss": {"model": "another"}}
    said = contest([demo, replace(live, evaluated=live.evaluated.model_copy(update={"encoders": encoders}))], "demo")
    assert said.winner == ""
    assert "look: not scored alike" in said.sentences[0]


def test_a_winner_that_may_not_be_shipped_is_no_recommendation(demo: Contestant) -> None:
    assert demo.best
    flagged = replace(demo, best=demo.best.model_copy(update={"flagged": True}))
    said = contest([flagged, other(demo, {"visual_loss": surely(0.2)})], "demo")
    assert said.sentences[-1] == "No snapshot of demo can be recommended all the same."


def test_a_file_that_is_no_longer_what_was_evaluated_is_named(demo: Contestant) -> None:
    changed, gone = replace(demo, file="changed"), replace(other(demo, {"visual_loss": surely(0.2)}), file="gone")
    assert changed.best
    assert gone.best
    assert contest([changed, gone], "demo").sentences[-2:] == (
        f"The file of demo, step {changed.best.step}, has changed since its evaluation.",
        f"The file of live, step {gone.best.step}, is missing.",
    )


def test_a_run_without_a_best_snapshot_is_named(demo: Contestant) -> None:
    said = contest([demo, replace(demo, name="new", best=None, evaluated=None)], "demo")
    assert (said.headline, said.sentences) == ("These runs cannot be compared", ("new has no best snapshot yet.",))


def test_the_sentence_is_said_in_the_viewers_language(demo: Contestant) -> None:
    try:
        language.use("zh-Hans")
        assert "demo 在" in contest([demo, other(demo, {"visual_loss": surely(0.2)})], "demo").sentences[0]
    finally:
        language.use("en")
