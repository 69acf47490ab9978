"""What families share that learn by flow matching: a transformer on patches of latents, text encoders that leave.

Shapes: as in `family`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from shared.errors import ModelError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.flow.lora_names import ONETRAINER_PREFIX, TEXT_ENCODER
from tasks.text_to_image.families.flow.lora_names import without_prefix as inside
from tasks.text_to_image.families.flow.packing import PATCH
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.weights_header import Tensors, read_header

if TYPE_CHECKING:
    from torch import Tensor

    from shared.config.schema import EvaluationConfig, ModelConfig
    from tasks.text_to_image.models.lora_file import Module
    from tasks.text_to_image.models.memory import ModelShapes
    from tasks.text_to_image.objectives.objective import Objective

SCHEDULER = "FlowMatchEulerDiscreteScheduler"
FILE_PREFIX = "model.diffusion_model."
"""Before the names in single files of a transformer; some files leave it out."""
OTHER_PARTS = {"first_stage_model.": "VAE", "vae.": "VAE", "text_encoders.": "text encoders"}
"""Before the names of what single files may hold beside the transformer; it is not read."""
SCALES = re.compile(r".*(scale_weight|weight_scale|scaled_fp8|comfy_quant)")
"""Tensors beside weights in 8 bits, which diffusers does not apply."""


class FlowFamily(Family):
    """A family whose denoiser is a transformer that learns by flow matching."""

    kind = "flow"
    denoiser, text_encoders = "transformer", ("text_encoder",)
    encoders_stay = False
    normalizations = frozenset({"shift_factor"})
    overflows_in_fp16 = True
    samplers = ("own",)
    file_parts = {FILE_PREFIX: denoiser}
    lora_prefixes = {denoiser: ONETRAINER_PREFIX}
    resolution = 1024

    lora_modules: ClassVar[tuple[str, ...]]
    """Names of modules that LoRA files may adapt: diffusers', and the authors' where files have them."""
    base_version: ClassVar[str]
    """`ss_base_model_version`: kohya's name of the family."""
    usual: ClassVar[tuple[Literal["uniform", "logit_normal", "mode"], float | Literal["resolution"]]]
    """What `auto` means for `train.timestep_sampling` and `train.timestep_shift`; say who recommends it."""
    usual_drawing: ClassVar[tuple[tuple[int, str], tuple[float, str]]]
    """Steps and guidance scale for models that are not distilled, each with a reason."""
    patch: ClassVar[int] = PATCH
    """Latents along one side of a token."""
    max_tokens: ClassVar[int]
    """Of a caption, at most, as the denoiser sees it."""

    distilled: ClassVar[re.Pattern[str] | None] = None
    """Found in the names of models that are distilled to draw in few steps; None: no name says it."""
    distilled_steps: ClassVar[int]
    undistilled: ClassVar[str]
    """The hub id of a model to train instead of a distilled one."""

    training_bytes: ClassVar[Mapping[bool, tuple[int, ...]]]
    """Checkpointing → bytes per token and channel in bf16: of a block of each kind in `blocks`, and once. Measured by
    fake runs of the true blocks: benchmarks/flow_activations.py."""
    drawing_bytes: ClassVar[int]
    """Likewise without gradients, once."""

    def is_distilled(self, model: str) -> bool:
        """Whether a model is distilled to draw in few steps: a folder may say it, else its name or hub id does."""
        if self.distilled is None:
            return False
        index = Path(model) / "model_index.json"
        said = read_json(index).get("is_distilled") if index.is_file() else None
        return bool(self.distilled.search(Path(model).name) if said is None else said)

    def drawing_settings(self, model: str) -> Mapping[str, tuple[Any, str]]:
        steps, guidance = self.usual_drawing
        if self.is_distilled(model):
            steps = self.distilled_steps, "the distilled model's own number"
            guidance = 1.0, "the distilled model draws without guidance"
        return {"evaluation.num_inference_steps": steps, "evaluation.guidance_scale": guidance}

    def caution(self, model: str, settings: EvaluationConfig, training_adapter: str | None = None) -> str | None:
        if not self.is_distilled(model):
            return None
        texts: list[str] = []
        if training_adapter is None:
            texts += [
                f"{Path(model).name} is distilled to draw in {self.distilled_steps} steps without guidance, and "
                f"training undoes this little by little: train {self.undistilled} and draw with the distilled model "
                "(evaluation.model), or give a LoRA that was made for training it (model.training_adapter), or train "
                "for few steps"
            ]
        if settings.model is None and settings.guidance_scale != 1:
            texts += [f"evaluation.guidance_scale is {settings.guidance_scale:g}, and should be 1 for this model"]
        return "; ".join(texts) or None

    def own_modules(self, modules: Mapping[str, Module]) -> dict[str, Module] | None:
        own = self.renamed_modules(modules)
        return own if own and self.recognises_lora(own) else None

    def renamed_modules(self, modules: Mapping[str, Module]) -> dict[str, Module] | None:
        found: dict[str, Module] = {}
        for name, module in modules.items():
            if name.startswith(TEXT_ENCODER):
                found[name] = module
                continue
            known = inside(name, self.denoiser, self.lora_modules)
            if known is None:
                return None
            own = self.own_names(known)
            for number, one in enumerate(own):
                share = (number, number + 1, len(own))
                found[f"{self.denoiser}.{one}"] = replace(module, part=self.denoiser, share=share)
        return found

    def own_names(self, module: str) -> list[str]:
        """diffusers' names of a module of a LoRA file: several, in the order of its outputs, if it is one there."""
        return [module]

    def require_trainable(self, folder: Path) -> None:
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json").get("_class_name")
        if scheduler != SCHEDULER:
            raise ModelError(
                f"{folder} has the noise schedule of {scheduler}, which cannot be trained",
                f"choose a model with a {SCHEDULER}" + (f", as {self.completed_by}" if self.completed_by else ""),
            )

    def size_multiple(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
        return 2 ** (len(self.vae_channels(vae)) - 1) * PATCH

    def size_multiple_of_file(self, tensors: Tensors) -> int | None:
        """All of them use one VAE, of factor 8."""
        return 8 * PATCH

    def width(self, denoiser: Mapping[str, Any]) -> int:
        """Channels of a token. denoiser: its configuration."""
        return denoiser["num_attention_heads"] * denoiser["attention_head_dim"]

    def blocks(self, denoiser: Mapping[str, Any]) -> tuple[int, ...]:
        """The number of blocks of each kind that `training_bytes` counts."""
        return (denoiser["num_layers"],)

    def activation_bytes(
        self, model: ModelShapes, batch: int, resolution: int, *, half: bool, checkpointing: bool
    ) -> float:
        *of_blocks, once = self.training_bytes[checkpointing]
        counts = self.blocks(model.denoiser)
        kept = sum(number * count for number, count in zip(of_blocks, counts, strict=True)) + once
        return batch * self.tokens(model, resolution) * self.width(model.denoiser) * kept * (1 if half else 2)

    def offloaded_bytes(self, model: ModelShapes, batch: int, resolution: int, *, half: bool) -> float:
        """All but those of the block that computes and of the one before it."""
        of_blocks, counts = self.training_bytes[True][:-1], self.blocks(model.denoiser)
        kept = sum(number * count for number, count in zip(of_blocks, counts, strict=True)) - 2 * max(of_blocks)
        return batch * self.tokens(model, resolution) * self.width(model.denoiser) * max(0, kept) * (1 if half else 2)

    def denoising_bytes(self, model: ModelShapes, resolution: int) -> float:
        return self.tokens(model, resolution) * self.width(model.denoiser) * self.drawing_bytes

    def tokens(self, model: ModelShapes, resolution: int) -> float:
        """Of a square picture, as many of each of its sources, and the longest caption."""
        pictures = 1 + max(model.num_sources, int(self.needs_sources))
        return pictures * (resolution / model.vae_factor / self.patch) ** 2 + self.max_tokens

    def objective(
        self, pipeline: Any, file: Path | None, settings: ModelConfig, *, zero_terminal_snr: bool
    ) -> tuple[Objective, tuple[str, ...]]:
        from tasks.text_to_image.objectives.flow_matching import FlowMatching, Usual

        vae = pipeline.vae.config
        if "shift_factor" in vae and vae["shift_factor"] is None:  # pipelines add it to latents, whatever it is
            pipeline.vae.register_to_config(shift_factor=0.0)
        notices = self._unread_parts(file, settings) if file else ()
        return FlowMatching(pipeline.scheduler.config, Usual(*self.usual), self.patch), notices

    def _unread_parts(self, file: Path, settings: ModelConfig) -> tuple[str, ...]:
        names = read_header(file)
        held = dict.fromkeys(
            part for prefix, part in OTHER_PARTS.items() if any(name.startswith(prefix) for name in names)
        )
        source = settings.single_file_config or self.completed_by
        return (f"{file.name} holds {' and '.join(held)} too; those of {source} are used instead",) if held else ()

    def header(self, predicted: str) -> dict[str, str]:
        return {
            "modelspec.architecture": f"{self.architectures[predicted]}/lora",
            "ss_base_model_version": self.base_version,
        }

    def exported(self, weights: dict[str, Tensor], scales: dict[str, float]) -> dict[str, Tensor]:
        """diffusers' names, which ComfyUI maps too, at scale 1: the scale is multiplied into B."""
        found = dict(weights)
        for module, scale in scales.items():
            found[f"{module}.lora_B.weight"] = weights[f"{module}.lora_B.weight"] * scale
        return found


def presets_of(
    attention: tuple[str, ...], feed_forward: tuple[str, ...], others: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """`Family.presets` of a transformer, whose layers are all linear."""
    transformer = (*attention, *feed_forward)
    return {
        "attention": attention,
        "transformer": transformer,
        "all": (*transformer, *others),
        "all-linear": (*transformer, *others),
    }


def without_prefix(tensors: Tensors) -> Tensors:
    """The transformer's tensors in a single file. With a prefix, the file may hold other parts as well."""
    prefix = FILE_PREFIX if any(name.startswith(FILE_PREFIX) for name in tensors) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def require_plain_weights(tensors: Tensors, file: Path) -> None:
    """Raises ModelError where weights in 8 bits have scales beside them. tensors: of a single file."""
    if any(map(SCALES.fullmatch, tensors)):
        raise ModelError(
            f"{file} holds weights in 8 bits with scales of their own, which cannot be trained",
            "choose the file in bf16; model.quantization makes a diffusers folder smaller while it is trained",
        )
