"""`metrics.json`: what the numbers of a run's metrics mean. Who writes, ranks or shows them names no metric itself.

A metric fills columns, and each column says what it is for (`Role`), which direction is better, and how it is called.
The evaluator publishes the descriptions before the first result; the header of `metrics.csv` follows from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.run_folder.records.record import Record

Direction = Literal["lower", "higher", "none"]
"""Which numbers are better."""
Role = Literal["loss", "guard", "compared", "overfitting", "shown", "listed", "recorded"]
"""What a column is for.

`loss`: compared with the base model and weighed in the composite. `guard`: compared; a snapshot that surely falls below
it is passed over. `compared`: compared, without a weight. `overfitting`: evidence of a sign of overfitting. `shown`: a
chart of its values. `listed`: in `metrics.csv` only. `recorded`: in the results of each picture only.
"""
COMPARED_ROLES = ("loss", "guard", "compared")
CHARTED_ROLES = ("overfitting", "shown")
BEFORE_LOSSES, AFTER_LOSSES = ("step", "epoch", "total_loss"), ("learning_rate", "timestamp", "status", "reason")
COMPOSITE = ("composite", "composite_low", "composite_high")
LAST = ("val_loss", "gap", "signals", "sure", "evaluation_seconds")
"""The columns of `metrics.csv` that are no metric's."""


class Ratio(BaseModel):
    """How a column follows from two others: the mean of one over the mean of the other, over prompts."""

    model_config = ConfigDict(frozen=True)

    of: str
    over: str
    at_step_0: bool = Field(default=False, description="`over` is that of the base model's pictures.")


class Guard(BaseModel):
    """When a snapshot is passed over: its number is surely lower than the base model's and the real pictures' are."""

    model_config = ConfigDict(frozen=True)

    real: str = Field(default="", description="Column of what the real pictures themselves score; may be empty.")
    shuffled: str = Field(
        default="",
        description="Column of what the real pictures score in another's place. The difference to `real` is then the "
        "guard's unit, and without it there is no guard. For a prompt without a real picture, step 0's stands in.",
    )
    fallen: str = Field(description="What a snapshot does that falls below it, after `it`.")


class Sign(BaseModel):
    """A sign of overfitting: the whole interval of the column lies beyond a limit, on its worse side."""

    model_config = ConfigDict(frozen=True)

    name: str
    limit: float
    low: float | None = Field(
        default=None, description="Where too little is a sign as well: the limit below. `limit` is then that above."
    )
    beside_base: bool = Field(
        default=False, description="What step 0 shows too, give or take a tenth, is no sign: the limits give way."
    )
    each: bool = Field(
        default=False,
        description="Each picture's number is a verdict, 1 or 0, that allows for chance: the share of pictures is "
        "compared with the limit, without an interval.",
    )
    evidence: str = Field(description="In words, with `{value}`, `{limit}` and `{low}` filled in.")
    unknown: str = Field(description="Why there is no number.")


class Column(BaseModel):
    """One number of a metric."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    meaning: str = Field(description="One line for people: what it measures, or how to read it.")
    direction: Direction
    role: Role
    label: str = Field(default="", description="How people call it; the name in words when absent.")
    aspect: str = Field(
        default="",
        description="What it compares, in a word or two for a sentence, `look`: better in this. The title when absent.",
    )
    unit: str = ""
    decimals: int = Field(default=3, ge=0, description="Worth showing of a difference.")
    span: float | None = Field(
        default=None, gt=0, description="How far its highest possible number is from the lowest; None: not limited."
    )
    weight: float = Field(default=0.0, ge=0, description="Of a `loss` in the composite; the weights in use sum to 1.")
    without_reference: bool = Field(
        default=False,
        description="A `loss` that counts for the prompts that have no reference, and only for them, in place of those "
        "that compare with one.",
    )
    everywhere: bool = Field(
        default=False, description="A `loss` that counts for every prompt, whether it has a reference or not."
    )
    needs_votes: bool = Field(
        default=False,
        description="A `loss` that is only compared until people's votes surely agree with it.",
    )
    leading: bool = Field(default=False, description="Stands before the learning rate in `metrics.csv`.")
    ratio: Ratio | None = Field(default=None, description="None: the mean over prompts.")
    guard: Guard | None = None
    sign: Sign | None = None
    of_probes: bool = Field(
        default=False, description="Measured on the pictures of probe prompts, `EvaluationResult.probes`."
    )
    price_limit: float | None = Field(
        default=None,
        description="What a snapshot costs beside what it gains, and is shown against the composite: the number at "
        "which nothing is left of what the base model drew. None: it is no price.",
    )
    of_whole: bool = Field(
        default=False,
        description="No mean over samples: a number of the whole evaluation, `EvaluationResult.figures`.",
    )
    points_to: Literal["", "training"] = Field(
        default="",
        description="The metric gives the position of a training picture; published is `Sample.lookalikes`, its id "
        "and what it looks like.",
    )

    @model_validator(mode="after")
    def _says_what_its_role_needs(self) -> Self:
        needed = {"loss": self.weight > 0, "guard": self.guard is not None, "overfitting": self.sign is not None}
        for role, is_given in needed.items():
            if is_given != (self.role == role):
                raise ValueError(f"{self.name}: role {self.role} does not agree with its weight, guard and sign")
        is_two_sided = self.sign is not None and self.sign.low is not None
        if self.role in ("loss", "guard", "overfitting") and (self.direction == "none") != is_two_sided:
            raise ValueError(f"{self.name}: a {self.role} needs a direction, or a limit on either side")
        if self.role in COMPARED_ROLES and self.ratio:
            raise ValueError(f"{self.name}: a ratio over all prompts cannot be compared prompt by prompt")
        if self.of_whole and self.role not in ("shown", "listed"):
            raise ValueError(f"{self.name}: a number of the whole cannot be compared sample by sample")
        if self.points_to and self.role != "recorded":
            raise ValueError(f"{self.name}: a column that points to a picture is no number, so its role is recorded")
        return self

    @property
    def title(self) -> str:
        """For people."""
        return self.label or self.name.replace("_", " ")

    @property
    def topic(self) -> str:
        """For sentences."""
        return self.aspect or self.title

    def spelled(self, value: float, *, is_change: bool = False) -> str:
        """A number or a difference with the digits that are worth showing."""
        return f"{value:{'+' if is_change else ''}.{self.decimals}f}"

    def spelled_interval(self, low: float, high: float) -> str:
        """The interval of a difference, or that it says nothing."""
        if not self.is_told(low, high):
            return "unknown with so few samples"
        return " to ".join(self.spelled(end, is_change=True) for end in (low, high))

    def is_told(self, low: float, high: float) -> bool:
        """Whether the interval of a difference says anything. With two or three prompts it can be wider than all that
        the metric can be."""
        return self.span is None or high - low <= self.span or not low <= 0 <= high

    def counts_for(self, *, has_reference: bool) -> bool:
        """Of a `loss`: whether it is weighed for prompts that have a reference, or for those that have none."""
        return self.everywhere or self.without_reference != has_reference

    @property
    def worsening(self) -> int:
        """1: a higher number is worse, −1: a lower one, 0: neither."""
        return {"lower": 1, "higher": -1, "none": 0}[self.direction]


class MetricDescription(BaseModel):
    """One metric."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    needs: tuple[str, ...] = Field(
        default=(), description="`references`, `prompts`, `seeds`, `base`, `training`, `sources`."
    )
    columns: tuple[Column, ...]


class Words(BaseModel):
    """What the sentences of a verdict call things."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str = Field(default="prompt", description="What differences are averaged by: `Sample.prompt`.")
    pair: str = Field(default="held-out pair", description="What is compared where all have the same prompt.")
    sample: str = Field(default="picture", description="What is evaluated: one `Sample`.")
    base: str = Field(default="the base model", description="Step 0.")


class MetricDescriptions(Record):
    """`metrics.json`: every metric of a run, in the order of the columns."""

    metrics: tuple[MetricDescription, ...] = ()
    words: Words = Words()

    @model_validator(mode="after")
    def _names_each_column_once(self) -> Self:
        columns = {column.name for column in self.columns}
        names = Counter([*self.header, *(column.name for column in self.of_role("recorded"))])
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"two columns are called {', '.join(twice)}")
        named = {name for column in self.columns if column.ratio for name in (column.ratio.of, column.ratio.over)}
        guards = [column.guard for column in self.columns if column.guard]
        named |= {name for guard in guards for name in (guard.real, guard.shuffled) if name}
        if unknown := sorted(named - columns):
            raise ValueError(f"no metric fills {', '.join(unknown)}")
        return self

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of all metrics."""
        return tuple(column for metric in self.metrics for column in metric.columns)

    @property
    def of_samples(self) -> tuple[Column, ...]:
        """Measured on the pictures that the composite is of."""
        return tuple(column for column in self.columns if not column.of_probes)

    @property
    def of_probes(self) -> tuple[Column, ...]:
        """Measured on the pictures of probe prompts."""
        return tuple(column for column in self.columns if column.of_probes)

    @property
    def prices(self) -> tuple[Column, ...]:
        """What is shown against the composite."""
        return tuple(column for column in self.columns if column.price_limit is not None)

    @property
    def compared(self) -> tuple[Column, ...]:
        """Compared with the base model, prompt by prompt."""
        return self.of_role(*COMPARED_ROLES)

    @property
    def compared_without_references(self) -> tuple[Column, ...]:
        """Those that a picture has whose prompt has no reference."""
        able = [metric for metric in self.metrics if set(metric.needs) <= {"prompts"}]
        return tuple(column for metric in able for column in metric.columns if column in self.compared)

    @property
    def losses(self) -> tuple[Column, ...]:
        """Weighed in the composite."""
        return self.of_role("loss")

    @property
    def weighable(self) -> tuple[Column, ...]:
        """Weighed in the composite, or fit to be."""
        return tuple(column for column in self.of_role("loss", "compared") if column.worsening)

    def weighed(self, weights: Mapping[str, float]) -> MetricDescriptions:
        """The same metrics with these weights; a column that is not named keeps its own, one of 0 is only compared.

        Raises:
            KeyError: a name that is not among `weighable`.
        """
        able = {column.name for column in self.weighable}
        if unknown := [name for name in weights if name not in able]:
            raise KeyError(", ".join(unknown))

        def changed(column: Column) -> Column:
            if column.name not in weights:
                return column
            weight = weights[column.name]
            return column.model_copy(update={"weight": weight, "role": "loss" if weight else "compared"})

        return self._with_columns(changed)

    def without(self, names: Iterable[str]) -> MetricDescriptions:
        """The same metrics, with these columns only listed: no difference, no weight, no guard."""
        left_out = frozenset(names)

        def changed(column: Column) -> Column:
            if column.name not in left_out:
                return column
            return column.model_copy(update={"role": "listed", "weight": 0.0, "guard": None})

        return self._with_columns(changed)

    def _with_columns(self, changed: Callable[[Column], Column]) -> MetricDescriptions:
        def changed_in(metric: MetricDescription) -> MetricDescription:
            return metric.model_copy(update={"columns": tuple(map(changed, metric.columns))})

        return self.model_copy(update={"metrics": tuple(map(changed_in, self.metrics))})

    @property
    def charted(self) -> tuple[Column, ...]:
        """Shown as they are, not as differences."""
        return self.of_role(*CHARTED_ROLES)

    @property
    def pointers(self) -> tuple[Column, ...]:
        """Those that point to a training picture which a sample resembles."""
        return tuple(column for column in self.columns if column.points_to)

    def of_role(self, *roles: Role) -> tuple[Column, ...]:
        """Columns of any of these roles, in order."""
        return tuple(column for column in self.columns if column.role in roles)

    @property
    def header(self) -> tuple[str, ...]:
        """The columns of `metrics.csv`."""
        leading = [column.name for column in self.columns if column.leading]
        values = [column.name for column in (*self.compared, *self.of_role("listed")) if not column.leading]
        differences = [f"{column.name}_{part}" for column in self.compared for part in ("delta", "low", "high")]
        skills = [f"{column.name}_skill" for column in self.losses]
        charted = [column.name for column in self.charted]
        charted += [f"{column.name}_{end}" for column in self.columns if column.of_whole for end in ("low", "high")]
        return (*BEFORE_LOSSES, *leading, *AFTER_LOSSES, *values, *differences, *COMPOSITE, *skills, *charted, *LAST)


def compared_in_any(descriptions: Iterable[MetricDescriptions]) -> tuple[Column, ...]:
    """The compared columns of several runs, each once, as the first run that has it describes it."""
    columns: dict[str, Column] = {}
    for one in descriptions:
        columns |= {column.name: column for column in one.compared if column.name not in columns}
    return tuple(columns.values())
