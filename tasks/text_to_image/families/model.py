"""A loaded base model of any family, through one interface for training and evaluation.

Shapes: B batch, C latent channels, H W height and width, L tokens, D embedding width.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from diffusers.training_utils import free_memory
from PIL import Image
from torch import Tensor, nn

from tasks.text_to_image.families.encoder_files import EncoderFiles
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models.tokens import MAX_TOKEN_LENGTH, Lengths
from tasks.text_to_image.objectives.objective import Objective

log = logging.getLogger(__name__)

ROOM = 1.2
"""Memory that encoding a caption needs, as a multiple of the text encoder's weights."""

Sources = Sequence[Image.Image]
"""What one picture is made from, in order."""

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
        self.guidance = 1.0
        """The guidance scale that a denoiser is told while it trains, if it takes one: `train.guidance_scale`."""
        self.objective = objective
        """The run's objective, which may differ from the pipeline's scheduler."""
        self.notices: tuple[str, ...] = ()
        """Sentences about this model that the user must know."""
        self.encoder_files: EncoderFiles | None = None
        """Where the text encoders come from while they are needed; None: they stay loaded."""
        self._encoded: dict[tuple[str, str], Conditioning] = {}
        """Of single prompts, with a digest of the sources read beside them; without the batch dimension. Empty if the
        text encoders stay loaded."""
        for part in (pipeline.vae, *self.parts.values()):
            part.requires_grad_(False)

    @property
    def denoiser(self) -> nn.Module:
        """The network that predicts the noise, and is trained."""
        return getattr(self.pipeline, self.family.denoiser)

    @property
    def text_encoders(self) -> dict[str, nn.Module]:
        """Text encoders by the pipeline's names, those that are loaded."""
        encoders = {name: getattr(self.pipeline, name) for name in self.family.text_encoders}
        return {name: encoder for name, encoder in encoders.items() if encoder is not None}

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
        vae = self.pipeline.vae
        mean, std = self.family.posterior(vae, pixels_BCHW.to(vae.device))
        return mean.cpu(), std.cpu()

    def scale_latents(self, latents_BCHW: Tensor) -> Tensor:
        """From the VAE's units to the units in which the denoiser was trained."""
        return self.family.scale_latents(self, latents_BCHW)

    def encode_captions(self, captions: list[str], sources: Sequence[Sources] = ()) -> Conditioning:
        """Text conditioning of these captions, on the text encoders' device; with gradients if they are trained.

        If the text encoders are not loaded: what `encode_prompts` has encoded, on the denoiser's device.

        sources: of each caption, for families that read them beside it.
        """
        if self.text_encoders:
            return self._read(captions, sources)
        self.encode_prompts(captions, sources)
        together = self.collate([self._encoded[key] for key in self._keys(captions, sources)])
        return {name: value.to(self.device) for name, value in together.items()}

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str], sources: Sequence[Sources] = ()) -> None:
        """Encode these prompts, each alone, and keep the results; nothing if the text encoders stay loaded.

        The denoiser leaves a GPU meanwhile: the text encoders may need all of it. sources: as in `encode_captions`.
        """
        if self.encoder_files is None:
            return
        by_key = dict(zip(self._keys(prompts, sources), sources or [()] * len(prompts), strict=True))
        missing = [key for key in by_key if key not in self._encoded]
        if not missing:
            return
        device = self.device
        self.denoiser.to("cpu")
        with self.text_encoders_on(device):
            for key in missing:
                encoded = self._read([key[0]], [by_key[key]])
                self._encoded[key] = {name: value[0].cpu() for name, value in encoded.items()}
        self.denoiser.to(device)

    def _keys(self, prompts: Sequence[str], sources: Sequence[Sources]) -> list[tuple[str, str]]:
        if not (self.family.reads_sources and sources):
            return [(prompt, "") for prompt in prompts]
        pixels = [b"".join(f"{one.size}".encode() + one.tobytes() for one in each) for each in sources]
        return [(prompt, hashlib.sha256(one).hexdigest()) for prompt, one in zip(prompts, pixels, strict=True)]

    def _read(self, captions: list[str], sources: Sequence[Sources]) -> Conditioning:
        if self.family.reads_sources and any(sources):
            return self.family.encode_instructions(self, captions, sources)
        return self.family.encode_captions(self, captions)

    def collate(self, texts: Sequence[Conditioning]) -> Conditioning:
        """Combine the conditioning of single captions, each without a batch dimension, into that of a batch."""
        return self.family.collate(texts)

    def predict(self, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's output, in the units of the objective's target. timesteps: the objective's. (B, C, H, W)."""
        return self.family.predict(self, noisy_latents_BCHW, timesteps_B, conditioning)

    def prompt_arguments(
        self, prompts: list[str], negative_prompts: list[str] | None = None, sources: Sequence[Sources] = ()
    ) -> dict[str, Any]:
        """Embeddings of prompts and of as many negative prompts, empty ones for None, as arguments of the pipeline's
        call. sources: of each prompt.
        """
        negative_prompts = negative_prompts or [""] * len(prompts)
        if self.family.reads_sources and any(sources):
            return self.family.instruction_arguments(self, prompts, negative_prompts, sources)
        return self.family.prompt_arguments(self, prompts, negative_prompts)

    @contextmanager
    def vae_on(self, device: torch.device) -> Generator[None]:
        """The VAE on this device, afterwards on the CPU."""
        self.pipeline.vae.to(device)
        yield
        self.pipeline.vae.to("cpu")

    @contextmanager
    def text_encoders_on(self, device: torch.device) -> Generator[None]:
        """The text encoders on this device, afterwards on the CPU, or gone if they do not stay loaded.

        Those that do not stay compute on the CPU if a GPU has no room for them.
        """
        self.hold_text_encoders(torch.device("cpu"))
        if self.encoder_files is None or _has_room(device, self.text_encoders.values()):
            self.hold_text_encoders(device)
        else:
            log.warning("captions are encoded on the CPU: the GPU has too little free memory for the text encoder")
        yield
        if self.encoder_files is None:
            self.hold_text_encoders(torch.device("cpu"))
            return
        self.pipeline.register_modules(**dict.fromkeys(self.family.text_encoders))
        free_memory()

    def hold_text_encoders(self, device: torch.device) -> None:
        """Load the text encoders if they are not, and move them to this device."""
        if self.encoder_files and not self.text_encoders:
            self.pipeline.register_modules(**self.encoder_files.load())
        for encoder in self.text_encoders.values():
            encoder.to(device)

    def vae_digest(self) -> str:
        """A digest of the VAE's weights."""
        return _digest(self.pipeline.vae)

    def text_digest(self) -> str:
        """A digest of the text encoders' weights, precision, vocabulary, prompt length and layer."""
        if self.encoder_files:
            content = f"{self.family.name}:{self.encoder_files.digest()}"  # families read the same encoder differently
        else:
            vocabulary = "".join(str(sorted(tokenizer.get_vocab().items())) for tokenizer in self.tokenizers.values())
            content = vocabulary + "".join(map(_digest, self.text_encoders.values()))
        if self.max_token_length != MAX_TOKEN_LENGTH:
            content += f"max_token_length={self.max_token_length}"
        if self.clip_skip > 1:
            content += f"clip_skip={self.clip_skip}"
        return hashlib.sha256(content.encode()).hexdigest()

    def token_lengths(self, captions: Iterable[str]) -> Lengths:
        """The number of tokens of each caption, including those that are cut off."""
        window, own = self.family.text_window, getattr(self.pipeline, self.family.window_tokenizer, None)
        tokenizer = self.pipeline.tokenizer if own is None else getattr(own, "tokenizer", own)  # a processor has one
        counts = [len(tokenizer(caption, add_special_tokens=False, verbose=False).input_ids) for caption in captions]
        if window is None:
            return Lengths(tuple(counts), tokenizer.model_max_length - 2)
        return Lengths(tuple(counts), tokenizer.model_max_length - 2 if own is None else window, ())


def _has_room(device: torch.device, modules: Iterable[nn.Module]) -> bool:
    """Whether a GPU can hold these modules and what they compute for one caption."""
    if device.type != "cuda":
        return True
    needed = sum(value.numel() * value.element_size() for module in modules for value in module.parameters())
    return torch.cuda.mem_get_info(device)[0] > ROOM * needed


def _digest(module: nn.Module) -> str:
    """sha256 over names, precisions and bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
