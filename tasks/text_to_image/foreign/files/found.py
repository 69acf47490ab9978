"""The LoRAs that lie in a folder where another program writes: files at its top, and those of its checkpoint folders.

A folder below is one LoRA if it holds what diffusers or PEFT writes (`checkpoint-500/pytorch_lora_weights.safetensors`,
`checkpoint-500/adapter_model.safetensors`); OneTrainer's `save/` holds several. Nothing is written.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from shared.errors import ConfigError
from tasks.text_to_image.foreign.files import header, names, series
from tasks.text_to_image.foreign.files.header import Facts
from tasks.text_to_image.foreign.files.names import Name
from tasks.text_to_image.foreign.files.series import Named
from tasks.text_to_image.models import lora_file
from tasks.text_to_image.models.lora_file import LORA_FILE, PEFT_CONFIG, PEFT_FILE, PICKLES

ENDING = ".safetensors"
SAVES = "save"
"""OneTrainer's folder of what it saves on the way, in its workspace."""
LORA_KEY = re.compile(r"lora|hada_|lokr_|oft_|dora_scale|\.diff(_b)?$", re.IGNORECASE)
STATE = re.compile(
    r"(optimizer|scheduler|scaler|random_states|rng_state|training_args|train_state|ema).*", re.IGNORECASE
)
"""Names of pickles that are a trainer's own state, and no LoRA."""
TRAINERS = {"peft": "PEFT", "diffusers": "diffusers"}
"""Who writes files of a form, where no header says so."""
SIMPLE_TUNER_STATE = "training_state*.json"
"""Lies beside the LoRA in a checkpoint of SimpleTuner, whose files are diffusers' else."""
SETTLED_SECONDS = 5.0
"""After its last change a whole file is taken to be written to its end, by the clock of the folder's machine."""


@dataclass(frozen=True)
class Found:
    """A LoRA."""

    place: Path
    """Its file, or PEFT's folder."""
    files: tuple[Path, ...]
    """All that it consists of, below the folder of `place` or `place` itself."""
    label: str
    """Its path below the folder that was searched."""
    name: Name
    facts: Facts
    fault: str
    """Why it cannot be read, as when its end is still missing; empty: its headers are sound."""
    state: tuple[tuple[int, int], ...]
    """Size and time of the last change (ns) of each file."""

    @property
    def seconds_unchanged(self) -> float:
        """Since the last change, by this machine's clock; another machine's may differ."""
        return time.time() - max(changed for _, changed in self.state) / 1e9


@dataclass(frozen=True)
class Contents:
    """Of a folder."""

    loras: tuple[Found, ...]
    others: tuple[str, ...] = ()
    """Safetensors that are no LoRA."""
    pickles: tuple[str, ...] = ()
    """Files that may be LoRAs and are never read."""
    broken: tuple[str, ...] = ()
    """What would be a LoRA if a file of it were there, each with what is missing."""

    @property
    def trainer(self) -> str:
        """The program that wrote them: at least half of them name it, and none names another; else empty."""
        sound = [one for one in self.loras if not one.fault]
        told = [one.facts.trainer for one in sound]
        if not any(told):
            told = [_by_form(one) for one in sound]
        named = [name for name in told if name]
        return named[0] if len({*named}) == 1 and 2 * len(named) >= len(told) else ""


@dataclass
class Search:
    """Looks at a folder again and again; a file that has not changed is not read again."""

    folder: Path
    pattern: str = "*"
    """Of the names that count: of a file with or without its ending, of its checkpoint folder, or of its path."""
    _known: dict[tuple[Path, tuple[tuple[int, int], ...]], Found | None] = field(default_factory=dict)

    def look(self) -> Contents:
        """What lies there now.

        Raises:
            OSError: the folder cannot be read.
        """
        loras, texts = list[Found](), dict[str, str]()
        others, pickles, broken = list[str](), list[str](), list[str]()
        for place, files, name in self._places():
            label = place.relative_to(self.folder).as_posix()
            if not self._is_meant(name, label, place):
                continue
            if place.suffix.lower() in PICKLES:
                pickles.append(label)
                continue
            try:
                found = self._read(place, files, name, label)
            except FileNotFoundError:
                broken += [f"{label} ({missing})"] if (missing := _missing(place, files)) else []  # else just deleted
                continue
            if found is None:
                others.append(label)
            else:
                loras.append(found)
                texts[label] = name
        said = series.names({one.label: Named(texts[one.label], one.name, one.facts, not one.fault) for one in loras})
        named = tuple(replace(one, name=said[one.label]) for one in loras)
        return Contents(named, tuple(others), tuple(pickles), tuple(broken))

    def _is_meant(self, name: str, label: str, place: Path) -> bool:
        """Whether the pattern fits the name or the path below the folder, with or without the ending."""
        without = label.removesuffix(place.suffix) if place.is_file() else label
        spellings = (name, f"{name}{place.suffix}", label, without)
        return any(fnmatch.fnmatchcase(spelling, self.pattern) for spelling in spellings)

    def _places(self) -> Iterator[tuple[Path, tuple[Path, ...], str]]:
        """(Place, files, name) of everything that may be a LoRA."""
        for entry in sorted(self.folder.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _below(entry)
            elif _may_be(entry):
                yield entry, (entry,), "" if entry.name == LORA_FILE else entry.stem
            elif _leads_nowhere(entry) and names.read(entry.name).is_numbered:  # to a checkpoint's folder
                yield entry, (entry,), entry.name
        yield from _of_peft(self.folder, "")

    def _read(self, place: Path, files: tuple[Path, ...], name: str, label: str) -> Found | None:
        """None: it is whole, and no LoRA."""
        state = tuple((stat.st_size, stat.st_mtime_ns) for stat in (file.stat() for file in files))
        key = (place, state)
        if key not in self._known:
            self._known[key] = _look(place, files, name, label, state)
        return self._known[key]


def _by_form(one: Found) -> str:
    try:
        return TRAINERS.get(lora_file.look(one.place).form, "")
    except ConfigError:
        return ""


def _below(folder: Path) -> Iterator[tuple[Path, tuple[Path, ...], str]]:
    """Of a folder of the folder."""
    if folder.name.endswith("-state"):  # kohya's, to resume from
        return
    if folder.name == SAVES:
        for entry in sorted(folder.iterdir()):
            if not entry.is_dir() and _may_be(entry):
                yield entry, (entry,), entry.stem
    elif (folder / LORA_FILE).is_file() or _leads_nowhere(folder / LORA_FILE):
        yield folder / LORA_FILE, (folder / LORA_FILE,), folder.name
    else:
        yield from _of_peft(folder, folder.name)


def _of_peft(folder: Path, name: str) -> Iterator[tuple[Path, tuple[Path, ...], str]]:
    """PEFT's LoRA: a file with its configuration, or a folder of these for each part of the model."""
    parts = sorted(folder.glob(f"*/{PEFT_FILE}")) if name else []
    own = folder / PEFT_FILE
    weights = [own] if own.is_file() or _leads_nowhere(own) else parts
    if weights:
        yield folder, tuple(file for path in weights for file in (path, path.with_name(PEFT_CONFIG))), name


def _may_be(path: Path) -> bool:
    if path.name == PEFT_FILE:
        return False
    ending = path.suffix.lower()
    return ending == ENDING or (ending in PICKLES and not STATE.fullmatch(path.stem))


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _missing(place: Path, files: tuple[Path, ...]) -> str:
    """What of a LoRA that is there is not; empty: it has been deleted as a whole."""
    for file in files:
        if _leads_nowhere(file):
            return f"a link to {file.readlink()}, which is missing"
    absent = [file.name for file in files if not file.exists()]
    return f"without {absent[0]}" if place.exists() and len(absent) < len(files) and absent else ""


def _look(
    place: Path, files: tuple[Path, ...], name: str, label: str, state: tuple[tuple[int, int], ...]
) -> Found | None:
    try:
        headers = [lora_file.header(file) for file in files if file.suffix.lower() == ENDING]
    except ConfigError as error:
        fault = str(error).removeprefix(f"{place} ").replace(f"{place}/", "holds a file that cannot be read: ")
        return Found(place, files, label, names.read(name), Facts(), fault, state)
    if not any(LORA_KEY.search(key) for tensors, _ in headers for key in tensors):
        return None
    facts = header.read({key: value for _, metadata in headers for key, value in metadata.items()})
    if not facts.trainer and any(files[0].parent.glob(SIMPLE_TUNER_STATE)):
        facts = replace(facts, trainer=header.SIMPLE_TUNER)
    return Found(place, files, label, names.read(name), facts, "", state)
