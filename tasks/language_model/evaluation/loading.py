"""Loads what the evaluation of a run needs: model, tokenizer and held-out examples."""

from __future__ import annotations

import torch

from shared.config.schema import Config
from shared.launch import relocation
from shared.run_folder.run_dir import RunDir
from tasks.language_model import adapter, network, task
from tasks.language_model.data import references
from tasks.language_model.data.tokenizer import Tokenizer
from tasks.language_model.evaluation.language_evaluation import LanguageEvaluation
from tasks.language_model.models import files
from tasks.language_model.network import LanguageModel


def build(run: RunDir, config: Config, device: torch.device) -> LanguageEvaluation:
    """Load everything that evaluations of this run need.

    Raises:
        ModelError, RunFolderError, DeviceError: model or examples cannot be used.
    """
    relocation.require_present(run, task.missing_paths(run, config), to_train=False)
    found = files.find(task.pinned(run, config))
    settings = config.model
    if device.type not in network.HOLD_FEW_BITS:
        settings = settings.model_copy(update={"quantization": "none"})
    base = network.load(settings, run.read_record().base_model, dtype_of(config, device), device)
    module = LanguageModel(adapter.attach(base, config)).to(device).eval()
    return LanguageEvaluation(
        run, config, module, Tokenizer(found.folder), references.read(run.references), found.max_positions, device
    )


def dtype_of(config: Config, device: torch.device) -> torch.dtype:
    """By `evaluation.dtype`; `auto` is bf16 on a GPU that has it, else fp16, and fp32 on a CPU."""
    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if config.evaluation.dtype != "auto":
        return named[config.evaluation.dtype]
    if device.type == "cpu":
        return torch.float32
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_bf16 else torch.float16
