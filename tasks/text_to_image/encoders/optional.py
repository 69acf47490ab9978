"""Encoders that need a package of their own: any CLIP or SigLIP of open_clip's, and DreamSim.

Neither package is required. One that is missing is a ModelError that names what to install.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants

from shared.errors import ModelError
from shared.files.combined_digest import combined_digest
from shared.files.publication import sha256
from tasks.text_to_image.encoders.encoder import Encoder, EncoderRecord, unable
from tasks.text_to_image.encoders.files import HUB_TIMEOUT_SECONDS, first_line

DREAMSIM = "dreamsim"
DREAMSIM_EDGE = 224
OPEN_CLIP_CONFIG = "open_clip_config.json"


def load_open_clip(folder: Path, record: EncoderRecord, device: str) -> Encoder:
    """A folder in open_clip's format, such as Marqo-FashionSigLIP's.

    Raises:
        ModelError: open_clip is not installed, or cannot read the folder.
    """
    open_clip = _package("open_clip", "open_clip_torch>=3")
    name = f"local-dir:{folder}"
    try:
        model = open_clip.create_model(name, device=device, precision="fp32").eval()
        tokenizer = open_clip.get_tokenizer(name)  # pads as the model was trained to read
    except Exception as error:  # a broken folder fails in as many ways as there are readers
        raise ModelError(
            f"encoder {record.model} cannot be loaded: {first_line(error)}", "download or copy the whole folder again"
        ) from error
    preprocess: dict[str, Any] = model.visual.preprocess_cfg
    size = preprocess["size"]
    return Encoder(
        record=record,
        edge=int(size if isinstance(size, int) else size[0]),
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
        see=model.encode_image,
        read=lambda text: model.encode_text(tokenizer([text]).to(device)),
        device=device,
    )


def load_dreamsim(device: str) -> Encoder:
    """DreamSim's ensemble (Fu et al. 2023), whose cosine people's evaluations of likeness follow best.

    Its package reads checkpoints of its own from `dreamsim_folder()`, which its authors publish as pickles, and
    downloads them once. Nothing of a run passes through it.

    Raises:
        ModelError: DreamSim is not installed, or its weights are neither there nor to be had.
    """
    package, folder = _package("dreamsim", "dreamsim>=0.2"), dreamsim_folder()
    hint = f"download them where there is a network: python run.py score A B --visual {DREAMSIM}"
    if constants.HF_HUB_OFFLINE and not folder.is_dir():
        raise ModelError(f"DreamSim's weights are not in {folder}, and the network is switched off", hint)
    try:
        with contextlib.redirect_stdout(sys.stderr), _impatient():  # it prints, and would wait for ever
            model, _ = package.dreamsim(pretrained=True, device=device, cache_dir=str(folder), normalize_embeds=True)
    except Exception as error:  # urllib's, zipfile's, peft's and torch's own
        reason = f"DreamSim's weights are not in {folder}, and could not be had: {first_line(error)}"
        raise ModelError(reason, hint) from error
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".zip")
    record = EncoderRecord(
        model=DREAMSIM,
        revision=importlib.metadata.version("dreamsim"),
        digest=combined_digest(f"{path.name}:{sha256(path)}" for path in files),
    )
    return Encoder(
        record=record,
        edge=DREAMSIM_EDGE,
        mean=(0.0, 0.0, 0.0),  # each of its towers has its own, and applies it itself
        std=(1.0, 1.0, 1.0),
        see=lambda pixel_values: model.embed(pixel_values).reshape(1, -1),
        read=unable(ModelError("DreamSim reads no text", "configure a CLIP as the fashion encoder")),
        device=device,
    )


def dreamsim_folder() -> Path:
    """Where DreamSim keeps its weights."""
    return Path(torch.hub.get_dir()).parent / "dreamsim"


def _package(name: str, requirement: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(
            f"the package {name} cannot be imported: {first_line(error)}", f"pip install '{requirement}'"
        ) from error


@contextlib.contextmanager
def _impatient() -> Generator[None]:
    """No socket waits longer than the hub is given."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(HUB_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
