"""One run's settings: a frozen tree of pydantic models, read from TOML and overridden by `key.sub=value`.

Precedence: the defaults below < the TOML file < overrides. Every problem of a file and its overrides is reported at
once, each with its key path and the nearest known key.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tomlkit
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from tomlkit.exceptions import TOMLKitError

from shared.config import access, targets
from shared.config.save_interval import EverySteps, SaveInterval
from shared.errors import ConfigError
from shared.files import paths

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
POCKET = "pocket"
HUB = "hub:"
FOLDER_KEYS = ("model.vae", "model.single_file_config", "evaluation.fashion_clip", "evaluation.visual")
"""Settings that may name a local folder of a model's files, beside `model.path`."""
PATH_KEYS = (
    "run.output_dir",
    "model.path",
    *FOLDER_KEYS,
    "data.path",
    "data.regularization_path",
    "data.cache_dir",
    "lora.init_from",
)
ENDS = ("max_train_steps", "max_train_epochs")
KEYWORDS = (POCKET, "gradients", "dreamsim")
"""What the settings of models and encoders mean by themselves, whatever lies in the current folder."""
OTHER_FORMATS = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON", ".ini": "INI", ".cfg": "INI", ".py": "Python"}


NOISE_OF_RULES = re.compile(
    r"^(?:Value error, |Input |(?:Tuple|List|String) (?=should))|(?: after validation)?, not \d+$"
)
"""What pydantic says of its own types, around the rule that a value broke."""


def _false_is_none(value: Any) -> Any:
    """TOML has no null: `false` switches a number off."""
    return None if value is False else value


def _whole_is_int(value: float) -> int | float:
    """16.0 is written as 16."""
    return int(value) if value == int(value) else value


def _zero_is_none(value: Any) -> Any:
    """Other trainers switch a limit off by 0."""
    return None if value is False or value == 0 else value


class Section(BaseModel):
    """A table of the TOML file: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RunConfig(Section):
    """Where the run is written."""

    name: str | None = Field(default=None, description="Name of the run folder; the config file's stem when absent.")
    output_dir: Path = Field(default=Path("runs"), description="Folder that holds all run folders.")
    preset: str | None = Field(
        default=None, description="Hardware preset these settings began as, written by `init`; recorded, never applied."
    )
    preset_reason: str | None = Field(default=None, description="Why `init` chose that preset; recorded as well.")
    webhook: str | None = Field(
        default=None,
        exclude=True,  # whoever knows it can post there: it stays out of the run folder, its pages and its report
        pattern=r"^https?://\S+$",
        description="Address that run.py posts JSON to when the run ends, fails or first needs attention; Slack and "
        "Mattermost show its `text`.",
    )


class ModelConfig(Section):
    """The base model that learns."""

    path: str = Field(
        default=POCKET,
        description="A diffusers folder, a hub id, a .safetensors file, or `pocket`, the embedded miniature model.",
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        description="Branch, tag or commit of a hub id; the commit it stands for is kept in `run.json`, and a resumed "
        "run loads that one.",
    )
    variant: str | None = Field(
        default=None,
        pattern=r"^[\w-]+$",
        description="Variant of the weights, such as `fp16` (of `….fp16.safetensors`); when absent, plain weights, "
        "or where a part has none a variant that it has.",
    )
    vae: str | None = Field(
        default=None,
        min_length=1,
        description="A VAE in place of the model's own: a diffusers folder, a hub id (`owner/name` or "
        "`owner/name@revision`) or a .safetensors file.",
    )
    single_file_config: str | None = Field(
        default=None,
        description="Diffusers folder or hub id that describes the parts of a single file; guessed from the file, and "
        "fetched from the hub, when absent.",
    )
    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = Field(
        default="auto",
        description="Precision of frozen weights and forward pass; `auto` is bf16 or fp16 on a GPU, `no` on CPU.",
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        default="none", description="Frozen denoiser weights in bitsandbytes' 8-bit integers or 4-bit NF4; CUDA only."
    )
    prediction_type: Literal["auto", "epsilon", "v_prediction"] = Field(
        default="auto", description="What the model predicts; `auto` takes the word of the model's own files."
    )
    clip_skip: int = Field(
        default=1,
        ge=1,
        le=12,
        description="Layer of the text encoder that is read, counted from the last as in kohya's scripts and A1111: "
        "1 is the last, 2 the last but one. SD 1.x and 2.x only.",
    )


class DataConfig(Section):
    """The captioned pictures and how they are varied."""

    path: str = Field(
        description="Folder of captioned pictures, a CSV file of paths and captions, a saved `datasets` folder, "
        "or `hub:owner/name`."
    )
    resolution: int = Field(
        default=512,
        ge=32,
        multiple_of=8,
        description="Side, in pixels, of the square a bucket's area may fill; SDXL is made for 1024.",
    )
    buckets: bool = Field(
        default=True, description="Keep aspect ratios by buckets of equal area; `false` cuts every picture square."
    )
    train_size: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_false_is_none)] = Field(
        default=None, description="Pairs trained on at most, chosen by seed; `false` takes all."
    )
    num_validation: int = Field(
        default=16,
        ge=2,
        description="Pairs held out from training; evaluation prompts and references come from them.",
    )
    validation_ids: tuple[str, ...] = Field(
        default=(),
        description="Pairs to hold out, by id (path without ending); the remaining num_validation are chosen by seed.",
    )
    regularization_path: str = Field(
        default="auto",
        description="Pictures of the class, trained on beside the subject's and never held out: their data set, apart "
        "from folders of `data.path` named `reg`, `regularization` …; `auto`: only such folders; `none`: every folder "
        "is trained on alike.",
    )
    masks: Literal["files", "alpha", "off"] = Field(
        default="files",
        description="Where pictures count in the loss: `files` is white in `<picture>.mask.png` or "
        "`<picture>-masklabel.png`, `alpha` what is opaque; `off`, or no mask, is everywhere.",
    )
    trigger_word: str = Field(
        default="",
        description="Put before every caption that does not contain it, but for pictures of the class; the caption of "
        "pictures that have none.",
    )
    random_flip: bool = Field(default=False, description="Mirror every other picture, chosen by seed and position.")
    caption_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of captions replaced by an empty one, for guidance."
    )
    shuffle_tags: bool = Field(
        default=False, description="Shuffle comma-separated captions; their embeddings are then not cached."
    )
    tag_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of a caption's comma-separated tags left out each time; embeddings are then not cached.",
    )
    keep_tags: int = Field(
        default=1, ge=0, description="Tags at the front that are neither shuffled nor dropped; nor is the trigger word."
    )
    max_token_length: Literal[75, 150, 225] = Field(
        default=75,
        description="Tokens of a caption that are encoded; what is longer is cut off. 150 and 225 are two and three "
        "passes of the text encoders side by side, as in kohya's scripts.",
    )
    cache_dir: Path | None = Field(
        default=None, description="Folder of encoded pictures and captions; `<run.output_dir>/.cache` when absent."
    )


class LoraConfig(Section):
    """The adapter, in PEFT's terms."""

    rank: int = Field(default=16, ge=1, le=512, description="Rank of the update matrices.")
    lora_alpha: Annotated[float, AfterValidator(_whole_is_int), PlainSerializer(_whole_is_int)] = Field(
        default=16, gt=0, description="Scale numerator: the update is multiplied by lora_alpha / rank."
    )
    target_modules: Annotated[tuple[str, ...], BeforeValidator(targets.expand)] = Field(
        default=targets.ATTENTION,
        min_length=1,
        description='Modules of the denoiser that get an adapter: `"attention"` (the default), `"transformer"` (as '
        'kohya\'s LoRA), `"all-linear"`, `"all"`, or a list of these and of suffixes of modules\' names.',
    )
    conv_rank: Annotated[Annotated[int, Field(ge=1, le=512)] | None, BeforeValidator(_false_is_none)] = Field(
        default=None, description="Rank of convolutions with a kernel larger than 1; `false`: rank."
    )
    conv_alpha: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_false_is_none)] = Field(
        default=None,
        description="Scale numerator of these convolutions; `false`: lora_alpha × conv_rank / rank, the same scale.",
    )
    init_from: Annotated[str | None, BeforeValidator(_false_is_none)] = Field(
        default=None,
        description="LoRA to begin from instead of a fresh adapter: a .safetensors file of diffusers or kohya, a "
        "snapshot's folder, PEFT's folders or a .zip of them; `false`: none.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout probability inside the adapter.")
    use_rslora: bool = Field(
        default=False, description="Scale by lora_alpha / sqrt(rank) (rsLoRA, Kalajdzievski 2023)."
    )
    use_dora: bool = Field(
        default=False, description="Learn magnitude and direction apart (DoRA, Liu et al. 2024); slower."
    )
    text_encoder: bool = Field(
        default=False, description="Give the text encoders' attention an adapter too; captions are then not cached."
    )
    text_encoder_mlp: bool = Field(
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


class TrainConfig(Section):
    """The optimisation."""

    max_train_steps: int = Field(default=1000, ge=1, description="Optimizer updates in all.")
    max_train_epochs: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_false_is_none)] = Field(
        default=None,
        description="Passes over the training pictures, instead of max_train_steps, which is computed from it when the "
        "run is made.",
    )
    train_batch_size: int = Field(default=4, ge=1, description="Pictures per micro-batch and process.")
    num_processes: int = Field(
        default=1,
        ge=1,
        description="Training processes run.py starts on this machine, one GPU each; they share the work.",
    )
    gradient_accumulation_steps: int = Field(default=1, ge=1, description="Micro-batches per optimizer update.")
    optimizer: str = Field(
        default="adamw",
        description="`adamw`, `adamw8bit`, `prodigy`, `adafactor`, the name of a class in `torch.optim`, or any other "
        "class as `module.Class`, such as `lion_pytorch.Lion`.",
    )
    optimizer_args: dict[str, Any] = Field(
        default_factory=dict, description="Further keyword arguments of the optimizer, such as `{betas = [0.9, 0.99]}`."
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="Peak learning rate; 1.0 is Prodigy's own.")
    text_encoder_learning_rate: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_false_is_none)] = (
        Field(default=None, description="Peak learning rate of the text encoders' adapters; `false`: learning_rate.")
    )
    lora_plus_ratio: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_false_is_none)] = Field(
        default=None,
        description="Learning rate of the B matrices as a multiple of the others' (LoRA+, Hayou et al. 2024: 16); "
        "`false`: the same.",
    )
    lr_scheduler: Literal[
        "constant",
        "constant_with_warmup",
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
    ] = Field(default="cosine", description="Shape of the learning rate after warm-up, as diffusers names it.")
    lr_warmup_steps: int = Field(
        default=0,
        ge=0,
        description="Optimizer updates over which the learning rate rises from 0, before every schedule.",
    )
    lr_num_cycles: int = Field(default=1, ge=1, description="Cycles of `cosine_with_restarts`.")
    lr_final_fraction: float = Field(
        default=0.0, ge=0, le=1, description="Share of learning_rate left at the end of a schedule that falls."
    )
    weight_decay: float = Field(default=1e-2, ge=0, description="Weight decay of the optimizer.")
    max_grad_norm: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_zero_is_none)] = Field(
        default=1.0, description="Gradients are scaled down to this global L2 norm; `false` or 0 switches it off."
    )
    ema_decay: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, BeforeValidator(_zero_is_none)] = Field(
        default=None,
        description="Publish a moving average of the adapter, such as 0.999, instead of the adapter itself; the decay "
        "rises to this over the first updates; `false`: none.",
    )
    loss_type: Literal["l2", "huber", "smooth_l1"] = Field(
        default="l2", description="Distance between prediction and target."
    )
    huber_c: float = Field(default=0.1, gt=0, description="Where `huber` and `smooth_l1` turn from square to linear.")
    prior_loss_weight: float = Field(
        default=1.0, ge=0, description="Weight of the loss on pictures of the class (`data.regularization_path`)."
    )
    unmasked_weight: float = Field(
        default=0.0, ge=0, le=1, description="Least weight of the loss where a mask is black (`data.masks`)."
    )
    snr_gamma: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_false_is_none)] = Field(
        default=5.0, description="Min-SNR gamma (Hang et al. 2023); `false` switches it off."
    )
    noise_offset: float = Field(
        default=0.0, ge=0, le=1, description="Strength of one extra random number per channel of the noise."
    )
    multires_noise_iterations: int = Field(
        default=0, ge=0, le=10, description="Coarser layers of noise added to the noise (pyramid noise); 0 is none."
    )
    multires_noise_discount: float = Field(
        default=0.3, gt=0, le=1, description="Strength of each coarser layer relative to the finer one."
    )
    zero_terminal_snr: bool = Field(
        default=False,
        description="Rescale betas to end in pure noise (Lin et al. 2024, algorithm 1); for v_prediction models.",
    )
    min_timestep: int = Field(default=0, ge=0, le=999, description="Smallest timestep trained on.")
    max_timestep: int = Field(default=999, ge=0, le=999, description="Largest timestep trained on.")
    gradient_checkpointing: bool = Field(
        default=False, description="Recompute activations in the backward pass: less memory, about a quarter slower."
    )
    torch_compile: bool = Field(
        default=False, description="Compile the denoiser; pays off after hundreds of steps at few bucket shapes."
    )
    snapshot_steps: SaveInterval = Field(
        default=EverySteps(((0, 100),)),
        description='Between two published snapshots: steps, `"2 epochs"`, `"10 minutes"`, or pairs '
        "`[[from step, every], …]`.",
    )
    checkpointing_steps: SaveInterval = Field(
        default=EverySteps(((0, 500),)), description="Between two resumable checkpoints, in the same forms."
    )
    checkpoints_total_limit: int = Field(
        default=2, ge=2, description="Checkpoints kept; the oldest go once a newer one is proven."
    )
    validation_steps: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_false_is_none)] = Field(
        default=None,
        description="Optimizer updates between two held-out losses; `false`: none. One costs 8 forward passes per "
        "held-out picture, and as many for the probe of training pictures.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="Seed of noise, timesteps, sampling order, dropout and the split."
    )

    @model_validator(mode="after")
    def _timesteps_are_a_range(self) -> TrainConfig:
        if self.min_timestep > self.max_timestep:
            raise ValueError(
                f"train.min_timestep is {self.min_timestep}, must be at most train.max_timestep ({self.max_timestep})"
            )
        return self


class StopConfig(Section):
    """What ends training before max_train_steps, apart from a person."""

    rule: Literal["off", "advise", "auto"] = Field(
        default="advise",
        description="When snapshots no longer improve: say so (`advise`), stop (`auto`), or neither (`off`).",
    )
    patience: int = Field(
        default=5,
        ge=1,
        description="Snapshots without sure progress before the rule speaks; half as many while signals of "
        "overfitting stand.",
    )
    min_snapshots: int = Field(default=6, ge=1, description="Snapshots evaluated before the rule may speak.")
    max_train_seconds: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_false_is_none)] = Field(
        default=None,
        description="Wall-clock seconds this session may last, last save included; `false`: no limit. "
        "Colab's free sessions end after about 12 hours.",
    )
    max_bad_steps: int = Field(
        default=10,
        ge=1,
        description="Updates in a row without finite loss and gradients (all skipped) before giving up; those by which "
        "fp16 finds its loss scale do not count.",
    )


class EvaluationConfig(Section):
    """What every snapshot is asked to draw, and how it is evaluated."""

    num_prompts: int = Field(default=16, ge=2, description="Held-out captions drawn for every snapshot.")
    num_seeds: int = Field(default=2, ge=1, description="Pictures per prompt.")
    scheduler: Literal[
        "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "EulerDiscreteScheduler", "DDIMScheduler", "own"
    ] = Field(
        default="DPMSolverMultistepScheduler",
        description="Sampler, as diffusers names it (the default is DPM-Solver++ 2M); `own` is the base model's.",
    )
    num_inference_steps: int = Field(default=20, ge=1, description="Denoising steps per picture.")
    guidance_scale: float = Field(default=7.0, ge=1, description="Classifier-free guidance.")
    batch_size: int = Field(
        default=8, ge=1, description="Pictures denoised at once; part of what makes pictures reproducible."
    )
    seed: int = Field(default=1234, ge=0, lt=2**31, description="First evaluation seed; the others follow it.")
    order: Literal["newest", "oldest"] = Field(
        default="newest", description="Which snapshot is evaluated first where several wait."
    )
    every: int = Field(
        default=1,
        ge=1,
        description="Evaluate every so many snapshots, and the last; the others are recorded as skipped.",
    )
    confirm_prompts: int = Field(
        default=16,
        ge=0,
        description="Further held-out captions, as far as there are, on which the three best snapshots are evaluated "
        "again at the end; 0: no confirmation.",
    )
    confirm_seeds: int = Field(default=4, ge=1, description="Pictures per prompt of the confirmation.")
    torch_compile: bool = Field(
        default=False,
        description="Compile the denoiser once for all snapshots; pays off after some hundred pictures of few shapes. "
        "Not with DoRA or adapters of the text encoders, which cannot be swapped in place.",
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Precision of generation; `auto` is fp16 on CUDA and MPS, fp32 on CPU."
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="`cpu`, `cuda`, `cuda:1`, `mps`; `auto` is a GPU that training leaves free, else the one it uses.",
    )
    visual: str = Field(
        default="gradients",
        description="Perceptual encoder: `gradients` (no weights needed), `dreamsim`, or a DINOv2 folder or hub id.",
    )
    fashion_clip: str = Field(
        default="patrickjohncyh/fashion-clip",
        description="Folder or hub id of a CLIP or SigLIP, or `pocket` for the embedded miniature CLIP.",
    )
    rescan_seconds: float = Field(
        default=5.0, gt=0, description="Seconds between two scans of the snapshot folder; events only hasten it."
    )


class DashboardConfig(Section):
    """Where the dashboard listens."""

    host: str = Field(
        default="127.0.0.1", description="Address to bind; other machines reach it only if this is not a loopback."
    )
    port: int = Field(
        default=8501,
        ge=0,
        le=65535,
        description="Port; the next free one is used, and said, when it is taken. 0 lets the system choose.",
    )
    trusted_hosts: Annotated[tuple[str, ...], BeforeValidator(access.host_names)] = Field(
        default=(),
        description="Names under which a proxy shows the dashboard; pages opened there may connect, with the token.",
    )
    base_path: Annotated[str, BeforeValidator(access.path_prefix)] = Field(
        default="",
        description="Path under which a proxy passes the dashboard on without removing it, such as /darkroom.",
    )


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

    def value(self, key: str) -> Any:
        """The value of a key path, such as `train.learning_rate`."""
        section, _, name = key.partition(".")
        return getattr(getattr(self, section), name)

    @model_validator(mode="after")
    def _prompts_come_from_held_out_pairs(self) -> Config:
        if self.evaluation.num_prompts > self.data.num_validation:
            raise ValueError(
                f"evaluation.num_prompts is {self.evaluation.num_prompts}, "
                f"must be at most data.num_validation ({self.data.num_validation})"
            )
        return self

    @model_validator(mode="after")
    def _only_what_swaps_in_place_is_compiled(self) -> Config:
        if self.evaluation.torch_compile and (self.lora.use_dora or self.lora.text_encoder):
            raise ValueError(
                "evaluation.torch_compile would compile anew for every snapshot: "
                "adapters with lora.use_dora or lora.text_encoder cannot be swapped in place"
            )
        return self


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a TOML file, apply `key.sub=value` overrides, validate.

    Relative paths are meant from the current folder, as on any command line, and come out absolute; `~` is the home
    folder.

    Raises:
        ConfigError: the file cannot be read, or any key or value is wrong; all problems in one message.
    """
    tree, given = _read_toml(path), dict[str, Any]()
    problems = [problem for override in overrides or [] if (problem := _apply_override(given, override))]
    problems += _two_ends(given) or ([] if (path.parent / "run.json").is_file() else _two_ends(tree))
    _overlay(tree, given)
    faults = _expand_paths(tree)
    name = _value_in(tree, "run.name") or path.stem
    if isinstance(name, str) and not RUN_NAME.fullmatch(name):
        rule = "may have the letters a to z, digits, '.', '_' and '-'"
        from_file = "" if _value_in(tree, "run.name") else "taken from the file's name; set run.name: it "
        problems.append(f"run.name is {name!r}, {from_file}{rule}")
    config = parse_config(tree, [*problems, *faults], "; ".join(dict.fromkeys(faults.values())))
    return _with_absolute_paths(config, name)


def dashboard_options(host: str, port: int, trusted_hosts: tuple[str, ...], base_path: str) -> DashboardConfig:
    """Options of the command line, as a config has them.

    Raises:
        ConfigError: one of them is nothing a dashboard can use.
    """
    try:
        return DashboardConfig(host=host, port=port, trusted_hosts=trusted_hosts, base_path=base_path)
    except ValidationError as error:
        raise ConfigError("; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())) from None


def parse_config(tree: dict[str, Any], problems: Sequence[str] = (), cure: str = "") -> Config:
    """Validate a plain tree of settings. problems: found already, to be told with the others; cure: of those.

    Raises:
        ConfigError: with every problem on a line of its own.
    """
    found = [*problems, *_problems(tree)]
    if found:
        hint = "docs/configuration.md lists every key with its unit and default"
        raise ConfigError("\n       ".join(found), cure or hint)
    return Config.model_validate(tree)


def _problems(tree: dict[str, Any]) -> list[str]:
    """What is wrong with each value, and what contradicts another, but for contradictions of wrong values."""
    found: list[str] = []
    left_out: set[str] = set()
    rest = copy.deepcopy(tree)
    while True:
        try:
            Config.model_validate(rest)
        except ValidationError as error:
            problems = error.errors()
        else:
            return found
        texts = [_describe(problem) for problem in problems]
        wrong = {key for problem, text in zip(problems, texts, strict=True) for key in _keys_of(problem, text)}
        found += [text for text in texts if not any(key in text for key in left_out)]
        if wrong <= left_out:
            return found
        left_out |= wrong
        for key in wrong:
            _leave_out(rest, key)


def _keys_of(problem: Any, text: str) -> list[str]:
    """The key a problem is of; those its message names, where it is of a whole table."""
    keys = [key for key in known_keys() if key in text]
    return [".".join(map(str, problem["loc"][:2]))] if len(problem["loc"]) > 1 or not keys else keys


def _leave_out(tree: dict[str, Any], key: str) -> None:
    """So that the default stands there; a data set's path has none."""
    section, _, name = key.partition(".")
    if not name or not isinstance(tree.get(section), dict):
        tree.pop(section, None)
    else:
        tree[section].pop(name, None)
    if key in ("data", "data.path"):
        tree.setdefault("data", {})["path"] = ""


def dump_config(config: Config) -> str:
    """The resolved configuration as TOML that `load_config` reads back to an equal tree."""
    tree = config.model_dump(mode="json", exclude_none=True)
    for key in ("snr_gamma", "max_grad_norm"):
        tree["train"].setdefault(key, False)  # absent would mean its default
    return tomlkit.dumps(tree)


def known_keys() -> list[str]:
    """Every key path, `train.learning_rate` style, in the order of the classes above."""
    return [f"{name}.{key}" for name, model in sections().items() for key in model.model_fields]


def sections() -> dict[str, type[Section]]:
    """Table name to its model, in order."""
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        found[name] = cast("type[Section]", field.annotation)
    return found


def _value_in(tree: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    keys = tree.get(section)
    return cast("dict[str, Any]", keys).get(name) if isinstance(keys, dict) else None


def _expand_paths(tree: dict[str, Any]) -> dict[str, str]:
    """Put the home folder for `~` in every path; what is wrong with paths → its cure."""
    faults: dict[str, str] = {}
    for key in PATH_KEYS:
        section, _, name = key.partition(".")
        text = _value_in(tree, key)
        if not isinstance(text, str) or text.startswith(HUB):
            continue
        expanded = tree[section][name] = paths.expand(text)
        if fault := paths.fault(expanded):
            faults[f"{key} is {text!r}, {fault[0]}"] = fault[1]
    return faults


def _with_absolute_paths(config: Config, name: str) -> Config:
    found = {key: _absolute_if_there(config.value(key)) for key in ("model.path", *FOLDER_KEYS)}
    updates: dict[str, dict[str, Any]] = {
        "run": {"name": name, "output_dir": config.run.output_dir.resolve()},
        "data": _absolute_data(config.data),
        "lora": {"init_from": config.lora.init_from and os.path.abspath(config.lora.init_from)},  # noqa: PTH100
    }
    for key, value in found.items():
        updates.setdefault(key.partition(".")[0], {})[key.partition(".")[2]] = value
    return config.model_copy(
        update={section: getattr(config, section).model_copy(update=values) for section, values in updates.items()}
    )


def _absolute_if_there(path: str | None) -> str | None:
    """A local folder or file; hub ids and keywords stay as they are."""
    if path and path not in KEYWORDS and Path(path).exists():
        return str(Path(path).resolve())
    return path


def _absolute_data(data: DataConfig) -> dict[str, Any]:
    named = data.regularization_path
    return {
        "path": _absolute_data_set(data.path),
        "regularization_path": named if named in ("auto", "none") else _absolute_data_set(named),
        "cache_dir": data.cache_dir.resolve() if data.cache_dir else None,
    }


def _absolute_data_set(path: str) -> str:
    return path if path.startswith(HUB) else str(Path(path).resolve())


def _read_toml(path: Path) -> dict[str, Any]:
    if path.suffix.lower() in OTHER_FORMATS:
        raise ConfigError(
            f"{path} is {OTHER_FORMATS[path.suffix.lower()]}, settings are read from TOML",
            "`python run.py init DATASET` writes a file to begin with; configs/ holds whole runs",
        )
    if path.is_dir():
        own = path / "config.toml"
        raise ConfigError(
            f"{path} is a folder, settings are read from a TOML file",
            f"{own} resumes this run" if own.is_file() else f"`python run.py init {path}` writes one for its pictures",
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "configs/ holds whole runs to start from") from None
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else f"not UTF-8 ({error.reason})"
        raise ConfigError(f"{path} is not valid TOML: it is {encoding}", "save it as UTF-8") from None
    try:
        return tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", _cure_of(text, error)) from None


def _cure_of(text: str, error: TOMLKitError) -> str:
    """What the line that cannot be parsed lacks: most often it is a Windows path."""
    line = (text.splitlines() or [""])[getattr(error, "line", 1) - 1 :][:1]
    if any(re.search(r'"[^"]*\\', part) for part in line):
        return paths.QUOTES
    return "strings need quotes; tables look like [train]"


def _apply_override(tree: dict[str, Any], override: str) -> str | None:
    """Put it in; what is wrong with it, or None."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) != 2 or not all(parts):
        return f"override {override!r} is not section.key=value, for example train.max_train_steps=40"
    section = tree.setdefault(parts[0], {})
    if isinstance(section, dict):  # what is no table is reported by the validation
        section[parts[1]] = _parse_value(text.strip())
    return None


def _overlay(tree: dict[str, Any], given: dict[str, Any]) -> None:
    """Put what was given into the tree, in place; one of two settings that say the same takes the other's away."""
    for section, keys in given.items():
        table = tree.setdefault(section, {})
        if isinstance(table, dict):  # what is no table is reported by the validation
            table = cast("dict[str, Any]", table)
            for key in ENDS if section == "train" and set(ENDS) & keys.keys() else ():
                table.pop(key, None)
            table.update(keys)


def _two_ends(tree: dict[str, Any]) -> list[str]:
    """Whether one source of settings says twice when training ends; a run's own file does, computed."""
    if all(_value_in(tree, f"train.{key}") not in (None, False) for key in ENDS):
        return [f"train.{ENDS[0]} and train.{ENDS[1]} both say when training ends: leave one of them out"]
    return []


def _parse_value(text: str) -> Any:
    """A TOML value, or the bare text: `model.path=runwayml/sd` needs no quotes."""
    try:
        return tomlkit.parse(f"value = {text}").unwrap()["value"]
    except TOMLKitError:
        return text


def _describe(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {path}{_did_you_mean(*problem['loc'])}"
    if problem["type"] == "missing":
        return f"{path} is missing"
    if problem["type"] == "value_error" and len(problem["loc"]) < 2:  # of a whole table: the message names its keys
        return problem["msg"].removeprefix("Value error, ")
    rule = NOISE_OF_RULES.sub("", problem["msg"]).replace("should", "must")
    value = list(problem["input"]) if isinstance(problem["input"], tuple) else problem["input"]
    return f"{path} is {value!r}, {rule}{_switched_off(path)}"


def _switched_off(path: str) -> str:
    """What else a setting may be: the values that switch it off."""
    section, _, key = path.partition(".")
    field = sections()[section].model_fields.get(key) if section in sections() else None
    readers = [getattr(rule, "func", None) for rule in field.metadata] if field else []
    if _zero_is_none in readers:
        return "; false or 0 switches it off"
    return ", or false" if _false_is_none in readers else ""


def _did_you_mean(section: str, key: str = "") -> str:
    tables = sections()
    if not key:
        near = difflib.get_close_matches(section, tables, n=1)
        return f", did you mean [{near[0]}]?" if near else ""
    near = difflib.get_close_matches(key, tables[section].model_fields, n=1)
    if near:
        return f", did you mean {section}.{near[0]}?"
    elsewhere = [known for known in known_keys() if known.endswith(f".{key}")]
    return f", did you mean {elsewhere[0]}?" if elsewhere else ""
