"""Evaluating snapshots on held-out examples: their loss, and the answers that are generated for them."""

from tasks.language_model.evaluation.descriptions import descriptions as descriptions
from tasks.language_model.evaluation.loading import build as build
