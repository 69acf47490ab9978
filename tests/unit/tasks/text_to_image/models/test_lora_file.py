"""A LoRA file to begin from is looked at when the run is made: what does not fit is refused with what would help."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from shared.config.loading import load_config
from shared.config.schema import LoraConfig
from shared.errors import ConfigError, RunFolderError
from shared.launch.resume import Resume
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models import lora_file
from tests.conftest import RunMaker, open_or_create, paper_model, tiny_config

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT = "text_encoder.text_model.encoder.layers.0"
Shapes = dict[str, tuple[int, ...]]


def write(path: Path, modules: dict[str, int], form: str = "diffusers", **metadata: str) -> Path:
    """modules: name → rank."""
    down, up = ("lora_A", "lora_B") if form == "diffusers" else ("lora_down", "lora_up")
    tensors: dict[str, np.ndarray] = {}
    for name, rank in modules.items():
        tensors[f"{name}.{down}.weight"] = np.ones((rank, 4), np.float16)
        tensors[f"{name}.{up}.weight"] = np.ones((4, rank), np.float16)
    save_file(tensors, path, metadata)
    return path


def kohya(module: str) -> str:
    return "lora_unet_" + module.replace(".", "_")


def lone_key(path: Path, key: str) -> Path:
    save_file({key: np.ones((2, 4), np.float16)}, path)
    return path


def truncated(path: Path) -> Path:
    write(path, {f"unet.{ATTENTION}": 2})
    path.write_bytes(path.read_bytes()[:-3])
    return path


def a_pickle(path: Path) -> Path:
    path.with_suffix(".pt").write_bytes(b"\x80\x04")
    return path.with_suffix(".pt")


def pickles(path: Path) -> Path:
    path.mkdir()
    (path / "adapter_model.bin").write_bytes(b"\x80\x04")
    return path


def a_run(path: Path) -> Path:
    """Its folder of snapshots."""
    for step in ("step-00000004", "step-00000020"):
        (path / "snapshots" / step).mkdir(parents=True)
    return path / "snapshots"


def no_archive(path: Path) -> Path:
    path.with_suffix(".zip").write_bytes(b"PK")
    return path.with_suffix(".zip")


def garbage(path: Path) -> Path:
    path.write_bytes(b"\xff" * 99)
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


def cut_in_its_header(path: Path) -> Path:
    path.write_bytes((5000).to_bytes(8, "little") + b'{"__metadata__": ')
    return path


FAULTS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "not there": (lambda path: path, "does not exist", "give a LoRA"),
    "a pickle": (a_pickle, "is a pickle, which can run any code", "as .safetensors"),
    "a folder of pickles": (pickles, "is a pickle", "as .safetensors"),
    "no archive": (no_archive, "cannot be read", "give a LoRA"),
    "garbage": (garbage, "is no safetensors file", "give a LoRA"),
    "empty": (empty, "is empty", "download or copy it again"),
    "cut in its header": (cut_in_its_header, "has 25 bytes, its header alone has 5000", "download or copy it again"),
    "truncated": (truncated, "bytes, its header says", "download or copy it again"),
    "no LoRA": (lambda path: lone_key(path, "model.weight"), "is no LoRA .* it holds model.weight", "give a LoRA"),
    "LoHa": (
        lambda path: lone_key(path, f"{kohya(ATTENTION)}.hada_w1_a"),
        "is a LoHa, which is not read: .*hada_w1_a",
        "LoHa",
    ),
    "half a module": (
        lambda path: lone_key(path, f"unet.{ATTENTION}.lora_A.weight"),
        f"is damaged: unet.{ATTENTION} has no lora_up",
        "download or copy it again",
    ),
    "kohya's DoRA": (
        lambda path: lone_key(path, f"{kohya(ATTENTION)}.dora_scale"),
        "is a DoRA of kohya's form, which is not read: .*dora_scale",
        "DoRA",
    ),
    "rank": (lambda path: write(path, {f"unet.{ATTENTION}": 8}), r"rank 8, more than lora.rank \(2\)", "lora.rank = 8"),
    "a text encoder": (
        lambda path: write(path, {f"unet.{ATTENTION}": 2, f"{TEXT}.self_attn.q_proj": 2}),
        "adapts a text encoder",
        "lora.text_encoder = true",
    ),
    "kohya's text encoder": (
        lambda path: write(path, {"lora_te_text_model_encoder_layers_0_mlp_fc1": 2}, "kohya"),
        "does not adapt 1 of its text encoder modules, such as lora_te_text_model_encoder_layers_0_mlp_fc1",
        "set lora.text_encoder = true, lora.text_encoder_mlp = true",
    ),
    "another family": (
        lambda path: write(path, {f"unet.{ATTENTION}": 2}, ss_base_model_version="sdxl_base_v1-0"),
        "it is for sdxl, the base model is sd1",
        "give a LoRA for this base model",
    ),
    "targets": (
        lambda path: write(path, {kohya(ATTENTION): 2, kohya("mid_block.attentions.0.proj_in"): 2}, "kohya"),
        "leaves out 1 of its modules, such as lora_unet_mid_block_attentions_0_proj_in",
        'lora.target_modules = "transformer"',
    ),
    "SDXL by its modules' names": (
        lambda path: write(path, {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k": 2}, "kohya"),
        "it is for sdxl, the base model is sd1",
        "give a LoRA for this base model",
    ),
    "SDXL by its second text encoder": (
        lambda path: write(path, {f"unet.{ATTENTION}": 2, TEXT.replace("encoder", "encoder_2", 1): 2}),
        "it is for sdxl, the base model is sd1",
        "give a LoRA for this base model",
    ),
    "a run folder": (lambda path: a_run(path) and path, "holds no LoRA", "snapshots/step-00000020"),
    "the snapshots of a run": (lambda path: a_run(path), "holds no LoRA", "snapshots/step-00000020"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_begun_from_is_refused_before_anything_is_made(
    make_paper_run: RunMaker, tmp_path: Path, fault: str
) -> None:
    make, complaint, cure = FAULTS[fault]
    with pytest.raises(ConfigError, match=complaint) as refused:
        make_paper_run(lora={"init_from": str(make(tmp_path / "lora.safetensors"))})
    assert cure in refused.value.hint
    assert not (tmp_path / "runs").exists()


def test_every_reason_is_told_at_once(make_paper_run: RunMaker, tmp_path: Path) -> None:
    modules = {f"unet.{ATTENTION}": 8, "unet.mid_block.resnets.0.conv1": 4, f"{TEXT}.self_attn.q_proj": 2}
    file = write(tmp_path / "lora.safetensors", modules)
    with pytest.raises(ConfigError) as refused:
        make_paper_run(lora={"init_from": str(file), "use_dora": True})
    assert len(str(refused.value).splitlines()) == 5
    cures = 'lora.use_dora = false, lora.text_encoder = true, lora.rank = 8, lora.target_modules = "all"'
    assert refused.value.hint == f"set {cures}"


def test_targets_are_found_under_the_names_of_sdxls_authors(tmp_path: Path) -> None:
    file = write(tmp_path / "lora.safetensors", {"lora_unet_input_blocks_1_0_in_layers_2": 2}, "kohya")
    with pytest.raises(ConfigError, match="leaves out 1") as refused:
        lora_file.check(lora_file.read(file), LoraConfig(), FAMILIES["sdxl"])
    assert 'lora.target_modules = "all"' in refused.value.hint


@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2"), (2048, "sdxl"), (32, None)])
@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_the_width_of_the_text_names_the_family(tmp_path: Path, width: int, family: str | None, form: str) -> None:
    module = ATTENTION.replace("attn1.to_q", "attn2.to_k")
    name = f"unet.{module}" if form == "diffusers" else kohya(module)
    down, up = np.ones((2, width), np.float16), np.ones((4, 2), np.float16)
    save_file({f"{name}.lora.down.weight": down, f"{name}.lora.up.weight": up}, tmp_path / "lora.safetensors")
    assert lora_file.read(tmp_path / "lora.safetensors").family is (FAMILIES[family] if family else None)


@pytest.mark.parametrize("prefix", ["unet.", ""])
def test_halves_of_attention_processors_are_those_of_the_layers(tmp_path: Path, prefix: str) -> None:
    attention, text = ATTENTION.rpartition(".")[0], f"{TEXT}.self_attn"
    tensors = {
        f"{module}.to_{kind}_lora.{half}.weight": np.ones((2, 2), np.float16)
        for module in (f"{prefix}{attention}.processor", text)
        for kind in ("q", "k", "v", "out")
        for half in ("down", "up")
    }
    save_file(tensors, tmp_path / "lora.safetensors")
    file = lora_file.read(tmp_path / "lora.safetensors")
    unet = {f"unet.{attention}.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")}
    assert file.modules.keys() == unet | {f"{text}.{kind}_proj" for kind in ("q", "k", "v", "out")}
    module = file.modules[f"unet.{attention}.to_out.0"]
    assert (module.part, module.keys["B"]) == ("unet", ("", f"{prefix}{attention}.processor.to_out_lora.up.weight"))
    lora_file.check(file, LoraConfig(text_encoder=True), FAMILIES["sd1"])


def peft(folder: Path) -> Path:
    (folder / "unet").mkdir(parents=True)
    write(folder / "unet" / "adapter_model.safetensors", {f"base_model.model.{ATTENTION}": 2})
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (folder / "unet" / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def test_an_archive_and_its_folder_are_the_same(tmp_path: Path) -> None:
    folder = peft(tmp_path / "adapter")
    archive = Path(shutil.make_archive(str(tmp_path / "adapter"), "zip", folder))
    assert zipfile.is_zipfile(archive)
    one, other = lora_file.read(folder), lora_file.read(archive)
    assert one.digest == other.digest
    assert one.modules == other.modules
    assert list(one.modules) == [f"unet.{ATTENTION}"]
    assert (one.form, one.settings["unet.lora_alpha"]) == ("peft", 4)


def test_a_file_that_was_moved_is_known_again_and_one_that_is_gone_is_not_missed(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "lora.safetensors", {f"unet.{ATTENTION}": 2})
    made = tiny_config(tmp_path / "runs", "run", paper_model(tmp_path / "model"), pictures, {})
    run = resume(made.model_copy(update={"lora": made.lora.model_copy(update={"init_from": "lora.safetensors"})}))
    assert run.read_config().lora.init_from == str(tmp_path / "lora.safetensors")
    run.train_csv.write_text("step\n1\n")
    config = run.read_config()

    (tmp_path / "lora.safetensors").rename(tmp_path / "moved.safetensors")
    overrides = ["lora.init_from=moved.safetensors"]
    assert resume(load_config(run.config, overrides)).read_config().lora.init_from == str(
        tmp_path / "moved.safetensors"
    )
    (tmp_path / "moved.safetensors").unlink()
    run.checkpoint(1).mkdir()
    resume(run.read_config())
    write(tmp_path / "lora.safetensors", {f"unet.{ATTENTION}": 1})
    with pytest.raises(RunFolderError, match=r"lora\.init_from was .* the run began from it"):
        resume(config)


def resume(config: object) -> RunDir:
    told: list[str] = []
    return open_or_create(config, Resume(), told.append, lambda: None)  # type: ignore[arg-type]
