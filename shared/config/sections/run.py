"""`[run]`: where the run is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.config.resume_rule import Rule
from shared.config.sections.base import OrFalse, Section

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RUN_NAME_RULE = "may have the letters a to z, digits, '.', '_' and '-', 100 at most, and begins with a letter or digit"
TASK_NAME = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"


class RunConfig(Section):
    """Where the run is written."""

    name: Annotated[str | None, Rule.SESSION] = Field(
        default=None, description="Name of the run folder; the config file's stem when absent."
    )
    output_dir: Annotated[Path, Rule.SESSION] = Field(
        default=Path("runs"), description="Folder that holds all run folders."
    )
    task: Annotated[str, Rule.STATE] = Field(
        default="text_to_image",
        pattern=TASK_NAME,
        description="What is learnt: a task of Darkroom, such as `text_to_image`, or the Python package of a task "
        "of your own (docs/adding-a-task.md).",
    )
    preset: Annotated[str | None, Rule.SESSION] = Field(
        default=None, description="Hardware preset these settings began as, written by `init`; recorded, never applied."
    )
    preset_reason: Annotated[str | None, Rule.SESSION] = Field(
        default=None, description="Why `init` chose that preset; recorded as well."
    )
    webhook: Annotated[str | None, Rule.SESSION] = Field(
        default=None,
        exclude=True,  # whoever knows it can post there: it stays out of the run folder, its pages and its report
        pattern=r"^https?://\S+$",
        description="Address that run.py posts JSON to when the run ends, fails or first needs attention; Slack and "
        "Mattermost show its `text`.",
    )
    hang_seconds: Annotated[OrFalse[Annotated[float, Field(gt=0)]], Rule.SESSION] = Field(
        default=600.0,
        description="A trainer or evaluator that finishes no work for so long is ended and started again by run.py; "
        "`false`: never. The first step, an evaluation and a save may take six times as long, loading and downloading "
        "36 times, and anything ten times what it has taken in this run (docs/reliability.md).",
    )
    trackers: Annotated[tuple[str, ...], Rule.SESSION] = Field(
        default=(),
        description="Tools that get every number, picture and verdict during the run, and the best snapshot at its "
        "end, each from a process of its own: `tensorboard`, `mlflow`, `wandb`, `trackio`, `aim` (docs/trackers.md).",
    )
    project: Annotated[str, Rule.SESSION] = Field(
        default="darkroom",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,99}$",
        description="What trackers put the run in: a project or an experiment, as each calls it. Their own environment "
        "variables come first.",
    )
    skip_model_upload: Annotated[bool, Rule.SESSION] = Field(
        default=False, description="Trackers do not get the best snapshot, only numbers, pictures and the verdict."
    )
