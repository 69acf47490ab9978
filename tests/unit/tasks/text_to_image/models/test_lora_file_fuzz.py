"""LoRA files that somebody made with care to break their reader: always one error with a cure, and little memory."""

from __future__ import annotations

import io
import json
import os
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from safetensors.numpy import save

from shared.errors import ConfigError
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.foreign.files.training_facts import training_facts
from tasks.text_to_image.lora import fitted
from tasks.text_to_image.models import lora_file
from tasks.text_to_image.models.adaptable import Base
from tests.properties import EXAMPLES, error_of, holds

MODULES = [f"down_blocks.0.attentions.0.transformer_blocks.0.attn1.{end}" for end in ("to_q", "to_v")]
BASE = Base(FAMILIES["sd1"], {f"unet.{module}": (8, 8) for module in MODULES})
LIMIT_MIB = 512
"""More than a process may grow by any file of a megabyte."""
LEAVES = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        2,
        2**31,
        2**63,
        -(2**63),
        10**400,
        1.5,
        1e308,
        "",
        "F32",
        "F8_E4M3",
        "F4",
        "I64",
        "U8",
        "BOOL",
        "C64",
        "\ud800",
        "\0",
        "x" * 300,
        [],
        [0, 8],
        [8, 0],
        [-2, 8],
        [2.5, 8],
        ["2", 8],
        [2**40, 2**40],
        [8],
        [1] * 70,
        {},
        {"a": {"a": {}}},
    ]
)


def diffusers() -> bytes:
    halves = {"lora_A.weight": (2, 8), "lora_B.weight": (8, 2)}
    tensors = {
        f"unet.{module}.{half}": np.ones(shape, np.float16) for module in MODULES for half, shape in halves.items()
    }
    alphas = {
        "unet.r": 2,
        "unet.lora_alpha": 4,
        "unet.target_modules": ["to_q", "to_v"],
        "unet.use_rslora": False,
        "unet.rank_pattern": {},
        "unet.alpha_pattern": {},
    }
    return save(tensors, {"lora_adapter_metadata": json.dumps(alphas), "format": "pt"})


def kohya() -> bytes:
    tensors: dict[str, Any] = {}
    for module in MODULES:
        name = "lora_unet_" + module.replace(".", "_")
        tensors[f"{name}.lora_down.weight"] = np.ones((2, 8), np.float32)
        tensors[f"{name}.lora_up.weight"] = np.ones((8, 2), np.float32)
        tensors[f"{name}.alpha"] = np.array(2.0, np.float32)
    return save(tensors, {"ss_network_dim": "2", "ss_base_model_version": "sd_v1"})


WHOLE = [diffusers(), kohya()]


def split(data: bytes) -> tuple[Any, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(text: bytes, body: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text + body


def encoded(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=True).encode()


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A whole file in whose header one to three values are others."""
    tree, body = split(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(tree)))
        how = draw(st.sampled_from(["value", "field", "entry", "remove", "rename", "twin"]))
        entry = tree[name]
        if how == "value" and isinstance(entry, dict) and entry:
            entry[draw(st.sampled_from(sorted(entry)))] = draw(LEAVES)
        elif how == "field" and isinstance(entry, dict) and entry:
            entry.pop(draw(st.sampled_from(sorted(entry))))
        elif how == "entry":
            tree[name] = draw(LEAVES)
        elif how == "remove" and len(tree) > 1:
            tree.pop(name)
        elif how == "rename":
            tree[draw(st.sampled_from(["", "x", name.upper(), f"{name}.x", "lora_A.weight", "__metadata__"]))] = entry
        else:
            tree[f"{name} "] = entry
    text = encoded(tree)
    if draw(st.booleans()):  # the same key twice, with other values
        twin = sorted(tree)[0]
        text = text[:-1] + b"," + encoded({twin: draw(LEAVES)})[1:]
    return joined(text, body)


@st.composite
def torn(draw: st.DrawFn) -> bytes:
    """A whole file cut off, longer, with other bytes, or with another length of its header."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    how = draw(st.sampled_from(["cut", "longer", "bytes", "length", "zeros"]))
    if how == "cut":
        return bytes(data[: draw(st.integers(0, len(data)))])
    if how == "longer":
        return bytes(data) + draw(st.binary(min_size=1, max_size=20))
    if how == "length":
        lengths = [0, 1, 7, len(data), 2**31, 2**63, 2**64 - 1, lora_file.MAX_HEADER_BYTES]
        return draw(st.sampled_from(lengths)).to_bytes(8, "little") + bytes(data[8:])
    if how == "zeros":
        start = draw(st.integers(0, len(data) - 1))
        return bytes(data[:start]) + bytes(len(data) - start)
    for _ in range(draw(st.integers(1, 8))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


def read_all(place: Path) -> None:
    """As a run begins from it, and as an evaluation takes it."""
    training_facts(place)
    fitted.fit(lora_file.read(place), BASE)


@EXAMPLES
@pytest.mark.parametrize("files", [headers(), torn()], ids=["headers", "torn"])
def test_a_mutated_file_is_a_lora_or_one_error_with_a_cure(examples: int, files: Any, tmp_path: Path) -> None:
    place, before = tmp_path / "a.safetensors", peak_mib()

    def check(data: bytes) -> None:
        place.write_bytes(data)
        error = error_of(lambda: read_all(place))
        assert error is None or str(place) in str(error), "the file is named"

    holds(check, 5 * examples, files)
    assert peak_mib() - before < LIMIT_MIB


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def nested(depth: int) -> bytes:
    return joined(b'{"a":' * depth + b"1" + b"}" * depth, b"")


@pytest.mark.parametrize(
    "data",
    [
        nested(100_000),
        joined(b"[" * 200_000, b""),
        joined(encoded({"__metadata__": "x", **split(WHOLE[0])[0]}), b""),
        joined(b'{"__metadata__": {"format": NaN}}', b""),
        joined(b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 0]}}', b""),
        joined(b"[]," * 8_000_000, b""),
        b"\xff" * 8,
        b"",
    ],
    ids=["deep", "brackets", "metadata", "NaN", "digits", "24 MB of lists", "length", "empty"],
)
def test_a_header_that_is_made_to_hurt_is_one_error(data: bytes, tmp_path: Path) -> None:
    place, before = tmp_path / "a.safetensors", peak_mib()
    place.write_bytes(data)
    error = error_of(lambda: lora_file.look(place))
    assert isinstance(error, ConfigError)
    assert error.hint
    assert peak_mib() - before < LIMIT_MIB


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


CONFIG = json.dumps(
    {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 2,
        "target_modules": ["to_q"],
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
    }
).encode()


@EXAMPLES
def test_a_mutated_archive_is_a_lora_or_one_error(examples: int, tmp_path: Path) -> None:
    whole = zipped({"unet/adapter_model.safetensors": peft(), "unet/adapter_config.json": CONFIG})
    place = tmp_path / "a.zip"
    place.write_bytes(whole)
    assert error_of(lambda: read_all(place)) is None, "it is one"

    def check(changes: list[tuple[int, int]], kept: int) -> None:
        data = bytearray(whole)
        for at, value in changes:
            data[at % len(data)] = value
        place.write_bytes(bytes(data)[: len(data) - kept % len(data)])
        error_of(lambda: read_all(place))

    changes = st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=6)
    holds(check, 5 * examples, changes, st.one_of(st.just(0), st.integers(0, 10**4)))


def peft() -> bytes:
    name = f"base_model.model.{MODULES[0]}"
    return save(
        {f"{name}.lora_A.weight": np.ones((2, 8), np.float32), f"{name}.lora_B.weight": np.ones((8, 2), np.float32)}
    )


@EXAMPLES
def test_a_mutated_configuration_of_peft_is_a_lora_or_one_error(examples: int, tmp_path: Path) -> None:
    folder = tmp_path / "lora"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(peft())

    def check(key: str, value: Any, raw: bytes | None) -> None:
        config = encoded({**json.loads(CONFIG), key: value}) if raw is None else raw
        (folder / "adapter_config.json").write_bytes(config)
        error_of(lambda: read_all(folder))

    keys = st.sampled_from(["peft_type", "r", "lora_alpha", "target_modules", "use_rslora", "alpha_pattern", "x"])
    raw = st.one_of(st.none(), st.binary(max_size=30), st.just(b"[" * 100_000))
    holds(check, examples, keys, LEAVES, raw)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def unreadable_archive(path: Path) -> None:
    """Its one file says that it is encrypted."""
    data = bytearray(zipped({"unet/adapter_model.safetensors": peft(), "unet/adapter_config.json": CONFIG}))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + place] |= 1
    path.write_bytes(data)


def a_bomb(path: Path) -> None:
    """A kilobyte that unpacks to 128 MB behind a header that is whole."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("unet/adapter_model.safetensors", "w", force_zip64=True) as file:
            file.write(peft())
            for _ in range(128):
                file.write(bytes(1 << 20))
        archive.writestr("unet/adapter_config.json", CONFIG)


@pytest.mark.parametrize("make", [a_pipe, a_folder, unreadable_archive, a_bomb])
def test_what_is_no_file_of_weights_is_one_error(make: Callable[[Path], None], tmp_path: Path) -> None:
    place, before = tmp_path / "a.zip", peak_mib()
    make(place)
    error = error_of(lambda: read_all(place))
    assert error
    assert peak_mib() - before < 100


def test_a_whole_file_of_each_form_is_read(tmp_path: Path) -> None:
    for number, data in enumerate(WHOLE):
        place = tmp_path / f"{number}.safetensors"
        place.write_bytes(data)
        assert len(fitted.fit(lora_file.read(place), BASE).scales) == len(MODULES)
