"""Prepares training from a run's settings."""

from __future__ import annotations

import logging

from accelerate import Accelerator

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.data import dataset
from shared.files.digests import Digests
from shared.launch import relocation
from shared.run_folder.run_dir import RunDir
from tasks.image_classification import network, task
from tasks.image_classification.data import labelled, references
from tasks.image_classification.settings import Settings
from tasks.image_classification.training import held_out_loss
from tasks.image_classification.training.batches import Batches
from tasks.image_classification.training.classifier_training import ClassifierTraining
from tasks.image_classification.training.held_out_loss import Validation
from tasks.protocol import Progress

log = logging.getLogger(__name__)


def prepare(
    run: RunDir, config: Config, accelerator: Accelerator, progress: Progress, *, begins: bool
) -> ClassifierTraining:
    """Read the pictures and build the network. progress: not called, for nothing takes long.

    Raises:
        ConfigError, DataError, ModelError: training is impossible with these settings.
    """
    relocation.require_present(run, task.missing_paths(run, config), to_train=True)
    digest = Digests(dataset.digests_path(config))
    pairs, record = task.scan_again(run, config, digest), run.read_record()
    if accelerator.is_main_process:
        references.publish_missing(run, config, lambda: pairs)
    relocation.remember(digest)
    classes, by_id = labelled.classes_of(pairs), {pair.id: pair for pair in pairs}
    held_out = [by_id[pair_id] for pair_id in record.dataset.held_out]
    training = labelled.training_pairs(pairs, record.dataset.kept_away, config, digest)
    how, size = network.normalization(config), own_settings(config, Settings).img_size
    group_size = config.train.train_batch_size * accelerator.num_processes
    batches = Batches(training, classes, config, how, group_size=group_size)
    validation = None
    if config.train.validation_steps is not None:
        probe = held_out_loss.choose_probe(training, len(held_out), config.train.seed)
        validation = Validation(held_out, probe, classes, size, how)
    module = network.fresh(config, classes, record.base_model)
    log.info("%d parameters, %d classes", sum(one.numel() for one in module.parameters()), len(classes))
    return ClassifierTraining(config, accelerator, module, batches, how, classes, validation)
