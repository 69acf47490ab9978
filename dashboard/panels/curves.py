"""What the trainer reports beside what the evaluator finds, over the same steps."""

from __future__ import annotations

import streamlit as st

from dashboard import charts
from dashboard.components.figure import show_figure
from dashboard.panels import refreshed
from dashboard.reader import RunReader

SPANS_PER_RUN = 30


@refreshed(seconds=2.0)
def curves_panel(reader: RunReader) -> None:
    """Two figures with one step axis, and every evaluation that failed with its reason."""
    last_step = max(reader.last_step(), *reader.evaluated_steps(), 1)
    training, quality = st.columns(2, gap="medium")
    with training:
        show_training(reader, last_step)
    with quality:
        show_quality(reader, last_step)
    for step, reason in reader.failures().items():
        st.warning(f"Step {step} could not be judged: {reason}", icon=":material/warning:")


def show_training(reader: RunReader, last_step: int) -> None:
    """train.csv with the run's events."""
    train = reader.train()
    if train.empty:
        st.info("Waiting for the first step …", icon=":material/hourglass_empty:")
        return
    failed = reader.failures()
    events = charts.Events(
        snapshots=reader.snapshot_steps(),
        evaluated=[step for step in reader.evaluated_steps() if step not in failed],
        failed=failed,
        stops=reader.stops(),
    )
    span = max(10.0, reader.config.train.max_train_steps / SPANS_PER_RUN)
    figure = charts.training_figure(train, events, span, last_step)
    show_figure(figure, key="training_figure", group=reader.run_id, label=f"{reader.name} training")


def show_quality(reader: RunReader, last_step: int) -> None:
    """metrics.csv as differences to the base model."""
    metrics, best = reader.metrics(), reader.best()
    if metrics.empty:
        st.info("Waiting for the first evaluation …", icon=":material/hourglass_empty:")
        return
    figure = charts.quality_figure(metrics, best.step if best else None, reader.blanks(), last_step)
    show_figure(figure, key="quality_figure", group=reader.run_id, label=f"{reader.name} quality")
