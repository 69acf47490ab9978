"""Where a base model is and of which family, told before anything is loaded.

`pocket` is the embedded miniature Stable Diffusion; a folder must be a diffusers pipeline; a file must be
`.safetensors`; anything else of the form `owner/name` is a hub id, which only loading can check.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import list_repo_files, resolve_revision, try_to_load_from_cache
from huggingface_hub.errors import (
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from shared.config.path_settings import KEYWORDS
from shared.config.schema import POCKET, ModelConfig
from shared.errors import ConfigError, ModelError
from shared.files.publication import sha256
from shared.models import noise_schedule, vae
from shared.models.noise_schedule import NoiseSchedule, Statement
from shared.models.weights_header import (
    DENOISERS_AND_ENCODERS,
    WEIGHTS_FILE,
    TensorShape,
    choose_variant,
    names_in,
    read_header,
    read_metadata,
    sampled_digest,
)
from shared.run_folder.records import combined_digest

Family = Literal["sd1", "sd2", "sdxl"]

POCKET_STABLE_DIFFUSION = Path(__file__).resolve().parents[2] / "pocket" / "stable-diffusion"
POCKET_CLIP = Path(__file__).resolve().parents[2] / "pocket" / "clip"
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
PIPELINE_PARTS = {
    "StableDiffusionPipeline": PARTS,
    "StableDiffusionXLPipeline": (*PARTS, "text_encoder_2", "tokenizer_2"),
}
FAMILY_PREFIXES: dict[str, Family] = {
    "conditioner.embedders.1.": "sdxl",
    "cond_stage_model.model.": "sd2",
    "cond_stage_model.transformer.": "sd1",
}
ARCHITECTURE = re.compile(r"(?:stable-diffusion|sd)[-_]?v?(xl|1|2)")
"""How `modelspec.architecture` begins for the families that can be trained."""
FAMILY_NAMES: dict[Family, str] = {"sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL"}
FIRST_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
INPAINTING_CHANNELS = 9
HALVINGS = (
    re.compile(r"model\.diffusion_model\.input_blocks\.\d+\.0\.op\.weight"),
    re.compile(r"first_stage_model\.encoder\.down\.\d+\.downsample\.conv\.weight"),
)
"""The layers of a single file that halve a picture's sides."""
WEIGHTS = ".safetensors"
READ = frozenset({".json", ".txt", ".model", WEIGHTS})
"""Endings of the files of a model's folder that are read."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(path: str) -> str:
    """The path or hub id to load from: `pocket` becomes its folder."""
    return str(POCKET_STABLE_DIFFUSION) if path == POCKET else path


def identify(
    path: str, *, revision: str | None = None, variant: str | None = None, digest: Callable[[Path], str] = sha256
) -> dict[str, str]:
    """What `run.json` says of the base model: its path, a fingerprint where it is local, a hub id's commit.

    digest: of a single file.

    Raises:
        ModelError: a local path that is no model, or one that cannot be trained or loaded with this variant; or a text
            that is neither a path nor a hub id; or a hub id or revision that the hub does not have.
    """
    local = _local(path)
    if local is None:
        commit = resolve_commit(path, revision)
        return {"path": path, "commit": commit} if commit else {"path": path}
    if revision:
        raise ModelError(
            f"model.revision is {revision!r}, and model.path is on this disk",
            "remove model.revision: only a hub id has revisions",
        )
    if local.is_dir():
        parts = _parts(local)
        _require_trainable(local)
        choose_variant(names_in(local), variant, str(local))
        return {"path": path, "fingerprint": folder_fingerprint(local, parts)}
    if variant:
        raise ModelError(
            f"model.variant is {variant!r}, and model.path is a single file", "remove model.variant: a file has none"
        )
    _file_family(local)
    return {"path": path, "fingerprint": digest(local)}


def resolve_commit(path: str, revision: str | None = None) -> str | None:
    """The commit a hub id stands for: the one in the local cache, else the hub's; None: the hub is out of reach.

    Raises:
        ModelError: the hub has no such model or revision, or does not give it to this person.
    """
    if files := model_files(path, revision):
        return files.name  # the cache names a snapshot's folder by its commit
    try:
        return resolve_revision(path, revision=revision).resolved
    except RevisionNotFoundError:
        raise ModelError(
            f"{path} has no revision {revision!r}", "choose a branch or tag that its page on the hub lists"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"the hub does not have {path}, or does not give it to you",
            "check the name; `hf auth login` opens private and gated models",
        ) from None
    except (RevisionResolutionError, HfHubHTTPError, OSError):
        return None


def pinned(settings: ModelConfig, identity: Mapping[str, str]) -> ModelConfig:
    """The settings that load the very commit that `run.json` names, whatever the hub has become since."""
    commit = identity.get("commit")
    return settings.model_copy(update={"revision": commit}) if commit else settings


def hub_variant(settings: ModelConfig) -> str | None:
    """The variant to load of a hub id: by the files in the cache where every part has weights there, else by the hub's.

    Raises:
        ModelError: as `choose_variant`.
    """
    folder = model_files(settings.path, settings.revision)
    names = names_in(folder) if folder else {}
    if not names or not all(any(map(WEIGHTS_FILE.match, found)) for found in names.values()):
        with contextlib.suppress(HfHubHTTPError, OSError):
            names = _hub_names(settings)
    return choose_variant(names, settings.variant, settings.path)


def _hub_names(settings: ModelConfig) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for file in list_repo_files(settings.path, revision=settings.revision):
        part, _, name = file.partition("/")
        if part in DENOISERS_AND_ENCODERS:
            names.setdefault(part, []).append(name)
    return names


def is_same(path: str, fingerprint: str, digest: Callable[[Path], str] = sha256) -> bool:
    """Whether the model at `path` is the one that `run.json` has this fingerprint of. digest: of a single file.

    Raises:
        ModelError: as `identify`.
    """
    local = _local(path)
    if local is None:
        return False
    if identify(path, digest=digest)["fingerprint"] == fingerprint:
        return True
    return local.is_dir() and _sizes_fingerprint(local) == fingerprint


def folder_fingerprint(folder: Path, parts: Sequence[str] = ()) -> str:
    """sha256 over what programs read of a model's folder: settings, vocabularies, a sample of every weight.

    The same wherever the folder lies, and whatever else lies in it. parts: the folders in it that count; else all.
    """
    tops = [folder / part for part in parts] or [folder]  # a part may be a link, which rglob follows at the top only
    files = {path for top in tops for path in top.rglob("*")} | set(folder.glob("*.json"))
    return combined_digest(
        f"{path.relative_to(folder).as_posix()}:{_file_digest(path)}"
        for path in files
        if path.suffix in READ and path.is_file() and not _is_hidden(path.relative_to(folder))
    )


def local_folder(path: str | None) -> Path | None:
    """The folder a setting names; None: a hub id, a keyword, or not there."""
    folder = Path(path) if path and path not in KEYWORDS else None
    return folder if folder and folder.is_dir() else None


def family(path: str, revision: str | None = None) -> Family | None:
    """SD 1.x, SD 2.x or SDXL, read from configuration files or a file's header; None: a hub id not yet downloaded.

    Raises:
        ModelError: as `identify`, or a model of another family.
    """
    files = model_files(path, revision)
    if files is None:
        return None
    if files.is_file():
        return _file_family(files)
    _require_trainable(files)
    return _folder_family(files)


def schedule(path: str) -> NoiseSchedule | None:
    """The noise schedule that the model's own files state; None: they do not, or it is not downloaded yet.

    Raises:
        ModelError: as `family`.
    """
    files = model_files(path)
    said = statement(files) if files else Statement()
    return NoiseSchedule.of(said.prediction_type, said.zero_terminal_snr) if said.prediction_type else None


def statement(files: Path) -> Statement:
    """What a folder's scheduler, or a single file, says of the noise schedule.

    Raises:
        ModelError: it is of a kind that cannot be trained.
    """
    if files.is_file():
        said = noise_schedule.of_file(files)
        return replace(said, notices=(*said.notices, *_misnamed(files)))
    config = files / "scheduler" / "scheduler_config.json"
    if not config.is_file():
        return Statement()
    _, name = read_json(files / "model_index.json").get("scheduler") or (None, None)
    return noise_schedule.of_scheduler(read_json(config), str(files), name)


def _require_trainable(folder: Path) -> None:
    """What a folder's configuration files tell of noise schedule and VAE."""
    statement(folder)
    config = folder / "vae" / "config.json"
    undone = ("latents_mean", "latents_std") if _pipeline_class(folder) == "StableDiffusionXLPipeline" else ()
    if config.is_file():
        vae.require_decodable(read_json(config), str(folder), undone)


def require_same_description(settings: ModelConfig) -> None:
    """Raises ConfigError where `model.single_file_config` is no folder, or describes another family than the file's."""
    described = settings.single_file_config
    if not described:
        return
    place = Path(resolve(described))
    if not place.is_dir() and (place.parent.is_dir() or not HUB_ID.fullmatch(described)):
        problem = "is no folder" if place.exists() else "does not exist"
        raise ConfigError(f"model.single_file_config {described!r} {problem}", "give a diffusers folder or a hub id")
    file, folder = model_files(settings.path, settings.revision), model_files(described)
    if file is None or folder is None or not file.is_file():
        return
    own, other = _file_family(file), _folder_family(folder)
    if own != other:
        raise ConfigError(
            f"model.single_file_config is {FAMILY_NAMES[other]}, the file is {FAMILY_NAMES[own]}",
            f"set model.single_file_config to the diffusers folder of a model of {FAMILY_NAMES[own]}, or leave it out",
        )


def has_linear_projections(settings: ModelConfig) -> bool | None:
    """Whether transformer blocks project by linear layers instead of convolutions; None: a hub id not yet downloaded.

    Raises:
        ModelError: as `family`.
    """
    files = model_files(settings.path, settings.revision)
    if files is None:
        return None
    if files.is_file():
        return _file_family(files) != "sd1"
    config = files / "unet" / "config.json"
    return bool(read_json(config).get("use_linear_projection")) if config.is_file() else None


def size_multiple(settings: ModelConfig) -> int | None:
    """What a picture's sides must be multiples of, in pixels; None: the model's files here do not say.

    The VAE's factor times the denoiser's: each level but the last halves.
    """
    folder = model_files(settings.path, settings.revision)
    if folder and folder.is_file():
        if not settings.single_file_config:
            return 2 ** sum(any(pattern.fullmatch(name) for pattern in HALVINGS) for name in read_header(folder))
        folder = model_files(settings.single_file_config)
    if folder is None:
        return None
    try:
        levels = [len(read_json(folder / part / "config.json")["block_out_channels"]) for part in ("unet", "vae")]
    except (ModelError, KeyError, TypeError):
        return None
    return 2 ** (sum(levels) - len(levels))


def require_clip_skip(clip_skip: int, family: Family | None) -> None:
    """Raises ConfigError where a family is read at one fixed layer, whatever is asked for. family: None: not known."""
    if clip_skip > 1 and family == "sdxl":
        raise ConfigError(
            f"model.clip_skip is {clip_skip}, but the model is SDXL, whose text encoders are always read at their last "
            "layer but one",
            "remove model.clip_skip: for SDXL it has no effect in other programs either",
        )


def guess_family(hub_id: str) -> Family:
    """What a hub id's name suggests; for advice only, before anything of it is here."""
    name = hub_id.rpartition("/")[2].lower()
    if "xl" in name:
        return "sdxl"
    return "sd2" if re.search(r"(diffusion|sd)-?v?2", name) else "sd1"


def model_files(path: str, revision: str | None = None) -> Path | None:
    """The folder or file to read, a hub id's from the local cache; None: a hub id not yet downloaded.

    Raises:
        ModelError: as `identify`.
    """
    local = _local(path)
    if local is not None:
        return local
    index = try_to_load_from_cache(path, "model_index.json", revision=revision)
    return Path(index).parent if isinstance(index, str) else None


def _local(path: str) -> Path | None:
    """An existing folder or .safetensors file; None: a hub id."""
    local = Path(resolve(path))
    if local.is_dir():
        return local
    if local.is_file():
        if local.suffix != ".safetensors":
            raise ModelError(
                f"{local} is not a .safetensors file",
                "convert it to .safetensors: pickled checkpoints are never opened",
            )
        return local
    if HUB_ID.fullmatch(path) and not local.parent.is_dir():
        return None
    raise ModelError(f"model.path {path!r} does not exist", "give a diffusers folder, a .safetensors file or a hub id")


def _folder_family(folder: Path) -> Family:
    """By pipeline class, then by the width of the text the UNet reads: 768 is SD 1.x, 1024 is SD 2.x.

    A miniature has neither width; SD 2.x is then told by its linear projections.
    """
    if _pipeline_class(folder) == "StableDiffusionXLPipeline":
        return "sdxl"
    unet = read_json(folder / "unet" / "config.json")
    known: dict[Any, Family] = {768: "sd1", 1024: "sd2"}
    return known.get(unet.get("cross_attention_dim"), "sd2" if unet.get("use_linear_projection") else "sd1")


def _misnamed(path: Path) -> tuple[str, ...]:
    """A sentence where a file's header names another architecture than its tensors are of."""
    said, found = read_metadata(path).get(noise_schedule.ARCHITECTURE_KEY, ""), _file_family(path)
    known = ARCHITECTURE.match(said.lower())
    if not said or (known and f"sd{known[1]}" == found):
        return ()
    return (f"the header of {path.name} says {said!r}, but its tensors are of {FAMILY_NAMES[found]}: these count",)


def _file_family(path: Path) -> Family:
    noise_schedule.of_file(path)
    tensors = read_header(path)
    channels = tensors.get(FIRST_CONVOLUTION, TensorShape((0, 0), "")).shape[1]
    for prefix, found in FAMILY_PREFIXES.items():
        if channels != INPAINTING_CHANNELS and any(name.startswith(prefix) for name in tensors):
            return found
    kind = "an in-painting model" if channels == INPAINTING_CHANNELS else "not a whole SD 1.x, SD 2.x or SDXL model"
    raise ModelError(
        f"{path} is {kind}", "choose a text-to-image checkpoint with UNet, VAE and text encoder in one file"
    )


def _pipeline_class(folder: Path) -> str:
    """The supported pipeline class a folder names."""
    index = folder / "model_index.json"
    pipeline = read_json(index).get("_class_name")
    if pipeline is None:
        raise _not_a_model(index)
    if pipeline not in PIPELINE_PARTS:
        raise ModelError(
            f"{folder} is a {pipeline}; only {' and '.join(PIPELINE_PARTS)} (SD 1.x, SD 2.x, SDXL) are supported",
            "choose an SD 1.x, SD 2.x or SDXL text-to-image model",
        )
    return pipeline


def read_json(path: Path) -> dict[str, Any]:
    """A configuration file of a model folder.

    Raises:
        ModelError: it is missing or damaged.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise _not_a_model(path) from None


def _not_a_model(file: Path) -> ModelError:
    return ModelError(
        f"{file.parent} is not a diffusers model folder",
        f"give a folder with a {file.name}, as `save_pretrained` writes it",
    )


def _parts(folder: Path) -> tuple[str, ...]:
    """The folders a pipeline is made of.

    Raises:
        ModelError: it is no pipeline, or some are missing.
    """
    parts = PIPELINE_PARTS[_pipeline_class(folder)]
    missing = [part for part in parts if not (folder / part).is_dir()]
    if missing:
        raise ModelError(f"{folder} lacks {', '.join(missing)}", "download the whole folder again")
    return parts


def _file_digest(path: Path) -> str:
    if path.suffix != WEIGHTS:
        return sha256(path)
    try:
        return sampled_digest(path)
    except ModelError:  # it is damaged, which whoever loads it says
        return str(path.stat().st_size)


def _is_hidden(path: Path) -> bool:
    return any(name.startswith(".") for name in path.parts)


def _sizes_fingerprint(folder: Path) -> str:
    """What older run folders have: over the JSON files' content, and every other file's name and size."""
    return combined_digest(
        f"{path.relative_to(folder)}:{sha256(path) if path.suffix == '.json' else path.stat().st_size}"
        for path in folder.rglob("*")
        if path.is_file()
    )
