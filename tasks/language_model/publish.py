"""What is told of a LoRA of a language model when it is published: `run.py publish`, see `tasks.publish`."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copyfile

from shared.errors import ConfigError
from shared.files.publication import MANIFEST
from shared.publishing import base_model
from shared.publishing.pictures import Shown
from shared.publishing.publication import Part, Publication, Request, Weights
from shared.run_folder import averages
from shared.run_folder.run_dir import RunDir

ADAPTER_CONFIG = "adapter_config.json"
BASE_KEY = "base_model_name_or_path"
CODE = """import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

device = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = AutoTokenizer.from_pretrained({base})
base = AutoModelForCausalLM.from_pretrained({base}, dtype="auto"){note}
model = PeftModel.from_pretrained(base, {place}).to(device)
tokens = tokenizer({prompt}, return_tensors="pt").to(device)
answer = model.generate(input_ids=tokens["input_ids"], max_new_tokens=128, do_sample=False)[0]
print(tokenizer.decode(answer[tokens["input_ids"].shape[1] :], skip_special_tokens=True))"""


def describe(run: RunDir, step: int, request: Request, shown: Shown) -> Publication:
    """A folder of PEFT, and code that answers the first prompt of its evaluation.

    Raises:
        ConfigError: it is to be a zip.
    """
    if request.form == "zip":
        raise ConfigError(
            "--to is a zip for sites of pictures, and this is a language model", "give owner/name or a folder"
        )
    config = run.read_config()
    name = Path(config.model.path).name
    address = base_model.hub_id(config.model.path, request.base_model)
    files = sorted(path.name for path in run.snapshot(step).iterdir() if path.name != MANIFEST)
    code = CODE.format(
        base=json.dumps(address or name),
        note="" if address else "  # where the base model lies",
        place=json.dumps(request.place),
        prompt=json.dumps(_prompt(run, step), ensure_ascii=False),
    )
    return Publication(
        summary=f"A LoRA for the language model {base_model.linked(name, address)}.",
        weights=(Weights(tuple(files), "PEFT", lambda folder: _write(run.snapshot(step), folder, address or name)),),
        facts={"base model": base_model.linked(name, address)},
        usage=(Part("PEFT", f"```python\n{code}\n```"),),
        training={
            "trained with": "Darkroom",
            "step": averages.label(step),
            "examples": str(run.read_record().dataset.num_images - len(run.read_record().dataset.kept_away)),
            "rank": str(config.lora.rank),
            "alpha": f"{config.lora.lora_alpha:g}",
            "learning rate": f"{config.train.learning_rate:g}",
            "optimizer": config.train.optimizer,
        },
        metadata={
            "library_name": "peft",
            "pipeline_tag": "text-generation",
            "tags": ["lora", "peft", "darkroom"],
            "base_model": address,
            "base_model_relation": "adapter" if address else "",
        },
        licence=base_model.licence(config.model.path, address),
        cautions=base_model.cautions(name, address),
    )


def _prompt(run: RunDir, step: int) -> str:
    """The first that it was evaluated on; a greeting where there is none."""
    result = run.read_result(step)
    texts = [text for exhibit in result.exhibits for text in exhibit.texts] if result else []
    return next((text.prompt for text in texts if text.prompt), "Hello")


def _write(snapshot: Path, folder: Path, base: str) -> None:
    """The files as they are; only the place of the base model is told as others know it."""
    for path in snapshot.iterdir():
        if path.name == ADAPTER_CONFIG:
            settings = json.loads(path.read_text(encoding="utf-8")) | {BASE_KEY: base}
            (folder / path.name).write_text(json.dumps(settings, indent=2), encoding="utf-8", newline="\n")
        elif path.name != MANIFEST:
            copyfile(path, folder / path.name)
