"""Language models of true architectures with few random weights, a tokenizer of bytes, and a few examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tasks
from shared.config.loading import parse_config
from shared.config.schema import Config

END, ASKS = "<|end|>", "<|assistant|>"
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}" + END + "\n{% endfor %}"
    "{% if add_generation_prompt %}" + ASKS + "\n{% endif %}"
)
WORDS = ("red", "green", "blue", "small", "large", "round", "flat", "warm", "cold", "old", "new", "loud")


def write_model(folder: Path, kind: str = "llama", *, template: bool = True) -> Path:
    """`llama`, `gpt2` or `qwen2` as `save_pretrained` writes them."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config  # noqa: PLC0415

    vocabulary = write_tokenizer(folder, template=template)
    small: dict[str, Any] = {
        "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    }  # fmt: skip
    ends: dict[str, Any] = {"bos_token_id": None, "eos_token_id": 256, "pad_token_id": 256}
    config: Any = {
        "llama": lambda: LlamaConfig(**small, **ends),
        "qwen2": lambda: Qwen2Config(**small, **ends),
        "gpt2": lambda: GPT2Config(
            vocab_size=vocabulary, n_embd=32, n_inner=48, n_layer=2, n_head=4, n_positions=256, **ends
        ),
    }[kind]()
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path, *, template: bool = True) -> int:
    """Every byte is a token; returns the size of the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
    whole.add_special_tokens({"additional_special_tokens": ["<|user|>", ASKS]})
    if template:
        whole.chat_template = TEMPLATE
    whole.save_pretrained(folder)
    return len(whole)


def examples(count: int = 24) -> list[dict[str, Any]]:
    """Words to be said backwards, each pair of them once; in three forms."""
    pairs = [(one, other) for one in WORDS for other in WORDS if one < other][:count]
    lines: list[dict[str, Any]] = []
    for number, (one, other) in enumerate(pairs):
        if number % 3 == 2:
            said = [{"role": "user", "content": f"{one} {other}"}, {"role": "assistant", "content": f"{other} {one}"}]
            lines.append({"messages": said})
        else:
            lines.append({"prompt": f"Backwards: {one} {other}\n", "completion": f"{other} {one}"})
    return lines


def write_examples(file: Path, lines: list[dict[str, Any]]) -> Path:
    """As JSON Lines."""
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def config(output_dir: Path, file: Path, base: Path, **sections: Mapping[str, Any]) -> Config:
    """Settings small enough for a second on one core; `sections` override them."""
    tree: dict[str, dict[str, Any]] = {
        "run": {"name": "run", "output_dir": str(output_dir), "task": "language_model"},
        "model": {"path": str(base)},
        "data": {"path": str(file), "num_validation": 7},
        "language_model": {"context_length": 96, "max_new_tokens": 8},
        "lora": {"rank": 2, "lora_alpha": 2},
        "train": {
            "max_train_steps": 6,
            "train_batch_size": 6,
            "learning_rate": 0.01,
            "lr_scheduler": "constant",
            "snapshot_steps": 3,
            "checkpointing_steps": 3,
            "validation_steps": 3,
        },
        "evaluation": {
            "num_prompts": 4,
            "confirm_prompts": 3,
            "rescan_seconds": 0.5,
            "batch_size": 3,
            "strengths": [],
        },
    }
    for section, values in sections.items():
        tree.setdefault(section, {}).update(values)
    return parse_config(tree, settings_of=tasks.settings)
