"""The trained network, as the one module that accelerate wraps.

Shapes: B micro-batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

from torch import Tensor, nn

from tasks.text_to_image.families.model import Conditioning, Model


class Predictor(nn.Module):
    """The denoiser, and the text encoders if they are trained, in one module: all gradients are synchronised."""

    def __init__(self, model: Model, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.parts = nn.ModuleDict(parts)

    def forward(
        self, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, text: Conditioning | list[str], time_ids_B6: Tensor
    ) -> Tensor:
        """The denoiser's output; captions are encoded here if the text encoders are trained.

        Sizes stay in fp32, as pixels: half precision would round them to other sizes.
        """
        conditioning = self.model.encode_captions(text) if isinstance(text, list) else text
        dtype = self.model.dtype
        cast_conditioning = {
            name: value.to(dtype) if value.is_floating_point() else value for name, value in conditioning.items()
        }
        cast_conditioning["time_ids"] = time_ids_B6.float()
        return self.model.predict(noisy_latents_BCHW.to(dtype), timesteps_B, cast_conditioning)
