"""Training a LoRA of a language model: examples in rows, the loss, the held-out losses, the files of a snapshot."""

from tasks.language_model.training.preparation import prepare as prepare
