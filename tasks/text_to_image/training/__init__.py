"""What the trainer learns: the pictures and captions prepared, the adapter attached, the held-out loss."""

from tasks.text_to_image.training.preparation import prepare as prepare
