"""Where a base model is and of which family, told before anything is loaded.

`pocket` and `pocket-flow` are the embedded miniatures; a folder must be a diffusers pipeline; a file must be
`.safetensors`; anything else of the form `owner/name` is a hub id, which only loading can check.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from huggingface_hub import list_repo_files, resolve_revision, try_to_load_from_cache
from huggingface_hub.errors import (
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from shared.config import targets
from shared.config.path_settings import KEYWORDS
from shared.config.schema import POCKET, ModelConfig
from shared.errors import ConfigError, ModelError, UnknownModelError
from shared.files.combined_digest import combined_digest
from shared.files.publication import sha256
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.known import EMBEDDED, FAMILIES, usual
from tasks.text_to_image.models import fresh_denoiser, part_classes, vae
from tasks.text_to_image.models.noise_schedule import ARCHITECTURE_KEY
from tasks.text_to_image.models.pipeline_folder import not_a_model, read_json
from tasks.text_to_image.models.weights_header import (
    WEIGHTS_FILE,
    choose_variant,
    names_in,
    read_header,
    read_metadata,
    sampled_digest,
)

POCKET_MODELS = Path(__file__).resolve().parents[3] / "pocket"
POCKET_CLIP = POCKET_MODELS / "clip"
EMBEDDED_FOLDERS = {name: POCKET_MODELS / family.folder for name, family in EMBEDDED.items()}
"""Keyword of `model.path` → the folder it stands for."""
POCKET_STABLE_DIFFUSION = EMBEDDED_FOLDERS[POCKET]
WEIGHTS = ".safetensors"
READ = frozenset({".json", ".txt", ".model", WEIGHTS})
"""Endings of the files of a model's folder that are read."""
WHOLE = "choose a text-to-image checkpoint with denoiser, VAE and text encoder in one file"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(path: str) -> str:
    """The path or hub id to load from: an embedded model's keyword becomes its folder."""
    return str(EMBEDDED_FOLDERS.get(path, path))


def embedded(path: str) -> str:
    """The keyword of the embedded model that is meant, by its keyword or its folder; empty: none."""
    place = Path(resolve(path)).expanduser().resolve()
    return next((name for name, folder in EMBEDDED_FOLDERS.items() if folder == place), "")


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
        choose_variant(names_in(local, weighted_parts()), variant, str(local))
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
    names = names_in(folder, weighted_parts()) if folder else {}
    if not names or not all(any(map(WEIGHTS_FILE.match, files)) for files in names.values()):
        with contextlib.suppress(HfHubHTTPError, OSError):
            names = _hub_names(settings)
    return choose_variant(names, settings.variant, settings.path)


def _hub_names(settings: ModelConfig) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for file in list_repo_files(settings.path, revision=settings.revision):
        part, _, name = file.partition("/")
        if part in weighted_parts():
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
    """Told by configuration files or a file's header; None: a hub id not yet downloaded.

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


def stated(path: str) -> str | None:
    """What the model's own files say that it predicts, in a phrase; None: nothing, or it is not downloaded yet.

    Raises:
        ModelError: as `family`.
    """
    files, model_family = model_files(path), family(path)
    return model_family.stated(files) if files and model_family else None


def misnamed(path: Path, family: Family) -> tuple[str, ...]:
    """A sentence where a file's header names another architecture than its tensors are of."""
    declared = read_metadata(path).get(ARCHITECTURE_KEY, "")
    if not declared or re.match(family.header_name, declared.lower()):
        return ()
    return (f"the header of {path.name} says {declared!r}, but its tensors are of {family.title}: these count",)


def _require_trainable(folder: Path) -> None:
    """What a folder's configuration files tell of noise schedule and VAE."""
    family, config = _folder_family(folder), folder / "vae" / "config.json"
    family.require_trainable(folder)
    if config.is_file():
        vae.require_decodable(read_json(config), str(folder), family.normalizations)


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
            f"model.single_file_config is {other.title}, the file is {own.title}",
            f"set model.single_file_config to the diffusers folder of a model of {own.title}, or leave it out",
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
        return _file_family(files).projects_linearly(None)
    family = _folder_family(files)
    config = files / family.denoiser / "config.json"
    return family.projects_linearly(read_json(config)) if config.is_file() else None


def size_multiple(settings: ModelConfig) -> int | None:
    """What a picture's sides must be multiples of, in pixels; None: the model's files here do not say."""
    folder = model_files(settings.path, settings.revision)
    if folder and folder.is_file():
        if not settings.single_file_config:
            return _file_family(folder).size_multiple_of_file(read_header(folder))
        folder = model_files(settings.single_file_config)
    if folder is None:
        return None
    try:
        family = _folder_family(folder)
        denoiser, vae = (read_json(folder / part / "config.json") for part in (family.denoiser, "vae"))
        return family.size_multiple(fresh_denoiser.read(settings.denoiser) if settings.denoiser else denoiser, vae)
    except (ModelError, KeyError, TypeError):
        return None


def require_denoiser(settings: ModelConfig) -> None:
    """Raises ConfigError where `model.denoiser` is no configuration of a denoiser, or does not fit the base model."""
    folder = model_files(settings.path, settings.revision)
    if settings.denoiser and (folder is None or folder.is_file()):
        fresh_denoiser.read(settings.denoiser)
    elif settings.denoiser and folder:
        fresh_denoiser.of(settings, _folder_family(folder), folder)


def require_known_targets(names: Iterable[str], own: Family | None) -> None:
    """Raises ConfigError where `lora.target_modules` names what the model's family has not. own: None: any family."""
    families = [own] if own else FAMILIES.values()
    presets = (targets.PRESETS, *(family.presets for family in families))  # a config spells out Stable Diffusion's
    ends = dict.fromkeys(end for named in presets for preset in named.values() for end in preset)
    targets.require_known(names, tuple(ends))


def guess_family(hub_id: str) -> Family:
    """What a hub id's name suggests; for advice only, before anything of it is here."""
    name = hub_id.rpartition("/")[2].lower()
    candidates = (family for family in reversed(FAMILIES.values()) if re.search(family.hub_name, name))
    return next(candidates, usual())


def family_or_guess(settings: ModelConfig) -> Family:
    """By the model's files, or by its name if it is not downloaded yet.

    Raises:
        ModelError: as `family`.
    """
    return family(settings.path, settings.revision) or guess_family(settings.path)


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
    """By the pipeline's class, and where several families have it by the denoiser's configuration."""
    return part_classes.family_of(folder, of_pipeline(_pipeline_class(folder)), FAMILIES.values())


def of_pipeline(name: str) -> list[Family]:
    """The families whose pipeline is of this class of diffusers."""
    return [family for family in FAMILIES.values() if family.pipeline_class == name]


def weighted_parts() -> tuple[str, ...]:
    """What families call the parts of a pipeline that have weights."""
    return tuple(dict.fromkeys(part for family in FAMILIES.values() for part in family.weighted_parts))


def _file_family(path: Path) -> Family:
    tensors = read_header(path)
    recognised = next((family for family in FAMILIES.values() if family.recognises_file(tensors, path)), None)
    if recognised is None:
        *others, last = (family.title for family in FAMILIES.values() if family.file_parts)
        raise UnknownModelError(f"{path} is not a whole {', '.join(others)} or {last} model", WHOLE)
    return recognised


def _pipeline_class(folder: Path) -> str:
    """The supported pipeline class a folder names."""
    index = folder / "model_index.json"
    pipeline = read_json(index).get("_class_name")
    if pipeline is None:
        raise not_a_model(index)
    if not of_pipeline(pipeline):
        *others, last = [family.title for family in FAMILIES.values()]
        raise UnknownModelError(
            f"{folder} is a {pipeline}, and models of this kind cannot be trained",
            f"choose a model of {', '.join(others)} or {last}",
        )
    return pipeline


def _parts(folder: Path) -> tuple[str, ...]:
    """The folders a pipeline is made of.

    Raises:
        ModelError: it is no pipeline, or some are missing.
    """
    family = of_pipeline(_pipeline_class(folder))[0]
    missing = [part for part in family.parts if not (folder / part).is_dir()]
    if lacking := [part for part in missing if part not in family.optional_parts]:
        raise ModelError(f"{folder} lacks {', '.join(lacking)}", "download the whole folder again")
    return tuple(part for part in family.parts if part not in missing)


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
