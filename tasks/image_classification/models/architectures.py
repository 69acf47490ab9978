"""Networks by the names that people know them by, as configurations of transformers. Never imports torch."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ConfigError, ModelError
from tasks.image_classification.settings import Settings

WIDE, NARROW = [256, 512, 1024, 2048], [64, 128, 256, 512]


@dataclass(frozen=True)
class Architecture:
    """A network without its weights."""

    kind: str
    """`model_type` of transformers."""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    pretrained: str = ""
    """Hub id of its usual weights."""

    def config_fields(self, settings: Settings) -> dict[str, Any]:
        """Of its configuration, those of `arch_args` included."""
        size = {"image_size": settings.img_size} if self.kind in SIZED else {}
        return {**self.fields, **size, **settings.arch_args}


SIZED = ("vit", "deit", "beit", "swin", "swinv2", "dinov2", "hiera", "mobilevit", "mobilevitv2", "vit_msn")
"""Types whose configuration names the size of pictures, for positions depend on it."""


def _resnet(depths: list[int], *, basic: bool, hub: str = "") -> Architecture:
    kind = {"layer_type": "basic" if basic else "bottleneck", "hidden_sizes": NARROW if basic else WIDE}
    return Architecture("resnet", {"depths": depths, "embedding_size": 64, **kind}, hub)


def _vit(width: int, layers: int, heads: int, hub: str = "") -> Architecture:
    fields = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "patch_size": 16}
    return Architecture("vit", {**fields, "intermediate_size": 4 * width}, hub)


NAMED = {
    "resnet18": _resnet([2, 2, 2, 2], basic=True, hub="microsoft/resnet-18"),
    "resnet26": _resnet([2, 2, 2, 2], basic=False, hub="microsoft/resnet-26"),
    "resnet34": _resnet([3, 4, 6, 3], basic=True, hub="microsoft/resnet-34"),
    "resnet50": _resnet([3, 4, 6, 3], basic=False, hub="microsoft/resnet-50"),
    "resnet101": _resnet([3, 4, 23, 3], basic=False, hub="microsoft/resnet-101"),
    "resnet152": _resnet([3, 8, 36, 3], basic=False, hub="microsoft/resnet-152"),
    "vit_tiny": _vit(192, 12, 3, "WinKawaks/vit-tiny-patch16-224"),
    "vit_small": _vit(384, 12, 6, "WinKawaks/vit-small-patch16-224"),
    "vit_base": _vit(768, 12, 12, "google/vit-base-patch16-224"),
    "vit_large": _vit(1024, 24, 16, "google/vit-large-patch16-224"),
}
"""Depths and widths: He et al. 2016, table 1; Dosovitskiy et al. 2021, table 1, and Touvron et al. 2021, table 1."""
TYPES = frozenset(
    {
        *("beit", "bit", "convnext", "convnextv2", "cvt", "deit", "dinov2", "efficientnet", "focalnet", "hiera"),
        *("levit", "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "poolformer", "pvt", "pvt_v2", "regnet"),
        *("resnet", "swiftformer", "swin", "swinv2", "vit", "vit_msn"),
    }
)
"""Types of transformers that need pictures and nothing else, with the configuration that is their default."""


def of(settings: Settings) -> Architecture:
    """The network that `arch` names.

    Raises:
        ConfigError: there is none of this name.
        ModelError: it is one of timm's, which is not installed, or cannot be used with the torch that is.
    """
    name = settings.arch.strip()
    plain = name.lower().replace("-", "").replace("_", "")
    for known, found in NAMED.items():
        if plain == known.replace("_", ""):
            return found
    if name in TYPES:
        return Architecture(name)
    if name.startswith("timm/") or "." in name:
        return _of_timm(name)
    near = difflib.get_close_matches(name, [*NAMED, *TYPES], n=1)
    raise ConfigError(
        f"image_classification.arch is {name!r}, which is not known" + (f", did you mean {near[0]}?" if near else ""),
        f"choose {', '.join(NAMED)}, a type of transformers ({', '.join(sorted(TYPES))}), or timm/NAME",
    )


def hub_id(settings: Settings) -> str:
    """Where the weights lie that `pretrained` asks for.

    Raises:
        ConfigError: there are none that this architecture is known for.
    """
    found = of(settings)
    if not found.pretrained:
        raise ConfigError(
            f"image_classification.pretrained is set, but no weights of {settings.arch} are known",
            "set model.path to a folder or hub id of an image classifier, and leave pretrained out",
        )
    return found.pretrained


def _of_timm(name: str) -> Architecture:
    lacking = [module for module in ("timm", "torchvision") if importlib.util.find_spec(module) is None]
    if lacking:
        raise ModelError(
            f"image_classification.arch is {name!r}, a network of timm, and {' and '.join(lacking)} "
            f"{'are' if len(lacking) > 1 else 'is'} not installed",
            f"pip install {' '.join(lacking)}, or choose one of transformers: {', '.join(NAMED)}",
        )
    torch, torchvision = (importlib.metadata.version(module) for module in ("torch", "torchvision"))
    if torch.endswith("+cpu") and "+" not in torchvision:  # importing it fails, and with it transformers
        raise ModelError(
            f"image_classification.arch is {name!r}, and torchvision {torchvision} is made for CUDA, "
            f"unlike torch {torch}",
            f"install torchvision {torchvision}+cpu from the index that torch came from, or uninstall torchvision and "
            f"choose one of {', '.join(NAMED)}",
        )
    return Architecture(
        "timm_wrapper", {"architecture": name.removeprefix("timm/")}, f"timm/{name.removeprefix('timm/')}"
    )
