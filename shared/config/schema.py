"""One run's settings: a frozen tree of pydantic models, a table of the TOML file each.

A task may have a table of its own, named like the task: `config_type` adds it to `Config`.
"""

from __future__ import annotations

import functools
from typing import Any, cast

from pydantic import create_model, model_validator
from pydantic.fields import FieldInfo

from shared.config.resume_rule import Rule
from shared.config.sections.base import Section, UncheckedSettings
from shared.config.sections.dashboard import DashboardConfig
from shared.config.sections.data import DataConfig
from shared.config.sections.evaluation import EvaluationConfig
from shared.config.sections.lora import LoraConfig
from shared.config.sections.model import POCKET, POCKET_FLOW, ModelConfig
from shared.config.sections.run import RUN_NAME, RUN_NAME_RULE, RunConfig
from shared.config.sections.stop import StopConfig
from shared.config.sections.train import ENDS, TrainConfig

__all__ = [
    "ENDS",
    "POCKET",
    "POCKET_FLOW",
    "RULES",
    "RUN_NAME",
    "RUN_NAME_RULE",
    "Config",
    "DashboardConfig",
    "DataConfig",
    "EvaluationConfig",
    "LoraConfig",
    "ModelConfig",
    "RunConfig",
    "StopConfig",
    "TrainConfig",
    "UncheckedSettings",
    "config_type",
    "known_keys",
    "own_table",
    "rules_of",
    "sections",
    "value_in",
]


class Config(Section):
    """A whole run."""

    run: RunConfig = RunConfig()
    model: ModelConfig = ModelConfig()
    data: DataConfig
    lora: LoraConfig = LoraConfig()
    train: TrainConfig = TrainConfig()
    stop: StopConfig = StopConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    dashboard: DashboardConfig = DashboardConfig()

    @property
    def encodes_captions_live(self) -> bool:
        """Whether captions are encoded in every step: their encoders learn, or their words change."""
        return self.lora.text_encoder or self.data.shuffle_tags or self.data.tag_dropout > 0

    @property
    def own(self) -> Section | None:
        """The settings of the run's task; None if it has none. Tasks read them by `loading.own_settings`."""
        table = own_table(self.run.task)
        return getattr(self, table) if table in type(self).model_fields.keys() - Config.model_fields.keys() else None

    def value(self, key: str) -> Any:
        """The value of a key path, such as `train.learning_rate`."""
        section, _, name = key.partition(".")
        return getattr(getattr(self, section), name)

    @model_validator(mode="after")
    def _prompts_come_from_held_out_pairs_or_a_file(self) -> Config:
        if self.data.num_validation == 0:
            if self.evaluation.prompts is None:
                raise ValueError(
                    "data.num_validation is 0, so evaluation.prompts must name a file of prompts of your own, by which "
                    "snapshots are evaluated"
                )
        elif self.evaluation.num_prompts > self.data.num_validation:
            raise ValueError(
                f"evaluation.num_prompts is {self.evaluation.num_prompts}, "
                f"must be at most data.num_validation ({self.data.num_validation})"
            )
        return self

    @model_validator(mode="after")
    def _patience_needs_held_out_losses(self) -> Config:
        if self.stop.validation_patience and not self.train.validation_steps:
            raise ValueError(
                f"stop.validation_patience is {self.stop.validation_patience}, and no held-out loss is measured: set "
                "train.validation_steps"
            )
        return self

    @model_validator(mode="after")
    def _swapped_blocks_and_fp8_need_checkpointing(self) -> Config:
        model, train = self.model, self.train
        settings = [
            *([f"model.blocks_to_swap is {model.blocks_to_swap}"] if model.blocks_to_swap else []),
            *(["model.quantization is fp8"] if model.quantization == "fp8" else []),
        ]
        problems = [
            *([] if train.gradient_checkpointing else ["needs train.gradient_checkpointing = true"]),
            *(["does not go with train.torch_compile"] if train.torch_compile else []),
        ]
        if model.blocks_to_swap and model.quantization not in ("none", "fp8"):
            settings = settings[:1]
            problems.append(
                f"does not go with model.quantization = '{model.quantization}', whose weights cannot travel"
            )
        if settings and problems:
            raise ValueError("; ".join(f"{setting}: it {', and '.join(problems)}" for setting in settings))
        return self

    @model_validator(mode="after")
    def _swapped_blocks_are_drawn_without_dora_and_compiling(self) -> Config:
        problems = [
            *(["evaluation.torch_compile"] if self.evaluation.torch_compile else []),
            *(["lora.use_dora, which looks at all weights when it is loaded"] if self.lora.use_dora else []),
        ]
        if self.evaluation.blocks_to_swap and problems:
            raise ValueError(
                f"evaluation.blocks_to_swap is {self.evaluation.blocks_to_swap}: it does not go with "
                + " and ".join(problems)
            )
        return self

    @model_validator(mode="after")
    def _one_trainer_takes_turns(self) -> Config:
        problems = [
            *([f"train.num_processes = {self.train.num_processes}"] if self.train.num_processes > 1 else []),
            *(
                [f"model.quantization = '{self.model.quantization}': such weights cannot leave the GPU"]
                if self.model.quantization in ("8bit", "4bit")
                else []
            ),
        ]
        if self.evaluation.turns and problems:
            raise ValueError(f"evaluation.turns does not go with {' and '.join(problems)}")
        return self

    @model_validator(mode="after")
    def _only_what_swaps_in_place_is_compiled(self) -> Config:
        if self.evaluation.torch_compile and (self.lora.use_dora or self.lora.text_encoder):
            raise ValueError(
                "evaluation.torch_compile would compile anew for every snapshot: "
                "adapters with lora.use_dora or lora.text_encoder cannot be swapped in place"
            )
        return self


def own_table(task: str) -> str:
    """The name of the table that holds a task's own settings: the last part of `run.task`."""
    return task.rpartition(".")[2]


@functools.cache
def config_type(table: str, settings: type[Section]) -> type[Config]:
    """`Config` with one more table. Equal arguments give the same type, so that equal settings compare as equal.

    Raises:
        TypeError: a field has no resume rule.
    """
    for key, field in settings.model_fields.items():
        rule_of(f"{table}.{key}", field)
    return create_model("Config", __base__=Config, **cast("dict[str, Any]", {table: (settings, ...)}))


def known_keys(kind: type[Config] = Config) -> list[str]:
    """Every key path, `train.learning_rate` style, in the order of the tables and their classes."""
    return [f"{name}.{key}" for name, model in sections(kind).items() for key in model.model_fields]


def sections(kind: type[Config] = Config) -> dict[str, type[Section]]:
    """Table name to its model, in order."""
    return {name: cast("type[Section]", field.annotation) for name, field in kind.model_fields.items()}


def value_in(tree: dict[str, Any], key: str) -> Any:
    """The value of a key path in a plain tree of settings, which may be wrong in any way; None where it is not."""
    section, _, name = key.partition(".")
    table = tree.get(section)
    return cast("dict[str, Any]", table).get(name) if isinstance(table, dict) else None


def rule_of(key: str, field: FieldInfo) -> Rule:
    """What a resumed run may do with a setting.

    Raises:
        TypeError: the field has no rule.
    """
    for part in field.metadata:
        if isinstance(part, Rule):
            return part
    raise TypeError(f"{key} has no resume rule: annotate it, such as Annotated[int, Rule.STEPS]")


RULES = {
    f"{name}.{key}": rule_of(f"{name}.{key}", field)
    for name, model in sections().items()
    for key, field in model.model_fields.items()
}
"""Of every key of Darkroom's own tables."""


def rules_of(config: Config) -> dict[str, Rule]:
    """Of every key, those of the task's own table included; where this is unchecked, the strictest."""
    if config.own is None:
        return RULES
    table, fields = own_table(config.run.task), type(config.own).model_fields
    unchecked = {f"{table}.{key}": Rule.STATE for key in config.own.model_extra or {}}
    return {**RULES, **unchecked, **{f"{table}.{key}": rule_of(key, field) for key, field in fields.items()}}
