"""The pocket flow transformer: Z-Image in miniature, on the crisp VAE's latents and the pocket CLIP's text tower.

It learns what `ZImage` predicts, at the noise levels of a LoRA's training, a batch's spread evenly over their density.
Matrices of blocks learn by Muon. A tenth of the captions is dropped for classifier-free guidance (Ho & Salimans 2022).
It has a loop of its own because Darkroom's calls the transformer as its pipeline does, with lists of any size, which a
compiler cannot make faster: steps would take 1.4 times as long (`even_batches`).
Layout: B examples, C × H × W latents, L tokens, D text dimensions.
"""

from collections.abc import Callable
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

from pocket.lessons.garments import WORDINGS, catalogue, split_catalogue
from pocket.lessons.pictures import draw_all, draw_garments
from pocket.training.clip import WIDTH
from pocket.training.crisp_vae import LATENT_CHANNELS
from pocket.training.even_batches import LENGTH, places, predict, tokens_of
from pocket.training.learning import Learner, Progressed, Schedule
from pocket.training.vae import encode
from tasks.text_to_image.families.flow.caption_lengths import listed
from tasks.text_to_image.families.flow.z_image import MAX_TOKENS, ZImage
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.objectives.flow_matching import FlowMatching, Usual, shifted

BATCH_SIZE = 16
CAPTION_DROPOUT = 0.1
SHIFT = 2.0
"""Of the published scheduler: the one that Z-Image's trainings use."""
FIRST_GATE = 0.2
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
    """The untrained transformer, 4.6 M parameters. It begins as zero, with gates a little open, whatever the time."""
    transformer: Any = ZImageTransformer2DModel(**CONFIG)
    layer = transformer.all_final_layer["2-1"]
    modulations = [block.adaLN_modulation[0] for block in (*transformer.noise_refiner, *transformer.layers)]
    for linear in (*modulations, layer.adaLN_modulation[1], layer.linear):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    with torch.no_grad():
        for linear in modulations:
            linear.bias.view(4, -1)[1::2] = FIRST_GATE  # scale, gate, scale, gate
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
    captions: Tensor
    """(N, L, D): every wording of every garment of the catalogue, wordings first, and last the empty caption."""
    is_padding: Tensor
    """(N, L)."""

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (B, C, H, W), captions (B, L, D) and their padding, with random wordings, some dropped."""
        chosen = torch.randint(len(self.latents), (BATCH_SIZE,), generator=generator)
        wordings = torch.randint(len(WORDINGS), (BATCH_SIZE,), generator=generator)
        dropped = torch.rand(BATCH_SIZE, generator=generator) < CAPTION_DROPOUT
        numbers = torch.where(dropped, len(self.captions) - 1, self.numbers[chosen] * len(WORDINGS) + wordings)
        return self.latents[chosen], self.captions[numbers], self.is_padding[numbers]


@torch.no_grad()
def encode_pictures(work: Path, model: Model) -> tuple[Encoded, Encoded]:
    """(train, held out); the latents are kept in `work`."""
    captions = encode_captions(work, model)
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
        encoded.append(Encoded(load_file(cache)["latents"], numbers, *captions))
    return encoded[0], encoded[1]


@torch.no_grad()
def encode_captions(work: Path, model: Model) -> tuple[Tensor, Tensor]:
    """`captions` and `is_padding` of `Encoded`; kept in `work`."""
    cache = work / "crisp-captions.safetensors"
    if not cache.exists():
        texts = [*(garment.caption(wording) for garment in catalogue() for wording in range(len(WORDINGS))), ""]
        batches = [model.encode_captions(texts[start : start + 32]) for start in range(0, len(texts), 32)]
        states = [each.clone() for batch in batches for each in listed(batch)]
        work.mkdir(parents=True, exist_ok=True)
        save_file({f"{number:05d}": each for number, each in enumerate(states)}, cache)
    kept = load_file(cache)
    captions = torch.stack([F.pad(kept[name], (0, 0, 0, LENGTH - len(kept[name]))) for name in sorted(kept)])
    lengths = torch.tensor([len(kept[name]) for name in sorted(kept)])
    return captions, torch.arange(LENGTH) >= lengths[:, None]


def draw_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels of a batch, evenly spread over the density that Z-Image's trainings draw from. (count,)."""
    spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return shifted(torch.special.ndtri(spread.clamp(1e-5, 1 - 1e-5)).sigmoid(), SHIFT)


def train(
    work: Path, schedule: Schedule, pipeline: ZImagePipeline, on_save: Callable[[], None]
) -> tuple[ZImageTransformer2DModel, Progressed]:
    """Trains the pipeline's transformer in `work`, or resumes there. `on_save` sees the averaged weights."""
    objective = FlowMatching(pipeline.scheduler.config, Usual(*ZImage.usual))
    model = Model(ZImage(), pipeline, objective)
    train_set, held_out_set = encode_pictures(work, model)
    transformer = pipeline.transformer.requires_grad_(True)
    turns = places(transformer, *train_set.latents.shape[2:])
    compiled = torch.compile(predict)

    def loss(encoded: Encoded, generator: torch.Generator, predict: Callable[..., Tensor]) -> Tensor:
        latents, captions, is_padding = encoded.batch(generator)
        noise = torch.randn(latents.shape, generator=generator)
        sigmas = draw_sigmas(BATCH_SIZE, generator)
        noisy_latents = objective.add_noise(latents, noise, sigmas)
        model_pred = -predict(transformer, tokens_of(noisy_latents), 1 - sigmas, captions, is_padding, turns)
        return F.mse_loss(model_pred, tokens_of(objective.target(latents, noise, sigmas)))

    def held_out_loss() -> float:
        losses = [loss(held_out_set, torch.Generator().manual_seed(seed), predict) for seed in range(12)]
        return torch.stack(losses).mean().item()

    learner = Learner(transformer, schedule, work / "transformer", matrices(transformer))
    progress = learner.fit(lambda generator: loss(train_set, generator, compiled), held_out_loss, on_save)
    return pipeline.transformer.eval(), progress


def matrices(transformer: ZImageTransformer2DModel) -> list[torch.nn.Parameter]:
    """What learns by Muon: the matrices of blocks, without those of modulation."""
    blocks = (*transformer.noise_refiner, *transformer.context_refiner, *transformer.layers)
    named = (pair for block in blocks for pair in block.named_parameters())
    return [parameter for name, parameter in named if parameter.ndim == 2 and "adaLN" not in name]
