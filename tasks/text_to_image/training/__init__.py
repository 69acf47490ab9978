"""Training a LoRA: prepare pictures and captions, attach the adapter, compute the loss and the held-out loss."""

from tasks.text_to_image.training.preparation import prepare as prepare
