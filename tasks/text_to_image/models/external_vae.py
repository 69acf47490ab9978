"""`model.vae`: a VAE in place of the base model's own, told apart and checked before anything is loaded.

It is a diffusers folder of a VAE or of a whole pipeline, a hub id of either (`owner/name` or `owner/name@revision`), or
a `.safetensors` file in the authors' layout or in diffusers'.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import list_repo_files, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from shared.config.schema import ModelConfig
from shared.errors import ModelError
from shared.files.publication import sha256
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.known import usual
from tasks.text_to_image.models import base_model
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.vae import require_decodable
from tasks.text_to_image.models.weights_header import choose_variant, folder_tensors, read_header

CLASS, SUBFOLDER = "AutoencoderKL", "vae"
DOWNSAMPLER = re.compile(r"encoder\.down(_blocks)?\.(\d+)\.downsample")
FIRST_LAYER = "decoder.conv_in.weight"
CURE = "take a VAE made for this family"


@dataclass(frozen=True)
class Latents:
    """What a VAE makes of a picture."""

    channels: int
    factor: int
    """Pixels per latent, along one side."""


def latents(vae: Mapping[str, Any], family: Family) -> Latents:
    """Of a VAE of the kind that a family has. vae: its configuration."""
    channels = vae.get("latent_channels") or vae.get("z_dim") or 4
    return Latents(int(channels), 2 ** (len(family.vae_channels(vae)) - 1))


def require_same_kind(kind: str, base: str, name: str) -> None:
    """Raises ModelError where a VAE is of another class than the base model's own."""
    if kind != base:
        raise ModelError(f"model.vae {name} is an {kind}, the base model's own is an {base}", CURE)


def require_own_layout(names: Collection[str], base: Collection[str], kind: str, name: str) -> None:
    """Raises ModelError for a single file whose tensors are not named as diffusers names them. kind: its class."""
    if set(names) != set(base):
        raise ModelError(
            f"model.vae {name} is no {kind} in diffusers' layout, and diffusers reads no other file of this kind",
            "give a folder or a hub id of a VAE made for this family",
        )


@dataclass(frozen=True)
class Source:
    """Where diffusers loads it from."""

    path: str
    """A folder, a file or a hub id."""
    subfolder: str = ""
    revision: str | None = None
    variant: str | None = None


def identify(settings: ModelConfig) -> dict[str, str]:
    """What `run.json` says of it: a fingerprint where it is local, a hub id's commit; nothing where there is none.

    Raises:
        ModelError: it is not there, no VAE of this kind, or none for this base model.
    """
    vae = settings.vae
    if vae is None:
        return {}
    files = _files(vae)
    if files:
        _require_suitable(files, settings)
    if _local(vae) is None:
        commit = _commit(vae, files)
        return {"vae_commit": commit} if commit else {}
    assert files
    return {"vae_fingerprint": sha256(files) if files.is_file() else base_model.folder_fingerprint(files)}


def pinned(settings: ModelConfig, identity: Mapping[str, str]) -> ModelConfig:
    """The settings that load the very commits of base model and VAE that `run.json` names."""
    settings = base_model.pinned(settings, identity)
    commit = identity.get("vae_commit")
    if not settings.vae or not commit:
        return settings
    return settings.model_copy(update={"vae": f"{_split(settings.vae)[0]}@{commit}"})


def source(vae: str) -> Source:
    """What to load, for a hub id by the files in the cache, else by those the hub lists.

    Raises:
        ModelError: as `identify`; or without .safetensors weights.
    """
    local, files = _local(vae), _files(vae)
    if local:
        assert files
        names = [] if files.is_file() else sorted(path.name for path in files.iterdir())
        return Source(str(files), variant=choose_variant({SUBFOLDER: names}, None, vae))
    path, revision = _split(vae)
    names = sorted(file.name for file in files.iterdir()) if files else []
    subfolder = SUBFOLDER if files and files.name == SUBFOLDER else ""
    if not any(name.endswith(base_model.WEIGHTS) for name in names):
        try:
            listed = list_repo_files(path, revision=revision)
        except (HfHubHTTPError, OSError):
            listed = list[str]()
        subfolder = SUBFOLDER if f"{SUBFOLDER}/config.json" in listed else subfolder
        names = [name.rpartition("/")[2] for name in listed if name.rpartition("/")[0] == subfolder]
    return Source(path, subfolder, revision, choose_variant({SUBFOLDER: names}, None, vae))


def require_same_latents(vae: Latents, base: Latents, name: str) -> None:
    """Raises ModelError where the denoiser cannot read this VAE's latents."""
    if vae != base:
        raise ModelError(
            f"model.vae {name} has latents of {vae.channels} channels at 1/{vae.factor} of the picture's side, "
            f"the base model reads {base.channels} at 1/{base.factor}",
            CURE,
        )


def _require_suitable(files: Path, settings: ModelConfig) -> None:
    name, family = str(settings.vae), base_model.family(settings.path, settings.revision) or usual()
    base = _base(settings, family)
    kind = _kind(base) if base else _kind(files)
    require_same_kind(_kind(files) if files.is_dir() else kind, kind, name)
    if files.is_file() and kind != CLASS:
        if base:
            require_own_layout(read_header(files), folder_tensors(base / SUBFOLDER, None), kind, name)
        return
    found = _latents(files, family)
    if base is None:
        return
    require_same_latents(found, _latents(base, family), name)
    if files.is_dir():
        require_decodable(read_json(files / "config.json"), name, family.normalizations)


def _base(settings: ModelConfig, family: Family) -> Path | None:
    """The folder or file that has the base model's own VAE; None: it is not on this machine yet."""
    base = base_model.model_files(settings.path, settings.revision)
    if base and base.is_file() and family.completed_by:
        return base_model.model_files(settings.single_file_config or family.completed_by)
    return base


def _kind(files: Path) -> str:
    """The class of diffusers."""
    return CLASS if files.is_file() else str(_config(files).get("_class_name", CLASS))


def _config(files: Path) -> dict[str, Any]:
    folder = files / SUBFOLDER if (files / "model_index.json").is_file() else files
    return read_json(folder / "config.json")


def _commit(vae: str, files: Path | None) -> str | None:
    """As `base_model.resolve_commit`; files: the folder in the cache."""
    if files is None:
        return base_model.resolve_commit(*_split(vae))
    return (files.parent if files.name == SUBFOLDER else files).name


def _latents(files: Path, family: Family) -> Latents:
    return _latents_of_file(files) if files.is_file() else latents(_config(files), family)


def _latents_of_file(file: Path) -> Latents:
    tensors = read_header(file)
    shapes = [tensor.shape for name, tensor in tensors.items() if name.endswith(FIRST_LAYER)]
    if not shapes:
        raise ModelError(f"{file} holds no VAE", "give the VAE's own file, or a checkpoint that has one")
    levels = {match[2] for name in tensors if (match := DOWNSAMPLER.search(name))}
    return Latents(shapes[0][1], 2 ** len(levels))


def _files(vae: str) -> Path | None:
    """The folder with its config.json, or the file; None: a hub id that is not in the cache."""
    local = _local(vae)
    if local is None:
        path, revision = _split(vae)
        for name in (f"{SUBFOLDER}/config.json", "config.json"):
            if isinstance(cached := try_to_load_from_cache(path, name, revision=revision), str):
                return Path(cached).parent
        return None
    if local.is_file():
        return local
    folder = local / SUBFOLDER if (local / "model_index.json").is_file() else local
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"model.vae {vae} is not a diffusers VAE folder", "give a folder with a config.json beside the weights"
        )
    return folder


def _local(vae: str) -> Path | None:
    """An existing folder or .safetensors file; None: a hub id."""
    place = Path(vae)
    if place.is_dir():
        return place
    if place.is_file():
        if place.suffix != base_model.WEIGHTS:
            raise ModelError(
                f"model.vae {vae} is not a .safetensors file",
                "convert it to .safetensors: pickled weights are never opened",
            )
        return place
    if base_model.HUB_ID.fullmatch(_split(vae)[0]) and not place.parent.is_dir():
        return None
    raise ModelError(f"model.vae {vae!r} does not exist", "give a diffusers folder, a .safetensors file or a hub id")


def _split(vae: str) -> tuple[str, str | None]:
    path, _, revision = vae.partition("@")
    return path, revision or None
