"""The table `[image_classification]` of a config."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from shared.config.resume_rule import Rule
from shared.config.sections.base import Section


class Settings(Section):
    """What is trained, and how a picture reaches it."""

    arch: Annotated[str, Rule.STATE] = Field(
        default="resnet18",
        min_length=1,
        description="Network: `resnet18`, `resnet26`, `resnet34`, `resnet50`, `resnet101`, `resnet152`, `vit_tiny`, "
        "`vit_small`, `vit_base`, `vit_large`, or a type of transformers' image classifiers such as `convnext`. Not "
        "used where `model.path` names a classifier.",
    )
    arch_args: Annotated[dict[str, Any], Rule.STATE] = Field(
        default_factory=dict,
        description="Fields of the network's configuration in transformers, such as `{hidden_sizes = [16, 32, 64, "
        "128]}`; not with weights to begin from.",
    )
    pretrained: Annotated[bool, Rule.STATE] = Field(
        default=False,
        description="Begin from the weights on the hub that `arch` is known for; the layer that names the classes is "
        "fresh. Weights elsewhere: `model.path`.",
    )
    img_size: Annotated[int, Rule.STATE] = Field(
        default=224, ge=8, le=1024, description="Side of the square that a picture is cut and scaled to, in pixels."
    )
    tuning: Annotated[Literal["full", "lora"], Rule.STATE] = Field(
        default="full",
        description="What is trained: every weight, or a LoRA of [lora] and the layer that names the classes. "
        "Snapshots hold the whole network either way.",
    )
    label_column: Annotated[str, Rule.SPLIT] = Field(
        default="",
        description="Column of a table that names the class; empty: `label`, `class`, `category`, `target` or `y`.",
    )
    random_crop: Annotated[float, Rule.STEPS] = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Least share of a training picture's area that a random cut leaves; 1: no cut. Mirror images: "
        "`data.random_flip`.",
    )
    label_smoothing: Annotated[float, Rule.STEPS] = Field(
        default=0.0, ge=0, lt=1, description="Share of the target that all classes get alike in the training loss."
    )
    class_weights: Annotated[Literal["none", "balanced"], Rule.STEPS] = Field(
        default="none",
        description="Weight of an example in the training loss: `balanced` weighs each class alike, whatever its "
        "number of pictures.",
    )
