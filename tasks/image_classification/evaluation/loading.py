"""Loads what the evaluation of a run needs: network and held-out pictures."""

from __future__ import annotations

import torch

from shared.config.schema import Config
from shared.errors import RunFolderError
from shared.launch import relocation
from shared.run_folder.run_dir import RunDir
from tasks.image_classification import network, task
from tasks.image_classification.data import labelled, references
from tasks.image_classification.evaluation.classifier_evaluation import ClassifierEvaluation


def build(run: RunDir, config: Config, device: torch.device) -> ClassifierEvaluation:
    """Load everything that evaluations of this run need.

    Raises:
        ModelError, RunFolderError: the network or the pictures cannot be used.
    """
    relocation.require_present(run, task.missing_paths(run, config), to_train=False)
    inventory = run.read_inventory()
    if inventory is None:
        raise RunFolderError(f"{run.dataset} is missing, which names the classes", "restore it from a copy of the run")
    classes = labelled.names_in_order({pair.caption for pair in inventory.pairs})
    first = network.fresh(config, classes, run.read_record().base_model)
    return ClassifierEvaluation(
        run,
        config,
        classes,
        first.to(device).eval(),
        {name: value.detach().to("cpu", copy=True) for name, value in first.network.state_dict().items()},
        network.normalization(config),
        references.read(run.references),
        device,
    )
