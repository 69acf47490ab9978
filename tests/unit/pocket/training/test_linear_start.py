from typing import Any

import pytest
import torch
from torch.nn import functional as F

from pocket.training.crisp_vae import CONFIG, LATENT_CHANNELS, build
from pocket.training.linear_start import LinearStart, principal_components


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """(4, 3, 32, 32), smooth, about -1..1."""
    noise = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return F.avg_pool2d(noise, 3, stride=1, padding=1) * 1.5


@pytest.fixture(scope="module")
def start(pictures: torch.Tensor) -> LinearStart:
    patches = F.pixel_unshuffle(torch.randn(300, 3, 8, 8, generator=torch.Generator().manual_seed(1)), 8).flatten(1)
    components, mean = principal_components(patches, LATENT_CHANNELS)
    torch.manual_seed(0)
    return LinearStart(components, mean + 0.1, CONFIG["block_out_channels"])


@torch.no_grad()
def test_the_chain_starts_at_the_principal_components_of_patches(start: LinearStart, pictures: torch.Tensor):
    patches = torch.randn(500, 12, generator=torch.Generator().manual_seed(2)) @ torch.diag(torch.arange(1.0, 13))
    components, mean = principal_components(patches, 5)
    assert torch.allclose(((patches - mean) @ components).std(dim=0), torch.ones(5), atol=1e-3)
    assert components[11, 0].abs() > components[:11, 0].abs().max()
    generator = torch.Generator().manual_seed(3)
    components, mean = torch.randn(192, LATENT_CHANNELS, generator=generator), torch.randn(192, generator=generator)
    chain = LinearStart(components, mean, CONFIG["block_out_channels"])
    expected = torch.einsum("bdhw,dk->bkhw", F.pixel_unshuffle(pictures, 8) - mean.reshape(1, -1, 1, 1), components)
    assert torch.allclose(chain.encode(pictures), expected, atol=1e-4)


@torch.no_grad()
def test_the_vae_computes_what_the_chain_computes(start: LinearStart, pictures: torch.Tensor):
    vae: Any = build(start)
    latents, drawn = start(pictures)
    distribution = vae.encode(pictures).latent_dist
    assert torch.allclose(distribution.mean, latents, atol=0.02 * latents.std().item())
    assert distribution.std.max() < 0.02
    assert torch.allclose(vae.decode(latents).sample, drawn, atol=0.02 * drawn.std().item())


@torch.no_grad()
def test_rescaling_keeps_the_pictures_and_normalises_the_latents(start: LinearStart, pictures: torch.Tensor):
    before = start(pictures)[1]
    std = start.partly_whitened(pictures, power=0.5)
    start.rescale(pictures, std)
    latents, after = start(pictures)
    assert std.square().mean() == pytest.approx(1, abs=1e-4)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert torch.allclose(latents.std(dim=(0, 2, 3)), std, rtol=1e-3)
    assert torch.allclose(before[..., 16:-16, 16:-16], after[..., 16:-16, 16:-16], atol=1e-4)
