"""metrics.csv and best.json of an invented run."""

from __future__ import annotations

from examples.fake_run.evaluations import publish_evaluation
from examples.fake_run.metrics_row import interval_of, metrics_row, number_of
from examples.fake_run.run import PROMPTS, FakeRun
from shared.run_folder.records.best import Advice, Best, Confirmation, Measured, Signal
from shared.run_folder.records.evaluation_result import Anchors, EvaluationResult
from shared.run_folder.run_dir import step_name, steps_in
from shared.run_folder.tables import Value, write_rows

NUM_UNSEEN = 12


def rebuild_tables(fake: FakeRun) -> None:
    """metrics.csv and best.json from the published results, as the evaluator does."""
    results = [fake.run.read_result(step) for step in sorted(steps_in(fake.run.evaluations))]
    evaluated = [result for result in results if result]
    base = next((result for result in evaluated if result.step == 0), None)
    spread = 0.03 if fake.talent else 0.3
    rows = [metrics_row(result, base, fake.descriptions, spread) | signs(fake, result) for result in evaluated]
    write_rows(fake.run.metrics_csv, fake.descriptions.header, rows)
    candidates = [row for row in rows if row["step"] and row["composite"] is not None]
    if candidates:
        write_best(fake, min(candidates, key=lambda row: float(row["composite"] or 0)), len(candidates))


def write_best(fake: FakeRun, row: dict[str, Value], num_evaluated: int) -> None:
    """best.json for the row with the lowest composite."""
    step = int(row["step"] or 0)
    composite = interval_of(row, "composite", "composite")
    better = composite is not None and composite.high < 0
    compared = [column.name for column in fake.descriptions.compared]
    best = Best(
        step=step,
        snapshot=f"snapshots/{step_name(step)}",
        reason=f"Lowest composite of {num_evaluated} evaluated snapshots; every loss is below step 0.",
        better_than_base=better,
        composite=composite,
        metrics={name: number_of(row, name) for name in compared},
        deltas={name: found for name in compared if (found := interval_of(row, name, f"{name}_delta"))},
        num_evaluated=num_evaluated,
    )
    best.model_copy(update=further_words(fake, step)).write(fake.run.best)


def signs(fake: FakeRun, result: EvaluationResult) -> dict[str, Value]:
    """What tells of overfitting beside the losses; late snapshots show two signs."""
    if result.status == "failed":
        return {}
    t = result.step / fake.steps
    charted = fake.descriptions.charted
    return {
        **{column.name: 1 - 0.3 * t if column.direction == "higher" else 0.3 * t for column in charted},
        "val_loss": fake.validation_row(result.step)["held_out_loss"],
        "gap": fake.validation_row(result.step)["gap"],
        "signals": " ".join(["gap", *fake.sign_names()[-1:]]) if t > 0.9 else "",
    }


def further_words(fake: FakeRun, step: int) -> dict[str, object]:
    """The rest of the verdict: the ends of the scale, signs of overfitting, what the stop rule makes of them."""
    latest = max(steps_in(fake.run.evaluations))
    late, skill = latest > 0.8 * fake.steps, fake.skill(step)
    losses = {column.name: base for column, base in fake.base_values() if column.role == "loss"}
    unknown, *quiet = fake.sign_names()
    spoken = f"the remaining steps will hardly improve on step {step}, and the gap grows"
    return {
        "anchors": {name: Anchors(step_0=base, shuffled=1.1 * base, real=0.3 * base) for name, base in losses.items()},
        "skill": {name: Measured(value=skill, low=skill - 0.1, high=skill + 0.1) for name in losses},
        "latest_step": latest,
        "latest_signals": (
            Signal(name="gap", raised=late, evidence=f"the gap at step {latest} is twice that of step {step}"),
            Signal(name=unknown, raised=None, evidence="it could not be computed"),
            *(Signal(name=name, raised=False, evidence="it is as it should be") for name in quiet),
        ),
        "advice": Advice(action="advise", reason=spoken) if late else Advice(action="continue"),
    }


def confirm(fake: FakeRun) -> None:
    """Evaluate the best three again, as at the end of a run; the choice stands."""
    best = fake.run.read_best()
    assert best, "there is a snapshot to confirm"
    others = [step for step in steps_in(fake.run.snapshots) if fake.skill(step) and step != best.step]
    finalists = tuple(sorted([best.step, *sorted(others, key=fake.skill)[-2:]]))
    fake.run.confirmations.mkdir(exist_ok=True)
    for step in (0, *finalists):
        publish_evaluation(fake, step, kind="confirmations")
    found = Confirmation(
        step=best.step,
        finalists=finalists,
        agrees=True,
        better_than_base=best.better_than_base,
        composite=best.composite,
        num_prompts=len(PROMPTS) + NUM_UNSEEN,
        num_unseen=NUM_UNSEEN,
        num_pictures=2 * len(PROMPTS),
        reason="The final confirms the choice.",
    )
    first = next(iter(best.skill), "")
    changes = {
        "finalists": finalists,
        "confirmation": found,
        "indistinguishable": finalists,
        "signals": (Signal(name="gap", raised=False, evidence="the held-out loss is at its lowest"),),
        "skill": {**best.skill, first: Measured(value=-0.3, low=-0.6, high=0.0)},
    }
    best.model_copy(update=changes).write(fake.run.best)
