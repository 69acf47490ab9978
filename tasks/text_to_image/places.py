"""What a run needs may lie elsewhere than it did: data set, base model, VAE, LoRA and encoders.

Each is known again by what it holds.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from shared.config.path_settings import DENOISER, FOLDER_KEYS, KEYWORDS, PROMPTS, TRAINING_ADAPTER
from shared.config.schema import Config
from shared.data import dataset
from shared.data.dataset import Digest
from shared.errors import ModelError
from shared.files.digests import Digests
from shared.files.publication import sha256
from shared.launch import relocation
from shared.run_folder.records.run_record import RunRecord
from shared.run_folder.run_dir import RunDir, steps_in
from tasks.text_to_image.models import base_model, lora_file

MODEL_KEYS = ("model.path", "model.vae", "model.single_file_config", TRAINING_ADAPTER, DENOISER, "evaluation.model")
NAMES = {
    "model.path": "base model",
    "model.vae": "VAE",
    "model.single_file_config": "folder of model.single_file_config",
    TRAINING_ADAPTER: "LoRA of model.training_adapter",
    DENOISER: "configuration of model.denoiser",
    "evaluation.model": "base model of evaluation.model",
    "lora.init_from": "LoRA of lora.init_from",
    "evaluation.fashion_clip": "encoder of evaluation.fashion_clip",
    "evaluation.visual": "encoder of evaluation.visual",
    "evaluation.segmenter": "model of evaluation.segmenter",
    "evaluation.judge": "model of evaluation.judge",
    "evaluation.glyphs": "characters of evaluation.glyphs",
}
"""Settings that may name something on this disk, beside the data set → what that is."""


def moved_settings(run: RunDir, config: Config, changed: Collection[str]) -> set[str]:
    """Of the settings that differ from the run's, those that name another place of the same thing.

    Raises:
        DataError: `data.path` is among them, and other pictures or captions lie there, or none.
        ModelError: `model.path` is, and there is no model.
    """
    return (
        relocation.moved_data(run, config, changed)
        | _moved_folders(run, config, changed)
        | ({"model.path"} if "model.path" in changed and _is_same_model(run, config) else set[str]())
        | ({PROMPTS} if PROMPTS in changed and _has_same_prompts(run, config) else set[str]())
        | ({"lora.init_from"} if "lora.init_from" in changed and _is_same_lora(run, config) else set[str]())
    )


def missing_paths(run: RunDir, config: Config) -> dict[str, str]:
    """What the run needs and is not where the config says: the setting that names it → a sentence.

    The file of `lora.init_from` is needed until the first checkpoint.
    """
    before, identity = run.read_config(), run.read_record().base_model
    fingerprinted = {"model.path": "fingerprint" in identity, "model.vae": "vae_fingerprint" in identity}
    fingerprinted["evaluation.model"] = "evaluation.model" in run.read_record().folders
    missing = relocation.absent_data(run, config)
    for key, name in NAMES.items():
        place = config.value(key)
        if not place or place in KEYWORDS or Path(place).exists():
            continue
        if key == "lora.init_from" and steps_in(run.checkpoints):
            continue
        was_local = Path(place).is_absolute() or os.path.abspath(place) == before.value(key)  # noqa: PTH100
        if was_local or fingerprinted.get(key, False):
            missing[key] = relocation.not_at(run, name, place)
    return missing


def require_present(run: RunDir, config: Config, *, to_train: bool) -> None:
    """Whether what is needed is where the config says. to_train: the data set and `lora.init_from` are needed.

    Raises:
        DataError, ModelError: what is missing, and how to give its new place.
    """
    relocation.require_present(run, missing_paths(run, config), to_train=to_train)


def changed_content(run: RunDir, config: Config, digest: Digest) -> Iterator[str]:
    """A sentence for each model that lies where the run has it, and is no longer what it was.

    Raises:
        ModelError: what lies at `model.path` is no model.
    """
    record, before = run.read_record(), run.read_config()
    for key in MODEL_KEYS:
        place = config.value(key)
        if place and place == before.value(key) and _exists(place) and not _is_as_recorded(record, key, place, digest):
            yield f"the {NAMES[key]} at {place} is not the one that {run.path} was made with"


def _moved_folders(run: RunDir, config: Config, changed: Collection[str]) -> set[str]:
    before, record = run.read_config(), run.read_record()
    known = {"model.vae": record.base_model.get("vae_fingerprint"), **record.folders}
    return {
        key
        for key in set(changed) & set(FOLDER_KEYS)
        if _is_same_folder(before.value(key), config.value(key), known.get(key))
    }


def _has_same_prompts(run: RunDir, config: Config) -> bool:
    named, copy = config.evaluation.prompts, run.prompts
    if not (named and Path(named).is_file() and copy.is_file()):
        return False
    return Path(named).read_bytes() == copy.read_bytes()


def _is_same_lora(run: RunDir, config: Config) -> bool:
    before, now = run.read_record().init_from, config.lora.init_from
    return bool(before and now and Path(now).exists() and lora_file.read(Path(now)).digest == before.sha256)


def _is_as_recorded(record: RunRecord, key: str, place: str, digest: Digest) -> bool:
    """True also where the record has nothing to compare with."""
    if key == "model.path":
        then = record.base_model.get("fingerprint")
        return then is None or base_model.is_same(place, then, digest)
    if folder := base_model.local_folder(place):
        return record.folders.get(key) in (None, base_model.folder_fingerprint(folder))
    then = record.base_model.get("vae_fingerprint") if key == "model.vae" else record.folders.get(key)
    return then is None or then == digest(Path(place))


def _is_same_model(run: RunDir, config: Config) -> bool:
    fingerprint = run.read_record().base_model.get("fingerprint")
    if fingerprint is None:  # it was a hub id: what was downloaded then is not known
        return False
    before = run.read_config().model.path
    if not _exists(config.model.path):
        raise ModelError(
            f"model.path is {config.model.path}, where no model lies; that of {run.path} was at {before}",
            relocation.new_place(run, "model.path"),
        )
    return base_model.is_same(config.model.path, fingerprint, Digests(dataset.digests_path(config)))


def _is_same_folder(before: str | None, after: str | None, fingerprint: str | None) -> bool:
    there = _fingerprint(after)
    return there is not None and there == (fingerprint or _fingerprint(before))


def _fingerprint(path: str | None) -> str | None:
    """Of a local folder, or of a file; None: it is neither."""
    if folder := base_model.local_folder(path):
        return base_model.folder_fingerprint(folder)
    return sha256(Path(path)) if path and Path(path).is_file() else None


def _exists(path: str) -> bool:
    return path in base_model.EMBEDDED_FOLDERS or Path(path).exists()
