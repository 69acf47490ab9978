"""The network: as it is before the first step, with its classes, and as the files of a snapshot.

A snapshot is a folder that `AutoModelForImageClassification.from_pretrained` loads. It always holds the whole network;
what a LoRA has learnt is merged into it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from safetensors.torch import save as serialized
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.data import dataset
from shared.errors import ModelError
from shared.files.json_text import parse_json
from shared.files.publication import sha256
from shared.files.replacing import replace_file
from tasks import data_order
from tasks.image_classification.models import architectures, weights
from tasks.image_classification.models.tensors import read_tensors
from tasks.image_classification.settings import Settings

State = dict[str, Tensor]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class Normalization:
    """What is subtracted from the colours of a picture, 0…1, and what they are then divided by; of each channel."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def pixels(self, pictures_BHWC: Tensor) -> Tensor:
        """(B, 3, H, W), float32, of bytes (B, H, W, 3)."""
        mean_C, std_C = (torch.tensor(values, dtype=torch.float32) for values in (self.mean, self.std))
        return ((pictures_BHWC.float() / 255 - mean_C) / std_C).permute(0, 3, 1, 2).contiguous()


class Classifier(nn.Module):
    """A network of transformers that gives nothing but scores."""

    def __init__(self, network: PreTrainedModel | Any, img_size: int) -> None:
        super().__init__()
        self.network = network
        accepted = inspect.signature(network.forward).parameters
        other_size = getattr(network.config, "image_size", img_size) not in (img_size, [img_size] * 2)
        self._options = (
            {"interpolate_pos_encoding": True} if other_size and "interpolate_pos_encoding" in accepted else {}
        )

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Scores before softmax. (B, number of classes), float32."""
        return self.network(pixel_values=pixels_BCHW, **self._options).logits.float()


def fresh(config: Config, classes: Sequence[str], identity: Mapping[str, str]) -> Classifier:
    """The network before the first step, on the CPU; random weights depend on `train.seed` alone.

    identity: the recorded base model.

    Raises:
        ModelError: the weights to begin from are not to be had, or do not fit.
        ConfigError: the architecture is unknown, or its configuration has no such field.
    """
    settings = own_settings(config, Settings)
    names = {"id2label": dict(enumerate(classes)), "label2id": {name: index for index, name in enumerate(classes)}}
    torch.manual_seed(data_order.derive(config.train.seed, "network", 0))
    place = weights.source(config)
    if place is None or weights.is_file_of_tensors(place):
        network: Any = _of_arch(settings, names)
        if place is not None:
            _adopt(network, _tensors(Path(place), config, identity), place)
    else:
        network = _pretrained(place, config.model.revision or identity.get("commit"), names)
    return Classifier(network.float(), settings.img_size)


def normalization(config: Config) -> Normalization:
    """As the weights to begin from want it; that of ImageNet where they say nothing."""
    place = weights.source(config)
    file = Path(place) / PREPROCESSOR if place else None
    if file is None or not file.is_file():
        return Normalization()
    tree = parse_json(file.read_text(encoding="utf-8"))
    return Normalization(tuple(tree.get("image_mean") or IMAGENET_MEAN), tuple(tree.get("image_std") or IMAGENET_STD))


def described(network: Any) -> dict[str, Any]:
    """The content of `config.json`."""
    return network.config.to_dict() | {"architectures": [type(network).__name__]}


def save(folder: Path, description: dict[str, Any], state: State, img_size: int, how: Normalization) -> None:
    """Write the files of a snapshot. description: by `described`. state: of the whole network."""
    save_file({key: value.contiguous() for key, value in state.items()}, folder / weights.WEIGHTS, {"format": "pt"})
    (folder / weights.CONFIG).write_text(json.dumps(description, indent=2, default=str), encoding="utf-8")
    preprocessor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": img_size, "width": img_size},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(how.mean),
        "image_std": list(how.std),
    }
    (folder / PREPROCESSOR).write_text(json.dumps(preprocessor, indent=2), encoding="utf-8")


def load(folder: Path, network: nn.Module) -> None:
    """Put the weights of a snapshot into a network.

    Raises:
        ModelError: they are of another network.
    """
    try:
        network.load_state_dict(load_file(folder / weights.WEIGHTS))
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"{folder / weights.WEIGHTS} does not fit the network: {reason}", "restore the snapshot"
        ) from None


def _of_arch(settings: Settings, names: dict[str, Any]) -> Any:
    arch = architectures.of(settings)
    fields = arch.config_fields(settings)
    try:
        if arch.kind == "timm_wrapper":
            return AutoModelForImageClassification.from_config(
                AutoConfig.for_model(arch.kind, **fields, num_labels=len(names["id2label"]), **names)
            )
        return AutoModelForImageClassification.from_config(AutoConfig.for_model(arch.kind, **fields, **names))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelError(
            f"{settings.arch} cannot be built with image_classification.arch_args {settings.arch_args} and img_size "
            f"{settings.img_size}: {error}",
            "change image_classification.arch_args or img_size",
        ) from None


def _pretrained(place: str, revision: str | None, names: dict[str, Any]) -> Any:
    """With a fresh layer for the classes, unless the weights have as many."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # that the last layer is fresh is meant
    try:
        return AutoModelForImageClassification.from_pretrained(
            place, revision=revision, ignore_mismatched_sizes=True, use_safetensors=True, **names
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"the weights {place} cannot be loaded: {reason}",
            f"download them (hf download {place}) and set model.path to the folder, or leave image_classification."
            "pretrained out to begin from random weights",
        ) from None
    finally:
        transformers_logging.set_verbosity(verbosity)


def _tensors(file: Path, config: Config, identity: Mapping[str, str]) -> State:
    """Of a file that another trainer has saved by pickle, converted once: from then on safetensors are read."""
    if file.suffix.lower() not in weights.CONVERTED:
        return read_tensors(file)
    kept = dataset.cache_dir(config) / "weights" / f"{identity.get('fingerprint') or sha256(file)}.safetensors"
    if not kept.is_file():
        found = {name: value.contiguous() for name, value in read_tensors(file).items()}
        kept.parent.mkdir(parents=True, exist_ok=True)
        replace_file(kept, serialized(found))
    return read_tensors(kept)


def _adopt(network: Any, tensors: State, place: str) -> None:
    """Take over what fits by name and shape: everything but the layer of the classes must.

    Raises:
        ModelError: something else is missing, or has another shape.
    """
    own = network.state_dict()
    fitting = {key: value for key, value in tensors.items() if key in own and value.shape == own[key].shape}
    lacking = [key for key in own if key not in fitting and not key.startswith(("classifier", "head", "fc"))]
    if lacking:
        raise ModelError(
            f"{place} does not fit the network: {len(lacking)} of {len(own)} tensors are missing or of another shape, "
            f"such as {lacking[0]}",
            "set image_classification.arch and arch_args to the network that it is of",
        )
    network.load_state_dict(own | fitting)
