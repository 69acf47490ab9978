"""The pocket flow transformer: Z-Image in miniature, on the crisp VAE's latents and the pocket CLIP's text tower.

It learns by the family's own functions: the objective draws noise levels as a LoRA's training does, and `ZImage`
predicts. A tenth of the captions is dropped for classifier-free guidance (Ho & Salimans 2022).
Layout: B examples, C × H × W latents, L tokens, D text dimensions.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.clip import WIDTH
from pocket.crisp_vae import LATENT_CHANNELS
from pocket.garments import WORDINGS, catalogue, split_catalogue
from pocket.learning import Learner, Progressed, Schedule
from pocket.pictures import draw_all, draw_garments
from pocket.vae import encode
from shared.config.schema import TrainConfig
from tasks.text_to_image.families.flow.caption_lengths import listed
from tasks.text_to_image.families.flow.packing import PATCH
from tasks.text_to_image.families.flow.z_image import MAX_TOKENS, ZImage
from tasks.text_to_image.families.model import Conditioning, Model
from tasks.text_to_image.objectives.flow_matching import FlowMatching, Usual

BATCH_SIZE = 16
CAPTION_DROPOUT = 0.1
SHIFT = 2.0
"""Of the published scheduler: the one that Z-Image's trainings use."""
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""The pipeline wants a chat template; the text tower learnt captions without one."""

CONFIG: dict[str, Any] = {
    "in_channels": LATENT_CHANNELS,
    "dim": 192,
    "n_layers": 5,
    "n_refiner_layers": 1,
    "n_heads": 6,
    "n_kv_heads": 6,
    "cap_feat_dim": WIDTH,
    "axes_dims": [8, 12, 12],
    "axes_lens": [1024, 64, 64],
}


def build() -> ZImageTransformer2DModel:
    """The untrained transformer, about 4.7 M parameters. Gates start at zero: each block begins as the identity."""
    transformer = ZImageTransformer2DModel(**CONFIG)
    for name in ("x_pad_token", "cap_pad_token"):
        torch.nn.init.normal_(getattr(transformer, name), std=0.02)
    return transformer


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The published pipeline's."""
    return FlowMatchEulerDiscreteScheduler(shift=SHIFT)


@torch.no_grad()
def lengthened(text_encoder: CLIPTextModel) -> CLIPTextModel:
    """The text tower for as many tokens as the pipeline pads captions to; the new positions are zeros and padding."""
    config = deepcopy(text_encoder.config)
    config.max_position_embeddings = MAX_TOKENS
    longer = CLIPTextModel(config)
    weights = dict(text_encoder.state_dict())
    name = next(name for name in weights if name.endswith("position_embedding.weight"))
    weights[name] = F.pad(weights[name], (0, 0, 0, MAX_TOKENS - len(weights[name])))
    longer.load_state_dict(weights)
    return longer.eval()


def with_template(tokenizer: CLIPTokenizer) -> CLIPTokenizer:
    """A copy that the pipeline can ask for a chat template."""
    copied = deepcopy(tokenizer)
    copied.chat_template = TEMPLATE
    return copied


def assemble(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, transformer: ZImageTransformer2DModel
) -> ZImagePipeline:
    """The parts as a pipeline; VAE and transformer are shared, not copied."""
    parts: dict[str, Any] = {
        "scheduler": scheduler(),
        "vae": vae,
        "text_encoder": lengthened(text_encoder),
        "tokenizer": with_template(tokenizer),
        "transformer": transformer,
    }
    pipeline = ZImagePipeline(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@dataclass(frozen=True)
class Encoded:
    """Pictures and captions as the transformer sees them."""

    latents: Tensor
    """(B, C, H, W)."""
    numbers: Tensor
    """(B,): each picture's garment, as an index into the catalogue."""
    captions: Sequence[Conditioning]
    """Every wording of every garment of the catalogue, wordings first."""
    no_caption: Conditioning
    """Of the empty caption."""

    def batch(self, generator: torch.Generator) -> tuple[Tensor, list[Conditioning]]:
        """Latents (B, C, H, W) and captions of a random batch, with random wordings, some dropped."""
        chosen = torch.randint(len(self.latents), (BATCH_SIZE,), generator=generator)
        wordings = torch.randint(len(WORDINGS), (BATCH_SIZE,), generator=generator)
        places = (self.numbers[chosen] * len(WORDINGS) + wordings).tolist()
        dropped = (torch.rand(BATCH_SIZE, generator=generator) < CAPTION_DROPOUT).tolist()
        texts = [self.no_caption if no else self.captions[place] for place, no in zip(places, dropped, strict=True)]
        return self.latents[chosen], texts


@torch.no_grad()
def encode_pictures(work: Path, model: Model) -> tuple[Encoded, Encoded]:
    """(train, held out); the latents are kept in `work`."""
    *captions, no_caption = encode_captions(work, model)
    seen, held_out = split_catalogue()
    parts = {"train": draw_garments(seen, 6000, seed=10_000), "held-out": draw_garments(held_out, 190, seed=3)}
    encoded = []
    for name, pictures in parts.items():
        cache = work / f"crisp-latents-{name}.safetensors"
        if not cache.exists():
            drawn = draw_all(pictures, work / f"{name}.safetensors")
            with torch.autocast("cpu", torch.bfloat16):
                save_file({"latents": encode(model.pipeline.vae, drawn).float().contiguous()}, cache)
        numbers = torch.tensor([catalogue().index(garment) for garment, _ in pictures])
        encoded.append(Encoded(load_file(cache)["latents"], numbers, captions, no_caption))
    return encoded[0], encoded[1]


@torch.no_grad()
def encode_captions(work: Path, model: Model) -> list[Conditioning]:
    """Of every wording of every garment, wordings first, and of the empty caption; kept in `work`."""
    cache = work / "crisp-captions.safetensors"
    if not cache.exists():
        texts = [*(garment.caption(wording) for garment in catalogue() for wording in range(len(WORDINGS))), ""]
        batches = [model.encode_captions(texts[start : start + 32]) for start in range(0, len(texts), 32)]
        states = [each.clone() for batch in batches for each in listed(batch)]
        save_file({f"{number:05d}": each for number, each in enumerate(states)}, cache)
    kept = load_file(cache)
    return [{"hidden_states": kept[name], "lengths": torch.tensor(len(kept[name]))} for name in sorted(kept)]


def train(
    work: Path, schedule: Schedule, pipeline: ZImagePipeline, on_save: Callable[[], None]
) -> tuple[ZImageTransformer2DModel, Progressed]:
    """Trains the pipeline's transformer in `work`, or resumes there. `on_save` sees the averaged weights."""
    objective, settings = FlowMatching(pipeline.scheduler.config, Usual(*ZImage.usual), PATCH), TrainConfig()
    model = Model(ZImage(), pipeline, objective)
    train_set, held_out_set = encode_pictures(work, model)
    model.denoiser.requires_grad_(True)

    def loss(encoded: Encoded, generator: torch.Generator) -> Tensor:
        latents, texts = encoded.batch(generator)
        shape = tuple(latents.shape[1:])
        noise = torch.stack([objective.sample_noise(shape, generator, settings) for _ in latents])
        timesteps = torch.stack([objective.sample_timestep(shape, generator, settings) for _ in latents])
        noisy_latents = objective.add_noise(latents, noise, timesteps)
        model_pred = model.family.predict(model, noisy_latents, timesteps, model.collate(texts)).float()
        return F.mse_loss(model_pred, objective.target(latents, noise, timesteps))

    def held_out_loss() -> float:
        return torch.stack([loss(held_out_set, torch.Generator().manual_seed(seed)) for seed in range(6)]).mean().item()

    learner = Learner(model.denoiser, schedule, work / "transformer")
    progress = learner.fit(lambda generator: loss(train_set, generator), held_out_loss, on_save)
    return pipeline.transformer.eval(), progress
