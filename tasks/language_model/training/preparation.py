"""Prepares training from a run's settings."""

from __future__ import annotations

import logging

from accelerate import Accelerator

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.errors import ModelError
from shared.launch import relocation
from shared.run_folder.run_dir import RunDir
from tasks.language_model import adapter, network, task
from tasks.language_model.data import examples as data
from tasks.language_model.data import references
from tasks.language_model.data.tokenizer import Tokenizer
from tasks.language_model.data.tokens import Tokens, fitting
from tasks.language_model.models import files
from tasks.language_model.network import LanguageModel
from tasks.language_model.settings import Settings
from tasks.language_model.training import held_out_loss
from tasks.language_model.training.batches import Batches
from tasks.language_model.training.held_out_loss import Validation
from tasks.language_model.training.language_training import LanguageTraining, precision
from tasks.protocol import Progress

log = logging.getLogger(__name__)


def prepare(
    run: RunDir, config: Config, accelerator: Accelerator, progress: Progress, *, begins: bool
) -> LanguageTraining:
    """Read the examples and load the model. progress: not called, for nothing takes long.

    Raises:
        ConfigError, DataError, ModelError, DeviceError: training is impossible with these settings.
    """
    relocation.require_present(run, task.missing_paths(run, config), to_train=True)
    record, settings = run.read_record(), own_settings(config, Settings)
    everything = task.scan_again(run, config)
    if accelerator.is_main_process:
        references.publish_missing(run, config, lambda: everything)
    tokenizer = Tokenizer(files.find(task.pinned(run, config)).folder)
    tokens = fitting(everything, tokenizer, settings)
    there = [one for one in everything if one.id in tokens]
    training = [one.id for one in data.training_examples(there, record.dataset.kept_away, config)]
    batches = Batches(
        [tokens[name] for name in training],
        settings,
        tokenizer.padding,
        group_size=config.train.train_batch_size * accelerator.num_processes,
        seed=config.train.seed,
    )
    validation = None
    if config.train.validation_steps is not None:
        held_out = {name: tokens[name] for name in record.dataset.held_out}
        probe = held_out_loss.choose_probe(training, len(held_out), config.train.seed)
        validation = Validation(held_out, {name: tokens[name] for name in probe}, tokenizer.padding)
    dtype = precision(accelerator.mixed_precision)
    base = network.load(config.model, record.base_model, dtype, accelerator.device)
    module = LanguageModel(base)
    _require_packing(module, settings, [tokens[name] for name in training], tokenizer, accelerator)
    module.network = adapter.attach(base, config)
    learns = sum(one.numel() for one in module.parameters() if one.requires_grad)
    log.info("%d parameters, %d of them learn", sum(one.numel() for one in module.parameters()), learns)
    return LanguageTraining(config, accelerator, module.to(accelerator.device), batches, validation)


def _require_packing(
    module: LanguageModel, settings: Settings, some: list[Tokens], tokenizer: Tokenizer, accelerator: Accelerator
) -> None:
    """Raises ModelError where examples that share a row see one another."""
    if not settings.packing or len(some) < 2:
        return
    module.eval()
    if not network.keeps_apart(module, some, tokenizer.padding, accelerator.device):
        raise ModelError("this model does not keep examples of one row apart", "set language_model.packing = false")
