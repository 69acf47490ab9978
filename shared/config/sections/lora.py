"""`[lora]`: the adapter."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from shared.config import targets
from shared.config.resume_rule import Rule
from shared.config.sections.base import OrFalse, Section


def _whole_is_int(value: float) -> int | float:
    """16.0 is written as 16."""
    return int(value) if value == int(value) else value


class LoraConfig(Section):
    """The adapter, in PEFT's terms."""

    rank: Annotated[int, Rule.STATE] = Field(default=16, ge=1, le=512, description="Rank of the update matrices.")
    lora_alpha: Annotated[float, AfterValidator(_whole_is_int), PlainSerializer(_whole_is_int), Rule.STATE] = Field(
        default=16, gt=0, description="Scale numerator: the update is multiplied by lora_alpha / rank."
    )
    target_modules: Annotated[tuple[str, ...], BeforeValidator(targets.expand), Rule.STATE] = Field(
        default=targets.ATTENTION,
        min_length=1,
        description='Modules of the denoiser that get an adapter: `"attention"` (the default), `"transformer"` (as '
        'kohya\'s LoRA), `"all-linear"`, `"all"`, or a list of these and of suffixes of modules\' names.',
    )
    conv_rank: Annotated[OrFalse[Annotated[int, Field(ge=1, le=512)]], Rule.STATE] = Field(
        default=None, description="Rank of convolutions with a kernel larger than 1; `false`: rank."
    )
    conv_alpha: Annotated[OrFalse[Annotated[float, Field(gt=0)]], Rule.STATE] = Field(
        default=None,
        description="Scale numerator of these convolutions; `false`: lora_alpha × conv_rank / rank, the same scale.",
    )
    init_from: Annotated[OrFalse[str], Rule.START] = Field(
        default=None,
        description="LoRA to begin from instead of a fresh adapter: a .safetensors file of diffusers or kohya, a "
        "snapshot's folder, PEFT's folders or a .zip of them; `false`: none.",
    )
    dropout: Annotated[float, Rule.STEPS] = Field(
        default=0.0, ge=0, lt=1, description="Dropout probability inside the adapter."
    )
    use_rslora: Annotated[bool, Rule.STATE] = Field(
        default=False, description="Scale by lora_alpha / sqrt(rank) (rsLoRA, Kalajdzievski 2023)."
    )
    use_dora: Annotated[bool, Rule.STATE] = Field(
        default=False, description="Learn magnitude and direction apart (DoRA, Liu et al. 2024); slower."
    )
    text_encoder: Annotated[bool, Rule.STATE] = Field(
        default=False, description="Give the text encoders' attention an adapter too; captions are then not cached."
    )
    text_encoder_mlp: Annotated[bool, Rule.STATE] = Field(
        default=False,
        description="With text_encoder: adapt the text encoders' MLP layers as well, as kohya's LoRA does.",
    )

    @model_validator(mode="after")
    def _mlp_is_of_a_text_encoder_that_learns(self) -> LoraConfig:
        if self.text_encoder_mlp and not self.text_encoder:
            raise ValueError(
                "lora.text_encoder_mlp is set, but the text encoders do not learn: lora.text_encoder = true"
            )
        return self

    @model_validator(mode="after")
    def _convolutions_are_targets(self) -> LoraConfig:
        if not self.is_uniform and not any(map(targets.is_convolution, self.target_modules)):
            key = "conv_rank" if self.conv_rank else "conv_alpha"
            raise ValueError(
                f"lora.{key} is {getattr(self, key)}, but lora.target_modules has no convolution with a kernel larger "
                'than 1: lora.target_modules = "all" has them'
            )
        return self

    @property
    def text_encoder_targets(self) -> tuple[str, ...]:
        """Ends of the names of the text encoders' modules that get an adapter, where they learn."""
        return (*targets.TEXT_ENCODER, *(targets.TEXT_ENCODER_MLP if self.text_encoder_mlp else ()))

    @property
    def is_uniform(self) -> bool:
        """Whether convolutions have the rank and alpha of everything else."""
        return self.conv_rank is None and self.conv_alpha is None

    def rank_and_alpha(self, *, convolution: bool) -> tuple[int, float]:
        """Of a module; convolution: one with a kernel larger than 1."""
        if not convolution or self.is_uniform:
            return self.rank, self.lora_alpha
        rank = self.conv_rank or self.rank
        return rank, self.conv_alpha or self.lora_alpha * rank / self.rank
