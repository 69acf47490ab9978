"""A base model through one interface, whatever family it is of: what trainer and evaluator need to know, and no more.

Stable Diffusion 1.x and 2.x are one class (they differ in sizes and in what is predicted), SDXL another. A family with
a transformer and flow matching would be a third: everything that names a UNet or a noise schedule stands here.

Shapes: B batch, C latent channels, H W height and width, N passes of a text encoder, L tokens, D embedding width.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, cast

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor, nn

from shared.models.base_model import Family
from shared.models.tokens import MAX_TOKEN_LENGTH, Lengths
from tasks.text_to_image.families import clip_text
from tasks.text_to_image.objectives.objective import Objective

Conditioning = dict[str, Tensor]
"""What the denoiser is told of a picture, batch first: `encoder_hidden_states` (B, L, D), `time_ids` (B, 6) and,
for SDXL, `text_embeds` (B, D)."""


class Model(ABC):
    """A loaded pipeline and its parts by what they do. All of it is frozen: only an adapter attached to it learns."""

    pipeline_class: ClassVar[type]
    text_encoder_names: ClassVar[tuple[str, ...]]

    def __init__(self, pipeline: Any, objective: Objective) -> None:
        self.pipeline = pipeline
        self.max_token_length = MAX_TOKEN_LENGTH
        """Tokens of a prompt that are encoded, as `data.max_token_length` says it."""
        self.clip_skip = 1
        """Layer at which the text encoder is read, from the last; SDXL's are always read at the last but one."""
        self.objective = objective
        """What is learnt: of this run, whatever the pipeline's scheduler says."""
        self.notices: tuple[str, ...] = ()
        """What a person must know of how this model is understood."""
        for part in (pipeline.vae, *self.parts.values()):
            part.requires_grad_(False)

    @property
    def denoiser(self) -> nn.Module:
        """The network that learns."""
        return self.pipeline.unet

    @property
    def text_encoders(self) -> dict[str, nn.Module]:
        """Text encoders by the pipeline's names."""
        return {name: getattr(self.pipeline, name) for name in self.text_encoder_names}

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Everything that may carry an adapter, by the prefix of its keys in a LoRA file."""
        return {"unet": self.denoiser, **self.text_encoders}

    @property
    @abstractmethod
    def family(self) -> Family:
        """What other programs call this kind of model."""

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the denoiser's frozen weights."""
        return self.pipeline.unet.dtype

    def sample_with(self, scheduler: str) -> None:
        """Let the pipeline sample with another scheduler of diffusers, as the objective has it.

        scheduler: a class of diffusers, or `own`, the model's.

        Raises:
            ConfigError: that sampler cannot sample what the objective teaches.
        """
        self.pipeline.scheduler = self.objective.sampler(self.pipeline.scheduler, scheduler)

    @property
    def pixels_per_latent(self) -> int:
        """The VAE's factor: how many pixels of a side are one of the latent's."""
        return int(self.pipeline.vae_scale_factor)

    @property
    def size_multiple(self) -> int:
        """Sides of a picture, in pixels, must be multiples of this: the VAE's factor × the denoiser's."""
        return self.pixels_per_latent * 2 ** (len(self.pipeline.unet.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode_pixels(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the VAE's posterior, not scaled, fp32, on the CPU. pixels: -1 to 1, fp32.

        The VAE must be in fp32, as a model loaded for training has it: SDXL's overflows in fp16.
        """
        vae = cast("AutoencoderKL", self.pipeline.vae)
        posterior = vae.encode(pixels_BCHW.to(vae.device)).latent_dist  # pyright: ignore
        return posterior.mean.cpu(), posterior.std.cpu()

    def scale_latents(self, latents_BCHW: Tensor) -> Tensor:
        """From the VAE's units to those the denoiser learnt on."""
        config = self.pipeline.vae.config
        if config.get("latents_mean") is None:
            return latents_BCHW * config.scaling_factor
        mean_1C11, std_1C11 = (
            torch.tensor(values, dtype=latents_BCHW.dtype).view(1, -1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return (latents_BCHW - mean_1C11) * config.scaling_factor / std_1C11

    @abstractmethod
    def encode_captions(self, captions: list[str]) -> Conditioning:
        """Text conditioning of these captions, on the text encoders' device; carries gradients where they have any."""

    @abstractmethod
    def predict(self, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's output. (B, C, H, W)."""

    @abstractmethod
    def prompt_arguments(self, prompts: list[str]) -> dict[str, Tensor]:
        """Embeddings of prompts, and of as many empty ones, as the pipeline's call takes them."""

    def encode_to(self, device: torch.device) -> None:
        """Move what encodes pictures and captions; the denoiser stays where it is."""
        self.pipeline.vae.to(device)
        for encoder in self.text_encoders.values():
            encoder.to(device)

    def vae_digest(self) -> str:
        """Changes with the VAE's weights."""
        return _digest(self.pipeline.vae)

    def text_digest(self) -> str:
        """Changes with the text encoders' weights or precision, the tokens they are given, and how they are read."""
        vocabulary = "".join(str(sorted(tokenizer.get_vocab().items())) for tokenizer in self._tokenizers.values())
        about = vocabulary + "".join(map(_digest, self.text_encoders.values()))
        if self.max_token_length != MAX_TOKEN_LENGTH:
            about += f"max_token_length={self.max_token_length}"
        if self.clip_skip > 1:
            about += f"clip_skip={self.clip_skip}"
        return hashlib.sha256(about.encode()).hexdigest()

    def token_lengths(self, captions: Iterable[str]) -> Lengths:
        """How many tokens these captions have, whatever of them is encoded."""
        tokenizer = self.pipeline.tokenizer
        counted = [len(tokenizer(caption, add_special_tokens=False, verbose=False).input_ids) for caption in captions]
        return Lengths(tuple(counted), tokenizer.model_max_length - 2)

    @property
    def _tokenizers(self) -> dict[str, Any]:
        """By the name of their encoder."""
        names = self.text_encoder_names
        return {name: getattr(self.pipeline, name.replace("text_encoder", "tokenizer")) for name in names}

    def _read(self, name: str, texts: list[str], *, output_hidden_states: bool) -> Any:
        """A text encoder's output for all passes of all texts; its tensors begin with B × N."""
        encoder: Any = self.text_encoders[name]
        ids_BNL = clip_text.token_ids(self._tokenizers[name], texts, self._passes)
        return encoder(ids_BNL.flatten(0, 1).to(encoder.device), output_hidden_states=output_hidden_states)

    def _joined(self, states: Tensor) -> Tensor:
        """The states of all passes, (B × N, L, D), as those of one prompt each."""
        return clip_text.side_by_side(states.unflatten(0, (-1, self._passes)))

    @property
    def _passes(self) -> int:
        return self.max_token_length // MAX_TOKEN_LENGTH


class StableDiffusion(Model):
    """Stable Diffusion 1.x and 2.x."""

    pipeline_class = StableDiffusionPipeline
    text_encoder_names = ("text_encoder",)

    @property
    def family(self) -> Family:
        """SD 2.x is the one whose attention projects by linear layers."""
        return "sd2" if self.pipeline.unet.config.use_linear_projection else "sd1"

    def encode_captions(self, captions: list[str]) -> Conditioning:  # noqa: D102
        output = self._read("text_encoder", captions, output_hidden_states=self.clip_skip > 1)
        states = output.last_hidden_state
        if self.clip_skip > 1:  # a layer's own output is not normalised: the last norm follows it, as in training CLIP
            states = self.pipeline.text_encoder.final_layer_norm(output.hidden_states[-self.clip_skip])
        return {"encoder_hidden_states": self._joined(states).to(self.pipeline.text_encoder.dtype)}

    def predict(self, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:  # noqa: D102
        return self.denoiser(noisy_latents_BCHW, timesteps_B, conditioning["encoder_hidden_states"], return_dict=False)[
            0
        ]

    def prompt_arguments(self, prompts: list[str]) -> dict[str, Tensor]:  # noqa: D102
        encoded, negative = (self.encode_captions(texts) for texts in (prompts, [""] * len(prompts)))
        named = {
            "prompt_embeds": encoded["encoder_hidden_states"],
            "negative_prompt_embeds": negative["encoder_hidden_states"],
        }
        return {name: embeds.to(self.pipeline.device) for name, embeds in named.items()}


class StableDiffusionXL(Model):
    """SDXL: two text encoders, a pooled embedding, the picture's sizes as conditioning (Podell et al. 2023, §2.2)."""

    pipeline_class = StableDiffusionXLPipeline
    text_encoder_names = ("text_encoder", "text_encoder_2")

    @property
    def family(self) -> Family:  # noqa: D102
        return "sdxl"

    def encode_captions(self, captions: list[str]) -> Conditioning:
        """As the base class says; an empty caption is all zeros where the pipeline's own guidance makes it so."""
        embeds, pooled = self._encode(captions)
        if self.pipeline.config.force_zeros_for_empty_prompt:
            said_B = torch.tensor([bool(caption) for caption in captions], device=embeds.device)
            embeds, pooled = embeds * said_B[:, None, None], pooled * said_B[:, None]
        return {"encoder_hidden_states": embeds, "text_embeds": pooled}

    def predict(self, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:  # noqa: D102
        added = {"text_embeds": conditioning["text_embeds"], "time_ids": conditioning["time_ids"]}
        return self.denoiser(
            noisy_latents_BCHW,
            timesteps_B,
            conditioning["encoder_hidden_states"],
            added_cond_kwargs=added,
            return_dict=False,
        )[0]

    def prompt_arguments(self, prompts: list[str]) -> dict[str, Tensor]:  # noqa: D102
        (embeds, pooled), negative = self._encode(prompts), self.encode_captions([""] * len(prompts))
        named = {
            "prompt_embeds": embeds,
            "negative_prompt_embeds": negative["encoder_hidden_states"],
            "pooled_prompt_embeds": pooled,
            "negative_pooled_prompt_embeds": negative["text_embeds"],
        }
        return {name: embeds.to(self.pipeline.device) for name, embeds in named.items()}

    def _encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Both encoders' last states but one, (B, L, D), and what the second one pools of the first pass, (B, D)."""
        first, second = (self._read(name, texts, output_hidden_states=True) for name in self.text_encoder_names)
        embeds = torch.cat([self._joined(output.hidden_states[-2]) for output in (first, second)], dim=-1)
        pooled = second.text_embeds.unflatten(0, (-1, self._passes))[:, 0]
        return embeds.to(self.pipeline.text_encoder_2.dtype), pooled


def _digest(module: nn.Module) -> str:
    """sha256 over names, precisions and bytes of all weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()
