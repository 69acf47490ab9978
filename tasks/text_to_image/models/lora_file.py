"""A LoRA file of any program: in whose format it is and which modules it adapts, from its header alone.

A run can begin from one (`lora.init_from`), and those that another trainer writes can be evaluated
(`tasks.text_to_image.foreign`).

diffusers: one file, ours or its scripts'. kohya: one file, as sd-scripts writes it and ComfyUI reads it. peft: a folder
for each part of the model, or an archive of them. Only safetensors are read.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from shared.config import targets
from shared.config.schema import LoraConfig
from shared.errors import ConfigError
from shared.files.combined_digest import combined_digest
from shared.files.json_text import parse_json
from shared.run_folder.records.run_record import InitialLora
from tasks.text_to_image.families.family import COMFYUI_PREFIX, Family
from tasks.text_to_image.families.known import FAMILIES, usual
from tasks.text_to_image.models.weights_header import Tensors, TensorShape

Format = Literal["diffusers", "kohya", "peft"]
Place = Path | zipfile.Path

LORA_FILE = "pytorch_lora_weights.safetensors"
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
PEFT_PREFIX = "base_model.model."
METADATA = "lora_adapter_metadata"
"""Where diffusers keeps PEFT's configuration of each part, as JSON."""
PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")
MAX_HEADER_BYTES = 16_000_000
"""That of a LoRA on every layer of a large model has one megabyte. Python needs 20 times as much to read it."""
HALF = re.compile(
    r"(.+?)\.(?:(lora_A|lora_B|lora_down|lora_up|lora(?:_linear_layer)?\.(?:down|up))\.(?:default\.)?weight"
    r"|(lora_[AB]))"
)
PROCESSOR = re.compile(r"(.+?)\.(?:processor\.)?to_(q|k|v|out)_lora\.(down|up)\.weight")
"""As diffusers wrote them when its LoRA layers belonged to attention processors; a denoiser alone had no prefix."""
ALPHA = re.compile(r"(.+)\.alpha")
MAGNITUDE = re.compile(r"(.+)\.lora_magnitude_vector(?:\.(?:default\.)?weight)?")
UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What a file, or one in an archive that is damaged, encrypted or packed in another way, raises when it is read."""
WANTED = "give a LoRA of diffusers or kohya (.safetensors), or PEFT's folders or a .zip of them"


@dataclass(frozen=True)
class Module:
    """One adapted module."""

    part: str
    keys: dict[str, tuple[str, str]]
    """`A`, `B`, `alpha`, `magnitude` → (part whose file has it, key)."""
    shape: tuple[int, ...]
    """Of A: (rank, inputs) or (rank, inputs, height, width)."""
    share: tuple[int, int, int] = (0, 1, 1)
    """Which of B's outputs are this module's: from the first up to the second, in shares of the third."""

    @property
    def rank(self) -> int:
        """Rows of A."""
        return self.shape[0]

    @property
    def is_convolution(self) -> bool:
        """With a kernel larger than 1."""
        return any(side > 1 for side in self.shape[2:])


@dataclass(frozen=True)
class LoraFile:
    """What the headers say."""

    path: Path
    form: Format
    family: Family | None
    """None: it does not say."""
    modules: dict[str, Module]
    """By name: `unet.mid_block.…`; in kohya's files `lora_unet_mid_block_…`, unless they are `translated`."""
    settings: dict[str, Any]
    """PEFT's configuration of each part, keyed `unet.r` and so on; empty where there is none."""
    places: dict[str, Place]
    """The safetensors file of each part in PEFT's folders; else one, named ``."""
    digest: str = ""
    """Of all of it, wherever it lies; empty where only the headers were looked at."""
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    """What the headers say beside their tensors."""
    translated: bool = False
    """Whether the file has other names than ours, and `modules` has ours."""

    def record(self) -> InitialLora:
        """For `run.json`."""
        return InitialLora(path=str(self.path), format=self.form, sha256=self.digest)


def read(path: Path) -> LoraFile:
    """Look at what `lora.init_from` names: a file, a folder or an archive.

    Raises:
        ConfigError: it is none, or holds what is no LoRA.
    """
    try:
        file = look(path)
        digest = combined_digest(f"{part}:{_sha256(place)}" for part, place in file.places.items())
    except ConfigError as error:
        raise ConfigError(f"lora.init_from {error}", error.hint) from None
    return replace(file, digest=digest)


def look(path: Path) -> LoraFile:
    """Read the headers of a file, a folder or an archive.

    Raises:
        ConfigError: it is none, or holds what is no LoRA. The message begins with its path.
    """
    places = _places(path)
    headers = {part: header(place) for part, place in places.items()}
    form: Format = "peft" if "" not in places else _form(path, headers[""][0])
    settings = _peft_settings(places) if form == "peft" else _diffusers_settings(path, headers[""][1])
    modules = _modules(path, form, {part: header[0] for part, header in headers.items()})
    words = " ".join(str(header[1].get(key, "")) for header in headers.values() for key in _FAMILY_KEYS)
    said = _family(words)
    own = _own_modules(path, form, modules, said)
    modules = own or modules
    family = _family_by_modules(modules) or said
    metadata = {key: value for _, words in headers.values() for key, value in words.items()}
    return LoraFile(path, form, family, modules, settings, places, metadata=metadata, translated=own is not None)


def _own_modules(path: Path, form: Format, modules: dict[str, Module], said: Family | None) -> dict[str, Module] | None:
    """The modules under our names, if the file has others. said: its family, by its header.

    Raises:
        ConfigError: they are of no model that is known.
    """
    if form == "diffusers" and not any(name.partition(".")[0] in _parts_in_files() for name in modules):
        modules = {f"{COMFYUI_PREFIX}{name}": module for name, module in modules.items()}
    own = next(filter(None, (family.own_modules(modules) for family in reversed(FAMILIES.values()))), None)
    own = own or (said and said.renamed_modules(modules))
    if own is None and (strange := [name for name in modules if name.startswith(COMFYUI_PREFIX)]):
        raise _unknown(path, modules[strange[0]].keys["A"][1])
    return own


def look_in(snapshot: Path) -> LoraFile:
    """Likewise of a snapshot's folder, whatever the file in it is called."""
    is_peft = any(snapshot.glob(f"**/{PEFT_CONFIG}"))
    files = sorted(path for path in snapshot.iterdir() if path.suffix.lower() == ".safetensors")
    return look(snapshot if is_peft or not files else files[0])


def check(file: LoraFile, settings: LoraConfig, family: Family | None) -> None:
    """Whether a run with these settings can begin from it, as far as headers tell. family: the base model's, if known.

    Raises:
        ConfigError: it cannot; every reason, and the settings that would help.
    """
    mismatches = [*_problems(file, settings, family)]
    if mismatches:
        problems = "".join(f"\n       {problem}" for problem, _ in mismatches)
        cures = ", ".join(dict.fromkeys(cure for _, cure in mismatches if cure))
        raise ConfigError(
            f"a run with these settings cannot begin from lora.init_from {file.path}:{problems}",
            (cures and f"set {cures}") or "give a LoRA for this base model",
        )


def _problems(file: LoraFile, settings: LoraConfig, family: Family | None) -> Iterator[tuple[str, str]]:
    """What does not fit, and the setting that would mend it."""
    if file.family and family and not family.takes_loras_of(file.family):
        yield f"it is for {file.family.name}, the base model is {family.name}", ""
        return
    is_dora = any("magnitude" in module.keys for module in file.modules.values())
    if is_dora != settings.use_dora:
        yield f"it is {'a' if is_dora else 'no'} DoRA", f"lora.use_dora = {str(is_dora).lower()}"
    learnt = [name for name, module in file.modules.items() if _is_text_encoder(module.part)]
    if learnt and not settings.text_encoder:
        can_learn = family is None or family.encoders_stay
        yield f"it adapts a text encoder: {learnt[0]}", "lora.text_encoder = true" if can_learn else ""
    yield from _too_large(file, settings)
    yield from _without_place(file, settings, family or file.family or usual())


def _too_large(file: LoraFile, settings: LoraConfig) -> Iterator[tuple[str, str]]:
    for convolution in (False, True):
        rank, _ = settings.rank_and_alpha(convolution=convolution)
        ranks = [module.rank for module in file.modules.values() if module.is_convolution == convolution]
        if ranks and max(ranks) > rank:
            key = "lora.conv_rank" if convolution and not settings.is_uniform else "lora.rank"
            yield f"it has rank {max(ranks)}, more than {key} ({rank})", f"{key} = {max(ranks)}"


def _without_place(file: LoraFile, settings: LoraConfig, family: Family) -> Iterator[tuple[str, str]]:
    """Modules that the run would not adapt."""
    text = [name for name, module in file.modules.items() if _is_text_encoder(module.part)]
    if strange := _without_end(text, settings.text_encoder_targets):
        others = _without_end(text, (*targets.TEXT_ENCODER, *targets.TEXT_ENCODER_MLP))
        cure = "" if others else "lora.text_encoder_mlp = true"
        yield f"the run does not adapt {len(strange)} of its text encoder modules, such as {strange[0]}", cure
    denoiser = {name: module for name, module in file.modules.items() if not _is_text_encoder(module.part)}
    form: Format = "diffusers" if file.translated else file.form
    lost = _outside(form, denoiser, settings.target_modules, family)
    if lost:
        presets = [name for name in targets.PRESETS if not _outside(form, denoiser, targets.expand(name), family)]
        cure = f'lora.target_modules = "{presets[0]}"' if presets else ""
        yield f"lora.target_modules leaves out {len(lost)} of its modules, such as {lost[0]}", cure


def _without_end(names: Iterable[str], ends: Iterable[str]) -> list[str]:
    """Names of text encoders' modules that end in none of these; kohya has underscores for dots."""
    suffixes = tuple(f"{separator}{end}" for end in ends for separator in "._")
    return [name for name in names if not name.endswith(suffixes)]


def _outside(form: Format, modules: dict[str, Module], target_modules: Collection[str], family: Family) -> list[str]:
    """Those whose names end in none of the targets; kohya has underscores for dots, and for SDXL its authors' names."""
    names: list[str] = []
    for name, module in modules.items():
        is_linear = len(module.shape) == 2
        ends = family.targets(target_modules, linear_projections=is_linear)
        if form == "kohya":
            authors = [other for end in ends for other in family.file_ends.get(end, ())]
            suffixes = tuple("_" + end.replace(".", "_") for end in (*ends, *authors))
        else:
            suffixes = tuple(f".{end}" for end in ends)
        if not name.endswith(suffixes):
            names.append(name)
    return names


def _places(path: Path) -> dict[str, Place]:
    """Where the safetensors files are: one, named ``, or PEFT's, by part."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist", WANTED)
    if path.suffix.lower() in PICKLES:
        raise _pickle(path)
    if path.is_file() and path.suffix != ".zip":
        return {"": path}
    if not path.is_file() and not path.is_dir():
        raise ConfigError(f"{path} is neither a file nor a folder", WANTED)
    try:
        root: Place = path if path.is_dir() else zipfile.Path(path)
        places = _in_folder(root)
        names = sorted(place.name for place in root.iterdir())
    except (*UNREADABLE, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", WANTED) from None
    if places:
        return places
    if any(name.endswith(PICKLES) for name in names):
        raise _pickle(path)
    cure = WANTED
    if path.is_dir() and (snapshots := [*path.glob("snapshots/step-*"), *path.glob("step-*")]):
        cure = f"give one of its snapshots, such as {max(snapshots)}"
    raise ConfigError(f"{path} holds no LoRA: {', '.join(names[:5]) or 'it is empty'}", cure)


def _in_folder(root: Place) -> dict[str, Place]:
    if (root / LORA_FILE).is_file():
        return {"": root / LORA_FILE}
    parts = {part: root / part / PEFT_FILE for part in _parts() if (root / part / PEFT_FILE).is_file()}
    if parts:
        return parts
    if (root / PEFT_FILE).is_file():
        return {usual().denoiser: root / PEFT_FILE}
    files = [place for place in root.iterdir() if place.name.lower().endswith(".safetensors")]
    return {"": files[0]} if len(files) == 1 else {}


def _pickle(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is a pickle, which can run any code when it is read: only safetensors are",
        "convert it with a program you trust, or export it again as .safetensors",
    )


def header(place: Place) -> tuple[Tensors, dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        ConfigError: it is none, or a part of it is missing.
    """
    try:
        with cast("BinaryIO", place.open("rb")) as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= MAX_HEADER_BYTES else b""
            size = file.seek(0, 2)
        if size == 0 or (text.startswith(b"{") and len(text) < length):
            told = f"has {size} bytes, its header alone has {length}" if size else "is empty"
            raise ConfigError(f"{place} {told}", "download or copy it again")
        tree: Any = parse_json(text)
        metadata = _metadata(tree.pop("__metadata__", None) or {})
        tensors = {str(name): _shape(entry) for name, entry in tree.items()}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in tree.values()), default=0)
    except (*UNREADABLE, ValueError, AttributeError, KeyError, IndexError, TypeError, OverflowError):
        raise ConfigError(f"{place} is no safetensors file", WANTED) from None
    if end != size:
        raise ConfigError(f"{place} has {size} bytes, its header says {end}", "download or copy it again")
    return tensors, metadata


def _metadata(tree: dict[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in tree.values()):
        raise ValueError("metadata is text")
    return tree


def _shape(entry: dict[str, Any]) -> TensorShape:
    shape, dtype = cast("list[Any]", entry["shape"]), entry["dtype"]
    are_sides = type(shape) is list and all(type(side) is int and side >= 0 for side in shape)
    if not are_sides or not isinstance(dtype, str):
        raise ValueError("no shape, or no precision")
    return TensorShape(tuple(shape), dtype)


def _form(path: Path, tensors: Tensors) -> Format:
    if any(name.startswith(tuple(_kohya_prefixes())) for name in tensors):
        return "kohya"
    if any(HALF.fullmatch(name) or PROCESSOR.fullmatch(name) for name in tensors):
        return "diffusers"
    raise _unknown(path, min(tensors, default="nothing"))


def _unknown(path: Path, held: str) -> ConfigError:
    return ConfigError(f"{path} is no LoRA of a model that is known: it holds {held}", WANTED)


def _diffusers_settings(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        return dict(parse_json(metadata.get(METADATA, "{}")))
    except (ValueError, TypeError):
        raise ConfigError(f"{path} has {METADATA} that cannot be read", WANTED) from None


def _peft_settings(places: dict[str, Place]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for part, place in places.items():
        config = cast("Place", place.parent) / PEFT_CONFIG
        try:
            tree: dict[str, Any] = dict(parse_json(config.read_text(encoding="utf-8")))
        except (*UNREADABLE, KeyError, ValueError, TypeError):
            raise ConfigError(f"{config} cannot be read", f"restore {config}: it has the rank and alpha") from None
        if tree.get("peft_type") != "LORA":
            raise ConfigError(f"{config} is of {tree.get('peft_type')}, not of a LoRA", WANTED)
        settings |= {f"{part}.{key}": value for key, value in tree.items()}
    return settings


def _modules(path: Path, form: Format, tensors: dict[str, Tensors]) -> dict[str, Module]:
    keys: dict[str, dict[str, tuple[str, str]]] = {}
    strange: list[str] = []
    for place, names in tensors.items():
        for key in names:
            name, what = _parse(key)
            if not name or (form == "kohya" and what == "magnitude"):
                strange.append(key)
            else:
                keys.setdefault(_named(form, place, name), {})[what] = (place, key)
    halved = [name for name, parts in keys.items() if not {"A", "B"} <= parts.keys()]
    if halved and not strange:
        halves = [half for half, key in (("lora_down", "A"), ("lora_up", "B")) if key not in keys[halved[0]]]
        more = f" and {len(halved) - 1} more of its modules" if len(halved) > 1 else ""
        raise ConfigError(
            f"{path} is damaged: {halved[0]}{more} has no {' and no '.join(halves)}", "download or copy it again"
        )
    strange += halved
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise ConfigError(
            f"{path} {_kind(strange)}: it holds {strange[0]}{more}",
            "give a plain LoRA: LoHa, LoKr, kohya's DoRA, biases and embeddings are not read",
        )
    _require_matrices(path, keys, tensors)
    return {
        name: Module(_part(form, name), parts, tensors[parts["A"][0]][parts["A"][1]].shape)
        for name, parts in keys.items()
    }


def _require_matrices(path: Path, keys: dict[str, dict[str, tuple[str, str]]], tensors: dict[str, Tensors]) -> None:
    for parts in keys.values():
        for what, (place, key) in parts.items():
            found = tensors[place][key]
            is_one = found.count == 1 if what == "alpha" else what == "magnitude" or len(found.shape) >= 2
            if not is_one or not found.count:
                raise ConfigError(
                    f"{path} is damaged: {key} has the shape {list(found.shape)}", "download or copy it again"
                )


def _kind(keys: Iterable[str]) -> str:
    """What a file is whose keys are not those of a plain LoRA, as what stands after its name."""
    kinds = {"lokr_": "is a LoKr", "hada_": "is a LoHa", "oft_": "is an OFT", "dora_scale": "is a DoRA of kohya's form"}
    return next(
        (f"{kind}, which is not read" for part, kind in kinds.items() if any(part in key for key in keys)),
        "is no plain LoRA",
    )


def _parse(key: str) -> tuple[str, str]:
    """(Module, what of it); ('', '') for a key of another kind."""
    if match := PROCESSOR.fullmatch(key):
        part = "" if match[1].partition(".")[0] in _parts() else f"{usual().denoiser}."
        return f"{part}{match[1]}.{_projection(match[1], match[2])}", "A" if match[3] == "down" else "B"
    if match := HALF.fullmatch(key):
        return match[1], "A" if (match[2] or match[3]).endswith(("_A", "down")) else "B"
    if match := ALPHA.fullmatch(key):
        return match[1], "alpha"
    if match := MAGNITUDE.fullmatch(key):
        return match[1], "magnitude"
    return "", ""


def _projection(attention: str, kind: str) -> str:
    """What the layer is called in the UNet's attention, or in a text encoder's."""
    if attention.endswith("self_attn"):
        return f"{kind}_proj"
    return "to_out.0" if kind == "out" else f"to_{kind}"


def _named(form: Format, part: str, name: str) -> str:
    """As in our own files; kohya's stay. PEFT's text encoders are named as some version of transformers has them."""
    if form != "peft":
        return name
    name = name.removeprefix(PEFT_PREFIX)
    return f"{part}.text_model.{name.removeprefix('text_model.')}" if _is_text_encoder(part) else f"{part}.{name}"


def _part(form: Format, name: str) -> str:
    if form != "kohya":
        return name.partition(".")[0]
    return next((part for prefix, part in _kohya_prefixes().items() if name.startswith(prefix)), name)


_FAMILY_KEYS = ("modelspec.architecture", "ss_base_model_version")


def _parts() -> list[str]:
    """What may carry an adapter, by the prefix of its keys."""
    return [part for family in FAMILIES.values() for part in (family.denoiser, *family.text_encoders)]


def _parts_in_files() -> set[str]:
    """With what the names of modules begin in files of diffusers and ComfyUI; DiffSynth-Studio writes nothing there."""
    return {*_parts(), COMFYUI_PREFIX.removesuffix(".")}


def _kohya_prefixes() -> dict[str, str]:
    """How kohya's names of modules begin, to their part."""
    return {prefix: part for family in FAMILIES.values() for part, prefix in family.lora_prefixes.items()}


def _is_text_encoder(part: str) -> bool:
    return part.startswith("text_encoder")


def _family_by_modules(modules: dict[str, Module]) -> Family | None:
    """None: they do not tell. A later family is the more special one."""
    return next((family for family in reversed(FAMILIES.values()) if family.recognises_lora(modules)), None)


def _family(words: str) -> Family | None:
    """By the words of Stability's specification and of kohya's."""
    return next((family for family in FAMILIES.values() if re.search(family.header_name, words.lower())), None)


def _sha256(place: Place) -> str:
    with cast("Any", place.open("rb")) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
