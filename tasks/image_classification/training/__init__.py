"""Training a classifier: pictures as numbers, the loss, the held-out losses, the files of a snapshot."""

from tasks.image_classification.training.preparation import prepare as prepare
