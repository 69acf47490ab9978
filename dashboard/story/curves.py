"""The charts of a run as documents: each with its figure, its name, and how long it is as good as new.

What the trainer reports and what the evaluator finds over the same axis, as a person wants to see it; the curves of
several runs; what was recorded of a machine.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from dashboard.charts.axis import X_KINDS, Look, XAxis, XKind, images_per_step, x_axis
from dashboard.charts.frontier import frontier_figure
from dashboard.charts.overlay import Run, overlay_figure
from dashboard.charts.parts import Figure, Part
from dashboard.charts.quality import quality_figure
from dashboard.charts.system import Axis, system_figure
from dashboard.charts.training import Events, training_figure
from dashboard.data import alert_texts
from dashboard.data.events import pauses, typical
from dashboard.data.reader import RunReader
from dashboard.data.versions import is_live
from dashboard.story.progress.awaited import Absent, from_evaluation, from_training
from dashboard.text.language import current, say

SPANS_PER_RUN = 30
SPANS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000]
OPTIONS = {"log-x": "log x", "log-y": "log y", "clip": "clip outliers", "anchors": "anchors"}
CHART_PIXELS, TYPICAL_STEPS = 600, 100
MIN_SECONDS, MAX_SECONDS, LOOK_SECONDS = 2.0, 30.0, 5.0
Window = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """What the browser draws."""

    figure: Figure | None
    """None where there is nothing to draw."""
    label: str = ""
    """What it shows, for screen readers."""
    seconds: float = MIN_SECONDS
    """In which its curves grow by a pixel: earlier it is not asked for again."""
    again: float | None = None
    """Seconds after which it is asked for though nothing of the run has changed; None: never."""
    absent: Absent | None = None
    """What is said in place of a figure; None: nothing is."""

    @property
    def height(self) -> int:
        """In pixels; 0 without a figure."""
        return self.figure["layout"]["height"] if self.figure else 0


def look_of(x: str | None, span: float | None, scales: Collection[str], reader: RunReader) -> Look:
    """How a person wants to see the curves, from what an address or a choice says; what it does not say is as usual."""
    usual = default_span(reader.config.train.max_train_steps)
    kinds: dict[str | None, XKind] = {kind: kind for kind in X_KINDS}
    return Look(
        kinds.get(x, "step"),
        "log-x" in scales,
        "log-y" in scales,
        "clip" in scales,
        "anchors" in scales,
        span if span and span >= 1 else usual,
    )


def default_span(max_train_steps: int) -> int:
    """A thirtieth of the run."""
    return min(SPANS, key=lambda span: abs(span - max(10, max_train_steps / SPANS_PER_RUN)))


def training_chart(reader: RunReader, look: Look, part: Part) -> Chart:
    """train.csv and validation.csv with the run's events."""
    train = reader.train()
    if train.empty:
        return _absent(from_training(reader, say("Waiting for the first step …")), part)
    events, last_step = events_of(reader), _axis_end(reader)
    version = ("training", part, len(train), len(reader.validation()), str(events), look, last_step, current())
    figure = reader.keep(
        version,
        lambda: training_figure(
            train,
            reader.validation(),
            events,
            axis_of(reader, look),
            look,
            last_step,
            part,
            of_pictures=reader.of_pictures,
        ),
    )
    label = say("{run}: training curves up to step {step}", run=reader.name, step=reader.last_step())
    return Chart(figure, label, drawing_seconds(reader))


def quality_chart(reader: RunReader, look: Look, part: Part) -> Chart:
    """metrics.csv as differences to the base model."""
    metrics, best = reader.metrics(), reader.best()
    if metrics.empty:
        return _absent(from_evaluation(reader, say("Waiting for the first evaluation …")), part)
    best_step, last_step = best.step if best and best.is_chosen else None, _axis_end(reader)
    placed = 0 if look.x == "step" else len(reader.train())
    version = ("quality", part, reader.metrics_version(), placed, best_step, look, last_step, current())
    figure = reader.keep(
        version,
        lambda: quality_figure(
            metrics,
            reader.descriptions,
            best_step,
            reader.missing(),
            axis_of(reader, look),
            look,
            last_step,
            reader.anchors(),
            part,
        ),
    )
    label = say("{run}: quality of each evaluated snapshot vs base model", run=reader.name)
    return Chart(figure, label, drawing_seconds(reader))


def frontier_chart(reader: RunReader) -> Chart:
    """The composite against what a LoRA costs; nothing where no price is measured."""
    prices, metrics, best = reader.descriptions.prices, reader.metrics(), reader.best()
    if not prices or metrics.empty:
        return Chart(None)
    best_step = best.step if best and best.is_chosen else None
    version = ("frontier", reader.metrics_version(), best_step, current())
    figure = reader.keep(version, lambda: frontier_figure(metrics, prices, best_step))
    return Chart(figure, say("{run}: composite of each snapshot against its price", run=reader.name))


def overlay_chart(readers: Sequence[RunReader], look: Look) -> Chart:
    """The same curves of several runs; of the others nobody tells the browser what has changed."""
    look = replace(look, anchors=False)
    runs = [
        Run(one.name, one.train(), one.validation(), one.metrics(), axis_of(one, look), one.descriptions)
        for one in readers
    ]
    label = say("Curves of {runs}", runs=", ".join(one.name for one in readers))
    again = LOOK_SECONDS if any(is_live(one.run) for one in readers[1:]) else None
    lengths = [(one.run_id, len(one.train()), len(one.validation()), one.metrics_version()) for one in readers]
    figure = readers[0].keep(("overlay", *lengths, look, current()), lambda: overlay_figure(runs, look))
    return Chart(figure, label, LOOK_SECONDS, again)


def system_chart(reader: RunReader, machine: int, over: Axis) -> Chart:
    """What was recorded of a machine, the first of which is 1."""
    tables = reader.system()
    if not 1 <= machine <= len(tables):
        return Chart(None)
    table = tables[machine - 1]
    version = ("system", machine, over, len(table), float(table["timestamp"].iloc[-1]), current())
    figure = reader.keep(version, lambda: system_figure(table, reader.train(), over))
    label = say("{run}: memory, load, temperature and power of machine {number}", run=reader.name, number=machine)
    return Chart(figure, label)


def _absent(absent: Absent, part: Part) -> Chart:
    """Told once, in place of what a person looks at first."""
    return Chart(None, again=LOOK_SECONDS if absent.awaited else None, absent=None if part == "further" else absent)


def drawing_seconds(reader: RunReader) -> float:
    """The time in which the curves grow by a pixel."""
    usual = typical(reader.train()["step_seconds"].tail(TYPICAL_STEPS).to_numpy())
    seconds = min(MAX_SECONDS, max(MIN_SECONDS, usual * reader.last_step() / CHART_PIXELS))
    return float(round(seconds))


def _axis_end(reader: RunReader) -> int:
    return axis_end(max(reader.last_step(), *reader.evaluated_steps(), 1), reader.config.train.max_train_steps)


def axis_end(last_step: int, max_train_steps: int) -> int:
    """A little past the last step, not past the last one planned: an axis that always grows is always drawn anew."""
    unit = 10 ** max(0, len(str(last_step)) - 2)
    return max(last_step, min(max_train_steps, -(-last_step // unit) * unit))


def axis_of(reader: RunReader, look: Look) -> XAxis:
    """The axis of a run."""
    train, settings = reader.train(), reader.config.train
    configured = settings.train_batch_size * settings.gradient_accumulation_steps
    return x_axis(train, look.x, look.log_x, images_per_step(train, configured), _resumes(reader))


def _resumes(reader: RunReader) -> dict[int, str]:
    """Where training went on after a pause."""
    train, stops = reader.train(), reader.stops()
    return reader.keep(("pauses", len(train), *stops, current()), lambda: pauses(train, stops))


def events_of(reader: RunReader) -> Events:
    """What happened beside training."""
    failed, best = reader.failures(), reader.best()
    stops = {step: say("stopped by {who}", who=who) for step, who in reader.stops().items()}
    changes = {
        change.step: f"{change.key}: {change.before} → {change.after}" for change in reader.run.read_record().changes
    }
    return Events(
        alerts=alert_texts.of_steps(reader),
        snapshots=reader.snapshot_steps(),
        evaluated=[step for step in reader.drawn_steps() if step not in failed],
        failed=failed,
        stops=stops,
        resumes={**_resumes(reader), **changes},
        best=best.step if best else None,
    )
