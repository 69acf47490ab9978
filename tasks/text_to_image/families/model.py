"""A loaded base model of any family, through one interface for training and evaluation.

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
"""The conditioning of the denoiser, batch first, under the family's names, such as `encoder_hidden_states` (B, L, D);
for all families also `time_ids` (B, 6), the picture's sizes."""


class Model:
    """A loaded pipeline and its parts by function. All of it is frozen: only an attached adapter is trained."""

    def __init__(self, family: Family, pipeline: Any, objective: Objective) -> None:
        self.family = family
        self.pipeline = pipeline
        self.max_token_length = MAX_TOKEN_LENGTH
        """Tokens of a prompt that are encoded: `data.max_token_length`."""
        self.clip_skip = 1
        """The layer of the text encoder that is used, counted from the last, if the family allows the choice."""
        self.objective = objective
        """The run's objective, which may differ from the pipeline's scheduler."""
        self.notices: tuple[str, ...] = ()
        """Sentences about this model that the user must know."""
        for part in (pipeline.vae, *self.parts.values()):
            part.requires_grad_(False)

    @property
    def denoiser(self) -> nn.Module:
        """The network that predicts the noise, and is trained."""
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
        """Everything that can have an adapter, by the prefix of its keys in a LoRA file."""
        return {self.family.denoiser: self.denoiser, **self.text_encoders}

    @property
    def device(self) -> torch.device:
        """The denoiser's device."""
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the denoiser's frozen weights."""
        return cast("Any", self.denoiser).dtype

    def sample_with(self, scheduler: str) -> None:
        """Let the pipeline sample with another scheduler of diffusers, configured by the objective.

        scheduler: a class of diffusers, or `own` for the model's.

        Raises:
            ConfigError: the scheduler does not suit the objective.
        """
        self.pipeline.scheduler = self.objective.sampler(self.pipeline.scheduler, scheduler)

    @property
    def pixels_per_latent(self) -> int:
        """The VAE's factor: side of a picture in pixels / side of its latents."""
        return int(self.pipeline.vae_scale_factor)

    @property
    def size_multiple(self) -> int:
        """The sides of a picture, in pixels, must be multiples of this."""
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
        """From the VAE's units to the units in which the denoiser was trained."""
        return self.family.scale_latents(self, latents_BCHW)

    def encode_captions(self, captions: list[str]) -> Conditioning:
        """Text conditioning of these captions, on the text encoders' device; with gradients if they are trained."""
        return self.family.encode_captions(self, captions)

    def collate(self, texts: Sequence[Conditioning]) -> Conditioning:
        """Combine the conditioning of single captions, each without a batch dimension, into that of a batch."""
        return self.family.collate(texts)

    def predict(self, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's output, in the units of the objective's target. timesteps: the objective's. (B, C, H, W)."""
        return self.family.predict(self, noisy_latents_BCHW, timesteps_B, conditioning)

    def prompt_arguments(self, prompts: list[str], negative_prompts: list[str] | None = None) -> dict[str, Any]:
        """Embeddings of prompts and of as many negative prompts, empty ones for None, as arguments of the pipeline's
        call.
        """
        return self.family.prompt_arguments(self, prompts, negative_prompts or [""] * len(prompts))

    def encode_to(self, device: torch.device) -> None:
        """Move the VAE and the text encoders; the denoiser stays on its device."""
        self.pipeline.vae.to(device)
        for encoder in self.text_encoders.values():
            encoder.to(device)

    def vae_digest(self) -> str:
        """A digest of the VAE's weights."""
        return _digest(self.pipeline.vae)

    def text_digest(self) -> str:
        """A digest of the text encoders' weights, precision, vocabulary, prompt length and layer."""
        vocabulary = "".join(str(sorted(tokenizer.get_vocab().items())) for tokenizer in self.tokenizers.values())
        content = vocabulary + "".join(map(_digest, self.text_encoders.values()))
        if self.max_token_length != MAX_TOKEN_LENGTH:
            content += f"max_token_length={self.max_token_length}"
        if self.clip_skip > 1:
            content += f"clip_skip={self.clip_skip}"
        return hashlib.sha256(content.encode()).hexdigest()

    def token_lengths(self, captions: Iterable[str]) -> Lengths:
        """The number of tokens of each caption, including those that are cut off."""
        tokenizer = self.pipeline.tokenizer
        counts = [len(tokenizer(caption, add_special_tokens=False, verbose=False).input_ids) for caption in captions]
        return Lengths(tuple(counts), self.family.text_window or tokenizer.model_max_length - 2)


def _digest(module: nn.Module) -> str:
    """sha256 over names, precisions and bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
