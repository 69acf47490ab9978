"""`model.vae`: a VAE in place of the base model's own, told apart and checked before anything is loaded.

It is a diffusers folder of a VAE or of a whole pipeline, a hub id of either (`owner/name` or `owner/name@revision`), or
a `.safetensors` file in the authors' layout or in diffusers'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import list_repo_files, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from shared.config.schema import ModelConfig
from shared.errors import ModelError
from shared.files.publication import sha256
from tasks.text_to_image.models import base_model
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.vae import require_decodable
from tasks.text_to_image.models.weights_header import choose_variant, read_header

CLASS, SUBFOLDER = "AutoencoderKL", "vae"
DOWNSAMPLER = re.compile(r"encoder\.down(_blocks)?\.(\d+)\.downsample")
FIRST_LAYER = "decoder.conv_in.weight"


@dataclass(frozen=True)
class Latents:
    """What a VAE makes of a picture."""

    channels: int
    factor: int
    """Pixels per latent, along one side."""


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
            "take a VAE made for this family",
        )


def _require_suitable(files: Path, settings: ModelConfig) -> None:
    name, base = str(settings.vae), base_model.model_files(settings.path, settings.revision)
    latents = _latents(files, name)
    if base is None:
        return
    require_same_latents(latents, _latents(base, settings.path), name)
    if files.is_dir():
        family = base_model.family(settings.path, settings.revision)
        undone = family.normalizations if family else ()
        require_decodable(read_json(files / "config.json"), name, undone)


def _commit(vae: str, files: Path | None) -> str | None:
    """As `base_model.resolve_commit`; files: the folder in the cache."""
    if files is None:
        return base_model.resolve_commit(*_split(vae))
    return (files.parent if files.name == SUBFOLDER else files).name


def _latents(files: Path, name: str) -> Latents:
    if files.is_file():
        return _latents_of_file(files)
    folder = files / SUBFOLDER if (files / "model_index.json").is_file() else files
    config = read_json(folder / "config.json")
    if (kind := config.get("_class_name", CLASS)) != CLASS:
        raise ModelError(f"{name} is an {kind}; only {CLASS} can be trained with", "take a VAE made for this family")
    return Latents(int(config.get("latent_channels", 4)), 2 ** (len(config.get("block_out_channels", (0,))) - 1))


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
