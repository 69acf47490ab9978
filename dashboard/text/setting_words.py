"""Settings as people call them. A setting that is not named here is called by its key, in words."""

from __future__ import annotations

from dashboard.text.language import counting, say

WORDS = {
    "model.path": "base model",
    "model.mixed_precision": "precision",
    "data.path": "pictures",
    "data.resolution": "resolution",
    "data.buckets": "aspect buckets",
    "data.train_size": "training pictures",
    "data.num_validation": "held-out pictures",
    "data.regularization_path": "regularization pictures",
    "data.trigger_word": "trigger word",
    "data.random_flip": "mirroring",
    "data.caption_dropout": "caption dropout",
    "data.shuffle_tags": "shuffled tags",
    "lora.rank": "rank",
    "lora.lora_alpha": "alpha",
    "lora.target_modules": "trained layers",
    "lora.init_from": "started from",
    "lora.dropout": "LoRA dropout",
    "lora.use_rslora": "rsLoRA",
    "lora.use_dora": "DoRA",
    "lora.text_encoder": "text encoder trained",
    "train.max_train_steps": "steps",
    "train.max_train_epochs": "epochs",
    "train.train_batch_size": "batch size",
    "train.gradient_accumulation_steps": "gradient accumulation",
    "train.num_processes": "processes",
    "train.optimizer": "optimizer",
    "train.learning_rate": "learning rate",
    "train.text_encoder_learning_rate": "text encoder learning rate",
    "train.lr_scheduler": "learning rate schedule",
    "train.lr_warmup_steps": "warmup steps",
    "train.weight_decay": "weight decay",
    "train.max_grad_norm": "gradient clipping",
    "train.ema_decay": "weight averaging",
    "train.loss_type": "loss",
    "train.snr_gamma": "min-SNR gamma",
    "train.noise_offset": "noise offset",
    "train.snapshot_steps": "snapshot every",
    "train.seed": "seed",
    "imported.trainer": "trained with",
    "imported.folder": "LoRAs of",
    "imported.base_model": "trained on base model",
    "evaluation.num_prompts": "evaluation prompts",
    "evaluation.num_seeds": "evaluation seeds",
    "evaluation.num_inference_steps": "drawing steps",
    "evaluation.guidance_scale": "guidance",
    "evaluation.seed": "evaluation seed",
    "evaluation.prefer": "preferred snapshot",
}
PATHS = (
    *("model.path", "model.training_adapter", "data.path", "data.regularization_path"),
    *("lora.init_from", "imported.folder"),
)
"""Of these the last part says enough."""
SWITCHES = {"true": "on", "false": "off"}


def setting_words(key: str) -> str:
    """`train.learning_rate` → `learning rate`."""
    with counting("step"):  # a setting keeps its name, also where snapshots are counted in epochs
        return say(WORDS[key]) if key in WORDS else key.partition(".")[2].replace("_", " ")


def value_words(key: str, value: str) -> str:
    """A value as `dashboard.data.comparison.spell` spells it → as people read it."""
    if not value:
        return say("none")
    if key in PATHS:
        return value.rstrip("/").rpartition("/")[2] or value
    return say(SWITCHES[value]) if value in SWITCHES else value
