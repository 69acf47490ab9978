"""A loaded base model through one interface, whatever family it is of: what trainer and evaluator need to know.

Shapes: B batch, C latent channels, H W height and width, L tokens, D embedding width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models.tokens import MAX_TOKEN_LENGTH, Lengths
from tasks.text_to_image.objectives.objective import Objective

Conditioning = dict[str, Tensor]
"""What the denoiser is told of a picture, batch first: by the family's names, as `encoder_hidden_states` (B, L, D), and
for all of them `time_ids` (B, 6), the picture's sizes."""


class Model:
    """A loaded pipeline and its parts by what they do. All of it is frozen: only an adapter attached to it learns."""

    def __init__(self, family: Family, pipeline: Any, objective: Objective) -> None:
        self.family = family
        self.pipeline = pipeline
        self.max_token_length = MAX_TOKEN_LENGTH
        """Tokens of a prompt that are encoded, as `data.max_token_length` says it."""
        self.clip_skip = 1
        """Layer at which the text encoder is read, from the last, where the family lets that be chosen."""
        self.objective = objective
        """What is learnt: of this run, whatever the pipeline's scheduler says."""
        self.notices: tuple[str, ...] = ()
        """What a person must know of how this model is understood."""
        for part in (pipeline.vae, *self.parts.values()):
            part.requires_grad_(False)

    @property
    def denoiser(self) -> nn.Module:
        """The network that learns."""
        return getattr(self.pipeline, self.family.denoiser)

    @property
    def text_encoders(self) -> dict[str, nn.Module]:
        """Text encoders by the pipeline's names."""
        return {name: getattr(self.pipeline, name) for name in self.family.text_encoders}

    @property
    def tokenizers(self) -> dict[str, Any]:
        """By the name of their encoder."""
        names = self.family.text_encoders
        return {name: getattr(self.pipeline, name.replace("text_encoder", "tokenizer")) for name in names}

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Everything that may carry an adapter, by the prefix of its keys in a LoRA file."""
        return {self.family.denoiser: self.denoiser, **self.text_encoders}

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the denoiser's frozen weights."""
        return cast("Any", self.denoiser).dtype

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
        """Sides of a picture, in pixels, must be multiples of this."""
        return self.family.size_multiple(cast("Any", self.denoiser).config, self.pipeline.vae.config)

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
        return self.family.scale_latents(self, latents_BCHW)

    def encode_captions(self, captions: list[str]) -> Conditioning:
        """Text conditioning of these captions, on the text encoders' device; carries gradients where they have any."""
        return self.family.encode_captions(self, captions)

    def collate(self, texts: Sequence[Conditioning]) -> Conditioning:
        """The conditioning of single captions, each without a batch dimension, as that of a batch."""
        return self.family.collate(texts)

    def predict(self, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's output, as the objective's target has it. timesteps: the objective's. (B, C, H, W)."""
        return self.family.predict(self, noisy_latents_BCHW, timesteps_B, conditioning)

    def prompt_arguments(self, prompts: list[str]) -> dict[str, Any]:
        """Embeddings of prompts, and of as many empty ones, as the pipeline's call takes them."""
        return self.family.prompt_arguments(self, prompts)

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
        vocabulary = "".join(str(sorted(tokenizer.get_vocab().items())) for tokenizer in self.tokenizers.values())
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
        return Lengths(tuple(counted), self.family.text_window or tokenizer.model_max_length - 2)


def _digest(module: nn.Module) -> str:
    """sha256 over names, precisions and bytes of all weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()
