"""FLUX.2: a transformer whose first blocks keep picture and caption apart; klein in two sizes, and dev.

It reads three hidden layers of its text encoder, joined, in all 512 rows: padding is attended to as well, and differs
with the caption. Latents are normalised patch by patch, with the statistics of the VAE's batch normalisation. klein
draws with a negative prompt; dev takes the guidance scale as an input.

Shapes: as in `family`; L patches.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from shared.data import buckets
from shared.errors import ConfigError
from tasks.text_to_image.families import source_latents
from tasks.text_to_image.families.family import COMFYUI_PREFIX
from tasks.text_to_image.families.flow.authors_names import renamed, third
from tasks.text_to_image.families.flow.flow_family import (
    FlowFamily,
    presets_of,
    require_plain_weights,
    without_prefix,
)
from tasks.text_to_image.families.flow.lora_names import in_blocks
from tasks.text_to_image.families.flow.packing import PATCH, pack, unpack
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from shared.config.schema import DataConfig
    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module

MOST_SINGLE_BLOCKS = 48
"""Of all sizes."""
DOUBLE_ATTENTION = (
    *("to_q", "to_k", "to_v", "to_out.0"),
    *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
)
ATTENTION = (
    *DOUBLE_ATTENTION,
    *("to_qkv_mlp_proj", *(f"single_transformer_blocks.{number}.attn.to_out" for number in range(MOST_SINGLE_BLOCKS))),
)
"""Of the first blocks, for the picture and for the caption, and of the single blocks, whose attention has the
feed-forward in it. The last is named block by block: in the first blocks `attn.to_out` is a list of layers."""
FEED_FORWARD = ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out")
OTHERS = (
    *("double_stream_modulation_img.linear", "double_stream_modulation_txt.linear", "single_stream_modulation.linear"),
    *("x_embedder", "context_embedder", "norm_out.linear", "proj_out"),
    *("timestep_embedder.linear_1", "timestep_embedder.linear_2"),
)
GUIDANCE_EMBEDDER = ("guidance_embedder.linear_1", "guidance_embedder.linear_2")
MAX_TOKENS = 512
WIDER_THAN_FLUX1 = (4096, 6144)
"""Channels of a token in the larger models; FLUX.1 and klein 4B have 3072."""
SOURCES_APART = 10
"""In time: the first source is at this place, the next at twice of it."""
LARGEST_SOURCE, LEAST_SOURCE = 1024, 64
"""Pixels: the side of a square of the area that the pipeline shrinks larger sources to; its least side of one."""
FIRST_OF_FILE, GUIDANCE_OF_FILE = "img_in.weight", "guidance_in.in_layer.weight"
SHARED_MODULATION = "single_stream_modulation.lin.weight"
FILE_NAMES = (
    (r"^img_in\.", "x_embedder."),
    (r"^txt_in\.", "context_embedder."),
    (r"^time_in\.", "time_guidance_embed.timestep_embedder."),
    (r"^guidance_in\.", "time_guidance_embed.guidance_embedder."),
    (r"\.in_layer\.", ".linear_1."),
    (r"\.out_layer\.", ".linear_2."),
    (r"_modulation(_img|_txt)?\.lin\.", r"_modulation\1.linear."),
    (r"^final_layer\.linear\.", "proj_out."),
    (r"^final_layer\.adaLN_modulation\.1\.", "norm_out.linear."),
    (r"^double_blocks\.", "transformer_blocks."),
    (r"^single_blocks\.", "single_transformer_blocks."),
    (r"\.img_attn\.proj\.", ".attn.to_out.0."),
    (r"\.txt_attn\.proj\.", ".attn.to_add_out."),
    (r"\.img_mlp\.0\.", ".ff.linear_in."),
    (r"\.img_mlp\.2\.", ".ff.linear_out."),
    (r"\.txt_mlp\.0\.", ".ff_context.linear_in."),
    (r"\.txt_mlp\.2\.", ".ff_context.linear_out."),
    (r"\.linear1\.", ".attn.to_qkv_mlp_proj."),
    (r"\.linear2\.", ".attn.to_out."),
)
"""The authors' names of modules in single files, and diffusers'; those of normalisations have no matrices."""
BLOCK = re.compile(r"(?:double|single)_blocks\.\d+\.(.+)")
KOHYA = re.compile(r"lora_unet_(double|single)_blocks_(\d+)_(.+)")
INSIDE = (
    *("img_attn.qkv", "txt_attn.qkv", "img_attn.proj", "txt_attn.proj"),
    *("img_mlp.0", "img_mlp.2", "txt_mlp.0", "txt_mlp.2", "linear1", "linear2"),
)
OUTSIDE = (
    *("img_in", "txt_in", "time_in.in_layer", "time_in.out_layer", "guidance_in.in_layer", "guidance_in.out_layer"),
    *("double_stream_modulation_img.lin", "double_stream_modulation_txt.lin", "single_stream_modulation.lin"),
    "final_layer.linear",
)
"""The authors' modules that a LoRA may adapt, of blocks and beside them. The last modulation is not among them: its
halves stand the other way round in diffusers."""
WIDENINGS = ((".linear2", ".linear1", 4), ("_mlp.2", "_mlp.0", 3))
"""Layer, the one before it, and its inputs as a multiple of that one's; FLUX.1 has 5 and 4."""
FUSED = {"img_attn": ("to_q", "to_k", "to_v"), "txt_attn": ("add_q_proj", "add_k_proj", "add_v_proj")}


class Flux2(FlowFamily):
    """What the sizes of FLUX.2 share."""

    denoiser_class = "Flux2Transformer2DModel"
    implementation = "https://github.com/black-forest-labs/flux2"
    normalizations = frozenset()
    max_tokens = MAX_TOKENS
    most_sources = None
    usual = ("logit_normal", "resolution")  # musubi-tuner's flux2_shift, which its guide recommends
    presets = presets_of(ATTENTION, FEED_FORWARD, OTHERS)
    lora_modules = (
        *in_blocks("transformer_blocks", (*(f"attn.{layer}" for layer in DOUBLE_ATTENTION), *FEED_FORWARD)),
        *in_blocks("single_transformer_blocks", ("attn.to_qkv_mlp_proj", "attn.to_out")),
    )
    training_bytes, drawing_bytes = {True: (2, 2, 95), False: (50, 52, 40)}, 44
    on_cpu = Size(1, True, 8, 1, resolution=512)

    channels: ClassVar[int]
    """Of a token, in models of this size."""

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        """Whether guidance is an input, or the configuration does not say it."""
        return denoiser.get("guidance_embeds") in (None, self.embeds_guidance)

    def exclude_modules(self, denoiser: Mapping[str, Any]) -> str:
        """The lists of layers, for a person's own `attn.to_out`."""
        return r"transformer_blocks\.\d+\.attn\.to_out"

    def blocks(self, denoiser: Mapping[str, Any]) -> tuple[int, ...]:
        return denoiser["num_layers"], denoiser["num_single_layers"]

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        own = without_prefix(tensors)
        if not {FIRST_OF_FILE, SHARED_MODULATION} <= own.keys():
            return False
        if not self._is_of_this_size(own[FIRST_OF_FILE].shape[0], guidance=GUIDANCE_OF_FILE in own):
            return False
        require_plain_weights(tensors, file)
        return True

    @abstractmethod
    def _is_of_this_size(self, width: int, *, guidance: bool) -> bool:
        """By the channels of a token, and whether guidance is an input."""

    def tensors_of_file(self, tensors: Tensors) -> dict[str, Tensors]:
        """Under diffusers' names; queries, keys and values are one matrix in the authors' files."""
        found: Tensors = {}
        for name, tensor in without_prefix(tensors).items():
            block, _, rest = name.partition("_attn.qkv.")
            if rest:
                start, _, stream = block.rpartition(".")
                names = [f"{start}.attn.{own}.{rest}" for own in FUSED[f"{stream}_attn"]]
                found |= {renamed(name, FILE_NAMES): third(tensor) for name in names}
            else:
                found[renamed(name, FILE_NAMES)] = tensor
        return {self.denoiser: found}

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """By layers that only FLUX.2 has; the first blocks' attention alone could be of several families."""
        own = (".attn.to_qkv_mlp_proj", ".ff.linear_in", ".ff_context.linear_in")
        widths = {module.shape[1] for name, module in modules.items() if name.endswith(own)}
        return widths == {self.channels}

    def own_modules(self, modules: Mapping[str, Module]) -> dict[str, Module] | None:
        """Of files with the authors' names too, as ai-toolkit and kohya write them: one update can be three here."""
        authors = {name: _in_lora(name) for name in modules}
        if not _are_of_flux2({own: modules[name] for name, own in authors.items() if own}):
            return super().own_modules(modules)
        found: dict[str, Module] = {}
        for name, module in modules.items():
            inside = authors[name]
            own = _own_names(inside) if inside else []
            if not own:  # it is refused by this name
                found[name] = module
            for number, one in enumerate(own):
                share = (number, number + 1, len(own))
                found[f"{self.denoiser}.{one}"] = replace(module, part=self.denoiser, share=share)
        return found

    def scale_latents(self, model: Model, latents_BCHW: Tensor) -> Tensor:
        vae = model.pipeline.vae
        mean_D, variance_D = (value.to(latents_BCHW) for value in (vae.bn.running_mean, vae.bn.running_var))
        scaled_BLD = (pack(latents_BCHW) - mean_D) / (variance_D + vae.config.batch_norm_eps).sqrt()
        return unpack(scaled_BLD, *latents_BCHW.shape[-2:])

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """`hidden_states` (B, 512, D)."""
        pipeline = model.pipeline
        states_BLD, _ = pipeline.encode_prompt(prompt=captions, device=pipeline.text_encoder.device)
        return {"hidden_states": states_BLD}

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        import torch

        height, width = noisy_latents_BCHW.shape[-2:]
        seen = [noisy_latents_BCHW, *source_latents.of(conditioning)]
        places = [_of_patches(number * SOURCES_APART, *each.shape[-2:]) for number, each in enumerate(seen)]
        states_BLD = conditioning["hidden_states"]
        predicted_BLD = model.denoiser(
            hidden_states=torch.cat([pack(each) for each in seen], dim=1),
            encoder_hidden_states=states_BLD,
            timestep=timesteps_B,
            img_ids=torch.cat(places).to(noisy_latents_BCHW.device),
            txt_ids=_places(1, 1, 1, states_BLD.shape[1]).to(noisy_latents_BCHW.device),
            guidance=torch.full_like(timesteps_B, model.guidance) if self.embeds_guidance else None,
            return_dict=False,
        )[0]
        return unpack(predicted_BLD[:, : len(places[0])], height, width)

    def source_sizes(self, data: DataConfig, multiple: int) -> list[buckets.Size]:
        """Those that the pipeline neither shrinks nor refuses."""
        sizes = buckets.sizes(min(data.resolution, LARGEST_SOURCE), multiple, square=not data.buckets)
        large = [size for size in sizes if min(size) >= LEAST_SOURCE]
        if not large and data.sources == "files":
            raise ConfigError(
                f"data.resolution is {data.resolution}, and {self.title} takes no source with sides of less than "
                f"{LEAST_SOURCE} pixels",
                f"set data.resolution to {LEAST_SOURCE} or more",
            )
        return large or [(LEAST_SOURCE, LEAST_SOURCE)]

    def source_arguments(self, sources: Sequence[Image.Image], size: buckets.Size) -> dict[str, Any]:
        return {"image": list(sources)} if sources else {}


class Flux2Klein(Flux2):
    """What both sizes of klein share: Qwen3 reads captions; base models, and models distilled to draw in four steps."""

    pipeline_class = "Flux2KleinPipeline"
    distilled, distilled_steps = re.compile(r"klein(?!.*base)", re.IGNORECASE), 4
    usual_drawing = (50, "its authors' own number"), (4.0, "its authors' own value")
    fixed_layer = "its layers 9, 18 and 27"
    text_window = MAX_TOKENS - 12
    """Without the chat template and its empty thoughts."""

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        arguments = {"prompt_embeds": prompts, "negative_prompt_embeds": negative_prompts}
        return {
            name: model.encode_captions(texts)["hidden_states"].to(model.device) for name, texts in arguments.items()
        }


class Flux2Klein4B(Flux2Klein):
    """FLUX.2 klein 4B, and every klein of a size that is not known."""

    name, title = "flux2-klein-4b", "FLUX.2 klein 4B"
    completed_by = undistilled = "black-forest-labs/FLUX.2-klein-base-4B"
    architectures, base_version = {"flow": "Flux.2-klein-4b"}, "flux_2_klein_4b"
    header_name = r"flux[._-]?2[._-]klein[._-]4b"
    hub_name = r"flux[._-]?2[._-]klein"
    channels = 3072
    described = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "attention_head_dim": 128}
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 0, blocks_to_swap=16),
        10: Size(1, True, 16, 1, blocks_to_swap=25, evaluation_blocks_to_swap=25),
        12: Size(1, True, 16, 1, blocks_to_swap=18, evaluation_blocks_to_swap=25),
        16: Size(1, True, 16, 1, blocks_to_swap=6, evaluation_blocks_to_swap=25),
        24: Size(1, True, 16, 2),
        32: Size(4, True, 32, 2),
        40: Size(1, False, 32, 1),
        48: Size(1, False, 32, 4),
        80: Size(2, False, 32, 4),
    }

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        return super().is_described_by(denoiser) and self.width(denoiser) != Flux2Klein9B.channels

    def _is_of_this_size(self, width: int, *, guidance: bool) -> bool:
        return not guidance and width != Flux2Klein9B.channels


class Flux2Klein9B(Flux2Klein):
    """FLUX.2 klein 9B."""

    name, title = "flux2-klein-9b", "FLUX.2 klein 9B"
    completed_by = undistilled = "black-forest-labs/FLUX.2-klein-base-9B"
    architectures, base_version = {"flow": "Flux.2-klein-9b"}, "flux_2_klein_9b"
    header_name = r"flux[._-]?2[._-]klein[._-]9b"
    hub_name = r"flux[._-]?2[._-]klein.*9b"
    channels = 4096
    described = {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "attention_head_dim": 128}
    sizes = {
        8: Size(1, True, 16, 0, blocks_to_swap=32),
        10: Size(1, True, 16, 0, blocks_to_swap=28),
        12: Size(1, True, 16, 0, blocks_to_swap=26),
        16: Size(1, True, 16, 0, blocks_to_swap=18),
        24: Size(1, True, 16, 1, blocks_to_swap=18, evaluation_blocks_to_swap=30),
        32: Size(1, True, 32, 1, evaluation_blocks_to_swap=30),
        40: Size(1, True, 32, 1, evaluation_blocks_to_swap=16),
        48: Size(1, True, 32, 2),
        80: Size(1, False, 32, 2),
    }

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        return super().is_described_by(denoiser) and self.width(denoiser) == self.channels

    def _is_of_this_size(self, width: int, *, guidance: bool) -> bool:
        return not guidance and width == self.channels


class Flux2Dev(Flux2):
    """FLUX.2 dev: Mistral 3 reads captions, and guidance is an input of the transformer."""

    name, title = "flux2-dev", "FLUX.2 dev"
    pipeline_class = "Flux2Pipeline"
    completed_by = "black-forest-labs/FLUX.2-dev"
    embeds_guidance, uses_negative_prompts = True, False
    usual_drawing = (28, "its authors take 50, and call 28 a good trade-off"), (4.0, "its authors' own value")
    architectures, base_version = {"flow": "Flux.2-dev"}, "flux_2_dev"
    header_name = r"flux[._-]?2[._-]dev"
    hub_name = r"flux[._-]?2(?!.*klein)"
    fixed_layer = "its layers 10, 20 and 30"
    text_window = MAX_TOKENS - 40
    """Without the system message of the chat template, about."""
    presets = presets_of(ATTENTION, FEED_FORWARD, (*OTHERS, *GUIDANCE_EMBEDDER))
    channels = 6144
    described = {"num_layers": 8, "num_single_layers": 48, "num_attention_heads": 48, "attention_head_dim": 128}
    sizes = {
        24: Size(1, True, 16, 0, blocks_to_swap=50),
        32: Size(1, True, 32, 0, blocks_to_swap=44),
        40: Size(1, True, 32, 0, blocks_to_swap=38),
        48: Size(1, True, 32, 0, blocks_to_swap=30),
        80: Size(1, True, 32, 0),
    }

    def _is_of_this_size(self, width: int, *, guidance: bool) -> bool:
        return guidance

    def loaded_apart(self, folder: Path) -> dict[str, Any]:
        """Its tokenizer without the processor of pictures around it, which needs torchvision."""
        from transformers import AutoTokenizer

        return {"tokenizer": AutoTokenizer.from_pretrained(folder / "tokenizer")}

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        return {"prompt_embeds": model.encode_captions(prompts)["hidden_states"].to(model.device)}


def _of_patches(time: int, height: int, width: int) -> Tensor:
    """Places of a picture's patches, (L, 4). height, width: of its latents."""
    places_L4 = _places(1, height // PATCH, width // PATCH, 1)
    places_L4[:, 0] = time
    return places_L4


def _places(*counts: int) -> Tensor:
    """Every place of a grid by four numbers, the last fastest: time, row and column of a patch, number of a token."""
    import torch

    return torch.cartesian_prod(*map(torch.arange, counts))


def _are_of_flux2(modules: Mapping[str, Module]) -> bool:
    """By what FLUX.1 has otherwise: shared modulation, narrower feed-forward, wider tokens. modules: authors' names."""
    for name, module in modules.items():
        width = module.shape[1]
        if "_stream_modulation" in name or (name.endswith("_attn.qkv") and width in WIDER_THAN_FLUX1):
            return True
        for last, first, widening in WIDENINGS:
            beside = modules.get(name.replace(last, first)) if name.endswith(last) else None
            if beside and width == widening * beside.shape[1]:
                return True
    return False


def _in_lora(name: str) -> str | None:
    """The authors' name of a module in a LoRA file with ComfyUI's prefix or kohya's names; None: it has another."""
    plain = name.removeprefix(COMFYUI_PREFIX)
    block = BLOCK.fullmatch(plain)
    if plain != name:
        return plain if plain in OUTSIDE or (block and block[1] in INSIDE) else None
    if kohya := KOHYA.fullmatch(name):
        inside = next((own for own in INSIDE if own.replace(".", "_") == kohya[3]), None)
        return f"{kohya[1]}_blocks.{kohya[2]}.{inside}" if inside else None
    return next((own for own in OUTSIDE if name == f"lora_unet_{own.replace('.', '_')}"), None)


def _own_names(module: str) -> list[str]:
    """diffusers' names of a module of the authors': one, or those of queries, keys and values."""
    names = [module]
    if module.endswith("_attn.qkv"):
        start, _, stream = module.removesuffix(".qkv").rpartition(".")
        names = [f"{start}.attn.{own}" for own in FUSED[stream]]
    return [renamed(f"{name}.", FILE_NAMES).removesuffix(".") for name in names]
