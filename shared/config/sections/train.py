"""`[train]`: the optimisation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from shared.config.resume_rule import Rule
from shared.config.save_interval import EverySteps, SaveInterval
from shared.config.sections.base import OrFalse, OrZero, Section, count_or, number_or

ENDS = ("max_train_steps", "max_train_epochs")
"""The two keys that say when training ends; a person sets one of them."""


class TrainConfig(Section):
    """The optimisation."""

    what: Annotated[Literal["lora", "full", "scratch"], Rule.STATE] = Field(
        default="lora",
        description="What is trained: a LoRA on the base model; every weight of its denoiser (`full`); a denoiser with "
        "fresh weights (`scratch`), for which the base model gives the VAE and the text encoders. See "
        "`docs/from-scratch.md`.",
    )
    snapshot_dtype: Annotated[Literal["fp32", "fp16", "bf16"], Rule.RESULTS] = Field(
        default="fp32",
        description="Precision of the weights in snapshots of `full` and `scratch`: with 16 bits a snapshot takes half "
        "of the disk space. Checkpoints always hold fp32.",
    )
    max_train_steps: Annotated[int, Rule.STEPS] = Field(default=1000, ge=1, description="Optimizer updates in all.")
    max_train_epochs: Annotated[OrFalse[Annotated[float, Field(gt=0)]], Rule.STEPS] = Field(
        default=None,
        description="Passes over the training pictures, instead of max_train_steps, which is computed from it when the "
        "run is made.",
    )
    train_batch_size: Annotated[int, Rule.STREAM] = Field(
        default=4, ge=1, description="Pictures per micro-batch and process."
    )
    num_processes: Annotated[int, Rule.STREAM] = Field(
        default=1,
        ge=1,
        description="Training processes run.py starts on this machine, one GPU each; they share the work.",
    )
    gradient_accumulation_steps: Annotated[int, Rule.STREAM] = Field(
        default=1, ge=1, description="Micro-batches per optimizer update."
    )
    optimizer: Annotated[str, Rule.STATE] = Field(
        default="adamw",
        description="`adamw`, `adamw8bit`, `prodigy`, `adafactor`, the name of a class in `torch.optim`, or any other "
        "class as `module.Class`, such as `lion_pytorch.Lion`.",
    )
    optimizer_args: Annotated[dict[str, Any], Rule.STATE] = Field(
        default_factory=dict, description="Further keyword arguments of the optimizer, such as `{betas = [0.9, 0.99]}`."
    )
    learning_rate: Annotated[float, Rule.STEPS] = Field(
        default=1e-4, gt=0, description="Peak learning rate; 1.0 is Prodigy's own."
    )
    text_encoder_learning_rate: Annotated[OrFalse[Annotated[float, Field(gt=0)]], Rule.STEPS] = Field(
        default=None, description="Peak learning rate of the text encoders' adapters; `false`: learning_rate."
    )
    lora_plus_ratio: Annotated[OrFalse[Annotated[float, Field(gt=0)]], Rule.STATE] = Field(
        default=None,
        description="Learning rate of the B matrices as a multiple of the others' (LoRA+, Hayou et al. 2024: 16); "
        "`false`: the same.",
    )
    lr_scheduler: Annotated[
        Literal[
            "constant",
            "constant_with_warmup",
            "linear",
            "cosine",
            "cosine_with_restarts",
            "polynomial",
        ],
        Rule.STEPS,
    ] = Field(default="cosine", description="Shape of the learning rate after warm-up, as diffusers names it.")
    lr_warmup_steps: Annotated[int, Rule.STEPS] = Field(
        default=0,
        ge=0,
        description="Optimizer updates over which the learning rate rises from 0, before every schedule.",
    )
    lr_num_cycles: Annotated[int, Rule.STEPS] = Field(default=1, ge=1, description="Cycles of `cosine_with_restarts`.")
    lr_final_fraction: Annotated[float, Rule.STEPS] = Field(
        default=0.0, ge=0, le=1, description="Share of learning_rate left at the end of a schedule that falls."
    )
    weight_decay: Annotated[float, Rule.STEPS] = Field(default=1e-2, ge=0, description="Weight decay of the optimizer.")
    max_grad_norm: Annotated[OrZero[Annotated[float, Field(gt=0)]], Rule.STEPS] = Field(
        default=1.0, description="Gradients are scaled down to this global L2 norm; `false` or 0 switches it off."
    )
    ema_decay: Annotated[OrZero[Annotated[float, Field(gt=0, lt=1)]], Rule.STEPS] = Field(
        default=None,
        description="Publish a moving average of the trained weights, such as 0.999, instead of these; the decay "
        "rises to this over the first updates; `false`: none.",
    )
    loss_type: Annotated[Literal["l2", "huber", "smooth_l1"], Rule.STEPS] = Field(
        default="l2", description="Distance between prediction and target."
    )
    huber_c: Annotated[float, Rule.STEPS] = Field(
        default=0.1, gt=0, description="Where `huber` and `smooth_l1` turn from square to linear."
    )
    prior_loss_weight: Annotated[float, Rule.STEPS] = Field(
        default=1.0, ge=0, description="Weight of the loss on pictures of the class (`data.regularization_path`)."
    )
    unmasked_weight: Annotated[float, Rule.STEPS] = Field(
        default=0.0, ge=0, le=1, description="Least weight of the loss where a mask is black (`data.masks`)."
    )
    snr_gamma: Annotated[
        float | Literal["auto"] | None, PlainValidator(number_or("auto", or_false=True)), Rule.STEPS
    ] = Field(
        default="auto",
        description="Min-SNR gamma (Hang et al. 2023); `auto` is 5 for models that learn on DDPM's timesteps, and "
        "nothing for flow models, which have none, and for training from scratch; `false` switches it off.",
    )
    timestep_sampling: Annotated[Literal["auto", "uniform", "logit_normal", "mode"], Rule.STEPS] = Field(
        default="auto",
        description="Flow models: the density from which noise levels σ are drawn (Esser et al. 2024, §3.1); `auto` is "
        "the family's.",
    )
    timestep_shift: Annotated[
        float | Literal["auto", "resolution"], PlainValidator(number_or("auto", "resolution")), Rule.STEPS
    ] = Field(
        default="auto",
        description="Flow models: how far σ is shifted towards noise after it is drawn, s·σ / (1 + (s − 1)·σ); 1 does "
        "not shift, `resolution` shifts larger pictures more, as the sampler does; `auto` is the family's.",
    )
    logit_mean: Annotated[float, Rule.STEPS] = Field(
        default=0.0, description="Mean of `logit_normal`: above 0 there is more noise."
    )
    logit_std: Annotated[float, Rule.STEPS] = Field(
        default=1.0, gt=0, description="Standard deviation of `logit_normal`."
    )
    mode_scale: Annotated[float, Rule.STEPS] = Field(
        default=1.29, ge=-1, le=1.75, description="Scale of `mode`: above 0 middle noise levels are drawn more often."
    )
    weighting_scheme: Annotated[Literal["none", "sigma_sqrt", "cosmap"], Rule.STEPS] = Field(
        default="none",
        description="Flow models: weight of the loss by σ, as diffusers names it: `sigma_sqrt` is 1/σ², `cosmap` is "
        "2 / (π (1 − 2σ + 2σ²)).",
    )
    guidance_scale: Annotated[float, Rule.STEPS] = Field(
        default=1.0,
        ge=0,
        description="Only for models that take the guidance scale as an input (guidance-distilled): the scale that "
        "they are given during training. 1, which kohya recommends, is no guidance; diffusers' scripts use 3.5. "
        "Pictures are drawn with evaluation.guidance_scale.",
    )
    noise_offset: Annotated[float, Rule.STEPS] = Field(
        default=0.0, ge=0, le=1, description="Strength of one extra random number per channel of the noise."
    )
    multires_noise_iterations: Annotated[int, Rule.STEPS] = Field(
        default=0, ge=0, le=10, description="Coarser layers of noise added to the noise (pyramid noise); 0 is none."
    )
    multires_noise_discount: Annotated[float, Rule.STEPS] = Field(
        default=0.3, gt=0, le=1, description="Strength of each coarser layer relative to the finer one."
    )
    zero_terminal_snr: Annotated[bool, Rule.STATE] = Field(
        default=False,
        description="Rescale betas to end in pure noise (Lin et al. 2024, algorithm 1); for v_prediction models.",
    )
    min_timestep: Annotated[int, Rule.STEPS] = Field(
        default=0, ge=0, le=999, description="Smallest timestep trained on; of a flow model σ in thousandths."
    )
    max_timestep: Annotated[int, Rule.STEPS] = Field(
        default=999, ge=0, le=999, description="Largest timestep trained on."
    )
    gradient_checkpointing: Annotated[bool | Literal["offload"], Rule.UPKEEP] = Field(
        default=False,
        description="Recompute activations in the backward pass: less memory, steps take up to 1.5 × as long. "
        '`"offload"` also keeps what each block starts from in the machine\'s memory: for transformers only.',
    )
    torch_compile: Annotated[bool, Rule.UPKEEP] = Field(
        default=False, description="Compile the denoiser; pays off after hundreds of steps at few bucket shapes."
    )
    cpu_threads: Annotated[
        int | Literal["auto", "half", "all"], PlainValidator(count_or("auto", "half", "all")), Rule.STEPS
    ] = Field(
        default="auto",
        description="Threads of each training process on a CPU; `auto` is all cores with `--no-evaluator`, half of "
        "them beside an evaluator, and for a resumed run as many as before; `half` if an evaluator on the same "
        "machine is started by itself. The last bits of the weights depend on it. OMP_NUM_THREADS overrides it.",
    )
    snapshot_steps: Annotated[SaveInterval, Rule.UPKEEP] = Field(
        default=EverySteps(((0, 100),)),
        description='Between two published snapshots: steps, `"2 epochs"`, `"10 minutes"`, or pairs '
        "`[[from step, every], …]`.",
    )
    checkpointing_steps: Annotated[SaveInterval, Rule.UPKEEP] = Field(
        default=EverySteps(((0, 500),)), description="Between two resumable checkpoints, in the same forms."
    )
    checkpoints_total_limit: Annotated[int, Rule.UPKEEP] = Field(
        default=2, ge=2, description="Checkpoints kept; the oldest go once a newer one is proven."
    )
    snapshots_total_limit: Annotated[OrFalse[Annotated[int, Field(ge=2)]], Rule.UPKEEP] = Field(
        default=None,
        description="Snapshots whose weights are kept, the best by the verdict; `false`: all. The newest, starred, "
        "voted and exported ones are kept in any case, and those that wait for evaluation. Results and pictures of the "
        "others stay.",
    )
    validation_steps: Annotated[OrFalse[Annotated[int, Field(ge=1)]], Rule.UPKEEP] = Field(
        default=None,
        description="Optimizer updates between two held-out losses; `false`: none. One costs 8 forward passes per "
        "held-out picture, and as many for the probe of training pictures.",
    )
    seed: Annotated[int, Rule.STREAM] = Field(
        default=0, ge=0, lt=2**31, description="Seed of noise, timesteps, sampling order, dropout and the split."
    )

    @model_validator(mode="after")
    def _timesteps_are_a_range(self) -> TrainConfig:
        if self.min_timestep > self.max_timestep:
            raise ValueError(
                f"train.min_timestep is {self.min_timestep}, must be at most train.max_timestep ({self.max_timestep})"
            )
        return self
