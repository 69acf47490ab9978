"""Prepares training from a run's settings: frames pictures, encodes everything, attaches what is trained."""

from __future__ import annotations

import logging

from accelerate import Accelerator

from shared.config.schema import Config, ModelConfig
from shared.data import dataset, references
from shared.data.dataset import Pair
from shared.errors import ConfigError
from shared.files.digests import Digests
from shared.launch import relocation
from shared.run_folder.records.run_record import DatasetRecord
from shared.run_folder.run_dir import RunDir
from tasks import devices
from tasks.protocol import Progress
from tasks.text_to_image import places
from tasks.text_to_image.data import batches
from tasks.text_to_image.data.batches import Example
from tasks.text_to_image.data.cache import Cache, Caption, Mask, Picture
from tasks.text_to_image.families import loading, quantization
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.models import base_model, suitability, trained_whole
from tasks.text_to_image.models.external_vae import pinned
from tasks.text_to_image.training import data_rows, held_out_loss
from tasks.text_to_image.training.diffusion_training import DiffusionTraining
from tasks.text_to_image.training.held_out_loss import Validation
from tasks.text_to_image.training.trained import ToTrain
from tasks.text_to_image.training.trained_denoiser import DenoiserToTrain
from tasks.text_to_image.training.trained_lora import LoraToTrain

log = logging.getLogger(__name__)

NO_HELD_OUT_LOSS = (
    "no picture is held out (data.num_validation is 0), so no held-out loss is measured, and the sign of overfitting "
    "`gap` is unknown"
)
TO_TRAIN = {"lora": LoraToTrain, "full": DenoiserToTrain, "scratch": DenoiserToTrain}
"""By `train.what`."""
PRECISIONS: dict[str, loading.Precision] = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}


def prepare(
    run: RunDir, config: Config, accelerator: Accelerator, progress: Progress, *, begins: bool
) -> DiffusionTraining:
    """Load the model, encode what the cache lacks, attach what is trained. progress: of pictures or captions encoded.

    begins: there is no checkpoint to restore, so that `lora.init_from` applies.

    Raises:
        ConfigError, DataError, ModelError, DeviceError: training is impossible with these settings.
    """
    places.require_present(run, config, to_train=True)
    quantization.require(config.model, accelerator.device)
    settings = pinned(config.model, run.read_record().base_model)
    precision = PRECISIONS[devices.mixed_precision(config.model.mixed_precision)]
    _require_range(precision, settings)
    model = loading.load_model(
        settings,
        precision,
        denoiser=_own_denoiser(config),
        for_training=True,
        zero_terminal_snr=config.train.zero_terminal_snr,
        max_token_length=config.data.max_token_length,
    )
    model.guidance = config.train.guidance_scale
    suitability.require(config, model.family)  # a hub id that was not downloaded when the run was made
    to_train: ToTrain = TO_TRAIN[config.train.what](run, config, model, begins=begins)
    digest = Digests(dataset.digests_path(config))
    pairs = relocation.scan_again(run, config, digest)
    lengths = model.token_lengths(pair.caption for pair in pairs)
    if cut := lengths.cut(config.data.max_token_length):
        model.notices += (cut,)
    held_out, training, of_class = _split(pairs, run.read_record().dataset, config, digest)
    if accelerator.is_main_process:
        source_sizes = model.family.source_sizes(config.data, model.size_multiple)
        references.publish_missing(run, config, model.size_multiple, lambda: held_out, source_sizes)
    group_size = config.train.train_batch_size * accelerator.num_processes
    examples = _framed([*training, *of_class], model, config, group_size)
    log.info(batches.describe(examples))
    if accelerator.is_main_process:
        trained = {example.pair.id: example.framing.target for example in examples}
        others = _framed([pair for pair in pairs if pair.id not in trained], model, config, 1)
        framed = trained | {example.pair.id: example.framing.target for example in others}
        data_rows.write(run, pairs, {pair.id for pair in training}, framed, lengths, config)
    cache = Cache(dataset.cache_dir(config), model, digest)
    validation = _validation(model, cache, held_out, training, config)
    pictures = [*batches.pictures_of(examples, config), *(validation.pictures if validation else ())]
    captions = [*batches.captions_of(examples, config, cache.beside), *(validation.captions if validation else ())]
    masks = [example.mask for example in examples if example.mask]
    _encode(cache, model, pictures, captions, masks, accelerator, progress)
    digest.save()
    if config.encodes_captions_live:
        model.hold_text_encoders(accelerator.device)
    stream = batches.Batches(examples, cache, config, group_size=group_size)
    trained = to_train.attach(stream.num_pictures)
    return DiffusionTraining(config, accelerator, model, trained, stream, validation)


def _own_denoiser(config: Config) -> loading.OwnDenoiser | None:
    """In fp32 where it is trained: half precision would lose small updates."""
    if not trained_whole.is_whole(config):
        return None
    return loading.OwnDenoiser("fp32", config.train.seed if config.train.what == "scratch" else None)


def _require_range(precision: loading.Precision, settings: ModelConfig) -> None:
    """Raises ConfigError where `auto` is fp16, because the GPU has no bf16, and the model overflows in it."""
    family = base_model.family_or_guess(settings)
    if precision == "fp16" and family.overflows_in_fp16:
        raise ConfigError(
            f"model.mixed_precision is fp16 on this GPU, in which {family.title} overflows",
            "set model.mixed_precision = 'bf16', which is slow on this GPU, or train on a newer one",
        )


def _split(
    pairs: list[Pair], record: DatasetRecord, config: Config, digest: Digests
) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """The held-out pairs, the training pairs of the subject, and the training pairs for regularisation."""
    held_out = [pair for pair in pairs if pair.id in set(record.held_out)]
    training = dataset.training_pairs(pairs, record.kept_away, config.data.train_size, config.train.seed, digest)
    return held_out, training, dataset.regularization_pairs(pairs, record.kept_away, digest)


def _framed(pairs: list[Pair], model: Model, config: Config, at_least: int) -> list[Example]:
    multiple = model.size_multiple
    sizes = model.family.source_sizes(config.data, multiple)
    return batches.frame(pairs, config, multiple=multiple, at_least=at_least, source_sizes=sizes)


def _validation(
    model: Model, cache: Cache, held_out: list[Pair], training: list[Pair], config: Config
) -> Validation | None:
    """The held-out loss, if `train.validation_steps` is set and pictures are held out. Each picture is in the bucket of
    its own shape, whatever the batch size.
    """
    if config.train.validation_steps is None:
        return None
    if not held_out:
        model.notices += (NO_HELD_OUT_LOSS,)
        return None
    probe = held_out_loss.choose_probe(training, len(held_out), config.train.seed)
    held_out_examples, probe_examples = (_framed(pairs, model, config, 1) for pairs in (held_out, probe))
    return Validation(model, cache, held_out_examples, probe_examples, config)


def _encode(
    cache: Cache,
    model: Model,
    pictures: list[Picture],
    captions: list[Caption],
    masks: list[Mask],
    accelerator: Accelerator,
    progress: Progress,
) -> None:
    """Fill the cache. Each process encodes its share; a second round encodes what the others wrote to their own disks.

    The encoders are on the device only while they are needed: not at all if nothing is missing.
    """
    for share in ((accelerator.process_index, accelerator.num_processes), (0, 1)):
        missing_pictures = cache.prepare_pictures(pictures, share)
        missing_captions = cache.prepare_captions(captions, share)
        cache.reduce_masks(cache.prepare_masks(masks, share), progress)
        if missing_pictures:
            with model.vae_on(accelerator.device):
                cache.encode_pictures(missing_pictures, progress)
        if missing_captions:
            with model.text_encoders_on(accelerator.device):
                cache.encode_captions(missing_captions, progress)
        accelerator.wait_for_everyone()
        if accelerator.num_processes == 1:
            break
