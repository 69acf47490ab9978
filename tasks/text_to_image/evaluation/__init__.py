"""A snapshot evaluated: its file proven, its pictures generated and scored."""

from tasks.text_to_image.evaluation.loading import build as build
from tasks.text_to_image.metrics import descriptions as descriptions
