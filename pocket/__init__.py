"""The pocket models: a Stable Diffusion, a flow base and a CLIP of a few MB, trained from scratch by this package.

Everything Darkroom does can run on them with no download and no GPU. They know the garments of
`pocket.lessons.garments` and nothing else; they stand in for real models and are never presented as such. Importing
this package loads nothing.
"""

from pathlib import Path

STABLE_DIFFUSION = Path(__file__).parent / "stable-diffusion"
"""A folder for `StableDiffusionPipeline.from_pretrained`."""

SMALL_VAE = STABLE_DIFFUSION / "vae"
"""A folder for `AutoencoderKL.from_pretrained`: 8 latent channels, enough for glyphs, not for small checks."""

CLIP = Path(__file__).parent / "clip"
"""A folder for `CLIPModel.from_pretrained` and `CLIPProcessor.from_pretrained`."""

Z_IMAGE = Path(__file__).parent / "z-image"
"""A folder for `ZImagePipeline.from_pretrained`: a flow transformer on a crisp VAE."""
