"""Evaluation of a snapshot: check its file, generate pictures, score them."""

from tasks.text_to_image.evaluation.loading import build as build
from tasks.text_to_image.metrics import descriptions as descriptions
