"""The pocket CLIP: the offline stand-in for FashionCLIP, and the pocket Stable Diffusion's text encoder.

It learns contrastively that a picture and its caption belong together. Two captions of one batch that name the same
garment, colour and pattern in other words are both correct: the targets are shared among them.
Layout: B pictures or captions, N captions to choose from, L tokens, D embedding dimensions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from pocket.lessons.garments import SIZE, WORDINGS, Garment, catalogue, split_catalogue
from pocket.lessons.pictures import draw_all, draw_garments, to_float
from pocket.tokenizer import MAX_LENGTH
from pocket.training.learning import Learner, Progressed, Schedule

BATCH_SIZE = 64
WIDTH = 128
ATTRIBUTES = ("kind", "colour", "pattern")


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """The untrained model: two transformers of width 128, about 1.9 M parameters."""
    tower = {"hidden_size": WIDTH, "intermediate_size": 3 * WIDTH, "num_attention_heads": 4, "projection_dim": WIDTH}
    specials = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {
        **tower,
        **specials,
        "num_hidden_layers": 4,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_LENGTH,
    }
    vision = {**tower, "num_hidden_layers": 6, "image_size": SIZE, "patch_size": 16}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def image_processor() -> CLIPImageProcessorPil:
    """Resizes and crops to 128 × 128, -1..1; the Pillow class, so that torchvision is not needed."""
    edges: dict[str, Any] = {"size": {"shortest_edge": SIZE}, "crop_size": {"height": SIZE, "width": SIZE}}
    return CLIPImageProcessorPil(**edges, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def train(work: Path, schedule: Schedule, tokenizer: CLIPTokenizer) -> tuple[CLIPModel, Progressed]:
    """Trains in `work`, or resumes there; returns the averaged weights."""
    seen, held_out = split_catalogue()
    train_pictures, held_out_pictures = draw_garments(seen, 6000, seed=10_000), draw_garments(held_out, 190, seed=3)
    train_BCHW = draw_all(train_pictures, work / "train.safetensors")
    held_out_BCHW = draw_all(held_out_pictures, work / "held-out.safetensors")
    garments, held_out_garments = [g for g, _ in train_pictures], [g for g, _ in held_out_pictures]
    numbers = torch.tensor([catalogue().index(garment) for garment in garments])
    captions_NWL = tokenise_catalogue(tokenizer)
    model = build(tokenizer)

    def batch_loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(train_BCHW), (BATCH_SIZE,), generator=generator)
        wordings = torch.randint(captions_NWL.shape[1], (BATCH_SIZE,), generator=generator)
        pixel_values = photographed(to_float(train_BCHW[chosen]), generator)
        input_ids = captions_NWL[numbers[chosen], wordings]
        outputs = model(input_ids=input_ids, pixel_values=pixel_values)
        return shared_contrastive_loss(outputs.logits_per_image.float(), numbers[chosen])

    def held_out_error() -> float:
        return 1 - retrieval_accuracy(model, tokenizer, held_out_BCHW, held_out_garments)

    progress = Learner(model, schedule, work / "clip").fit(batch_loss, held_out_error)
    return model.eval(), progress


def tokenise(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
    """Token ids (N, L), padded to the full length as diffusers pads them."""
    tokens = tokenizer(
        list(captions), padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt"
    )
    return tokens.input_ids


def tokenise_catalogue(tokenizer: CLIPTokenizer) -> Tensor:
    """Every wording of every garment of the catalogue: (N, number of wordings, L)."""
    return torch.stack([tokenise(tokenizer, [g.caption(w) for w in range(len(WORDINGS))]) for g in catalogue()])


def photographed(pictures_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture turned, zoomed, shifted, mirrored, exposed and blurred a little differently, and noise; -1..1."""
    batch = len(pictures_BCHW)

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(batch, generator=generator) * (high - low) + low

    mirror, angle = torch.where(draw(0, 1) < 0.5, -1.0, 1.0), draw(-0.12, 0.12)
    zoom_x, zoom_y = draw(0.82, 1.12), draw(0.82, 1.12)
    rows = [mirror * zoom_x * angle.cos(), -zoom_x * angle.sin(), draw(-0.1, 0.1)]
    rows += [mirror * zoom_y * angle.sin(), zoom_y * angle.cos(), draw(-0.1, 0.1)]
    grid = F.affine_grid(torch.stack(rows, dim=1).reshape(batch, 2, 3), list(pictures_BCHW.shape), align_corners=False)
    moved = F.grid_sample(pictures_BCHW, grid, padding_mode="border", align_corners=False)
    soft = draw(0, 1).reshape(-1, 1, 1, 1)
    moved = soft * moved + (1 - soft) * F.avg_pool2d(moved, 3, stride=1, padding=1, count_include_pad=False)
    exposed = (moved + 1) * draw(0.85, 1.12).reshape(-1, 1, 1, 1) - 1
    noise = torch.randn(exposed.shape, generator=generator) * 0.03
    return (exposed + noise).clamp(-1, 1)


def shared_contrastive_loss(logits_BB: Tensor, numbers_B: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy (Radford et al. 2021, fig. 3); equal numbers share the target evenly."""
    same = (numbers_B[:, None] == numbers_B[None, :]).float()
    targets = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits_BB, targets) + F.cross_entropy(logits_BB.T, targets)) / 2


@torch.no_grad()
def catalogue_probabilities(model: CLIPModel, tokenizer: CLIPTokenizer, pictures_BCHW: Tensor) -> Tensor:
    """How much uint8 pictures look like each garment of the catalogue, by its first caption: (B, N), rows sum to 1."""
    captions = tokenise(tokenizer, [garment.caption() for garment in catalogue()])
    logits = [
        model(input_ids=captions, pixel_values=to_float(batch)).logits_per_image for batch in pictures_BCHW.split(64)
    ]
    return torch.cat(logits).float().softmax(dim=1)


def retrieval_accuracy(
    model: CLIPModel, tokenizer: CLIPTokenizer, pictures_BCHW: Tensor, garments: Sequence[Garment]
) -> float:
    """The share of pictures whose best caption of the whole catalogue is their own."""
    best = catalogue_probabilities(model, tokenizer, pictures_BCHW).argmax(dim=1)
    return sum(catalogue()[index] == garment for index, garment in zip(best.tolist(), garments, strict=True)) / len(
        garments
    )


def attribute_accuracy(
    model: CLIPModel, tokenizer: CLIPTokenizer, pictures_BCHW: Tensor, garments: Sequence[Garment]
) -> dict[str, float]:
    """For kind, colour and pattern: how often the most probable one, summed over the catalogue, is the true one."""
    probabilities = catalogue_probabilities(model, tokenizer, pictures_BCHW)
    return {name: _attribute_accuracy(probabilities, garments, name) for name in ATTRIBUTES}


def _attribute_accuracy(probabilities_BN: Tensor, garments: Sequence[Garment], name: str) -> float:
    of_catalogue = [getattr(garment, name) for garment in catalogue()]
    values = sorted(set(of_catalogue))
    membership = torch.tensor([[value == other for value in values] for other in of_catalogue], dtype=torch.float32)
    best = (probabilities_BN @ membership).argmax(dim=1).tolist()
    return sum(values[index] == getattr(garment, name) for index, garment in zip(best, garments, strict=True)) / len(
        garments
    )
