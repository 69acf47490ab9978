"""Evaluating snapshots on held-out pictures."""

from tasks.image_classification.evaluation.descriptions import descriptions as descriptions
from tasks.image_classification.evaluation.loading import build as build
