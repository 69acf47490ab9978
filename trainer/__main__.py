"""`python -m trainer RUN`, also under `accelerate launch -m trainer RUN`: train, or go on where it stopped."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

from shared import dataset, disk, tables
from shared.config import Config
from shared.diffusion import base, lora, quantization
from shared.diffusion.description import describe
from shared.diffusion.model import Model
from shared.digests import Digests
from shared.errors import DataError, DeviceError, TrainingError, exit_code_of
from shared.publication import sweep
from shared.rundir import RunDir, open_run
from shared.status import Status, hold_role
from trainer import batches, checkpoint, optimizer, order, validation
from trainer.cache import Cache, Picture
from trainer.checkpoint import Checkpoint
from trainer.loop import Desk, Trainer
from trainer.orders import Orders
from trainer.publisher import Publisher
from trainer.stopping import StopAskedError, StopSignal, TimeLimit
from trainer.validation import Validation

log = logging.getLogger("trainer")

Progress = Callable[[int, int], None]

PATIENCE = timedelta(hours=1)
"""Processes wait so long for one another: their shares of a large data set take unequal time to encode."""
PRECISIONS: dict[str, base.Precision] = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}


def main() -> int:
    """Wire the parts, train, publish the end; the exit code is 0 also when a stop was asked for."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    run = open_run(parser.parse_args().run)
    config = run.read_config()
    accelerator = _accelerator(config)
    base.share_cores(accelerator.device)
    with hold_role(run, "trainer") if accelerator.is_main_process else contextlib.nullcontext() as status:
        stop = StopSignal(run, answers=accelerator.is_main_process)
        try:
            _train(run, config, accelerator, stop, status)
        except StopAskedError as asked:
            _end(stop, status, status.record.step if status else 0, str(asked))
    accelerator.end_training()
    return 0


def _accelerator(config: Config) -> Accelerator:
    """This process's device, and its place among the others where a launcher started several.

    Without a GPU several processes talk through gloo; accelerate alone would take each of them for the only one.

    Raises:
        DeviceError: there are more processes than GPUs.
    """
    device = base.choose_device("auto")
    rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device.type == "cuda" and rank >= gpus:
        raise DeviceError(f"process {rank} finds no GPU of its own: there are {gpus}", "start one process per GPU")
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=_mixed_precision(config),
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )
    if not accelerator.is_main_process:
        logging.getLogger().setLevel(logging.WARNING)
    return accelerator


def _train(run: RunDir, config: Config, accelerator: Accelerator, stop: StopSignal, status: Status | None) -> None:
    say = status.update if status else lambda *_, **__: None
    total = config.train.max_train_steps
    say("preparing", total=total, message="loading the base model")
    limit = TimeLimit(run, config.stop.max_train_seconds)
    saved = _newest(run, accelerator, status)
    if saved and saved.step >= total:
        log.info("already complete at step %d of %d", saved.step, total)
        say("finished", step=saved.step, message="complete")
        return
    say(step=saved.step if saved else 0)
    trainer = _build(run, config, accelerator, _progress(accelerator, stop, say))
    if saved:
        trainer.restore(saved)
        log.info("resuming after step %d", saved.step)
    desk = _desk(run, config, trainer, status, limit) if status else None
    say("training", step=trainer.step)
    reason = trainer.train(stop, desk)
    if desk:
        desk.status.update("saving", message=reason or "last save")
        desk.publisher.close()
        desk.orders.close()
    log.info("ended after step %d of %d: %s", trainer.step, total, reason or "complete")
    _end(stop, status, trainer.step, reason)


def _newest(run: RunDir, accelerator: Accelerator, status: Status | None) -> Checkpoint | None:
    """The newest whole checkpoint; the main process looks first, and moves damaged ones aside."""
    saved = checkpoint.newest(run, lambda text: _notice(status, text)) if accelerator.is_main_process else None
    accelerator.wait_for_everyone()
    return saved or checkpoint.newest(run, log.warning)


def _notice(status: Status | None, text: str) -> None:
    log.warning(text)
    if status:
        status.notice(text)


def _progress(accelerator: Accelerator, stop: StopSignal, say: Callable[..., None]) -> Progress:
    """Tells how far encoding is; a stop asked for meanwhile ends it, unless other processes wait for this one."""

    def progress(done: int, total: int) -> None:
        say(message=f"encoding {done}/{total}")
        if accelerator.num_processes == 1 and (reason := stop.reason(0)):
            raise StopAskedError(reason)

    return progress


def _end(stop: StopSignal, status: Status | None, step: int, reason: str | None) -> None:
    """Everything is saved: answer, say the last state, and raise what training could not go on with."""
    if status:
        stop.note("saved", step)
        status.update("stopped" if reason else "finished", message=reason or "complete")
        stop.note("stopped", step)
    stop.raise_failure()


def _build(run: RunDir, config: Config, accelerator: Accelerator, progress: Progress) -> Trainer:
    optimizer.check(config.train)
    quantization.require(config.model, accelerator.device)
    model = base.load_model(config.model, PRECISIONS[_mixed_precision(config)], quantized=True)
    digest = Digests(dataset.digests_path(config))
    held_out, training = _pairs(run, config, digest)
    group_size = config.train.train_batch_size * accelerator.num_processes
    examples = batches.frame(training, config, multiple=model.size_multiple, at_least=group_size)
    log.info(batches.describe(examples))
    cache = Cache(dataset.cache_dir(config), model, digest)
    measured = _validation(model, cache, held_out, training, config)
    pictures = [*batches.pictures_of(examples, config), *(measured.pictures if measured else ())]
    captions = [*batches.captions_of(examples, config), *(measured.captions if measured else ())]
    _encode(cache, model, pictures, captions, accelerator, progress)
    digest.save()
    if batches.encoded_live(config):
        for encoder in model.text_encoders.values():
            encoder.to(accelerator.device)
    torch.manual_seed(order.derive(config.train.seed, "adapter", 0))
    lora.attach(lora.adapted(model, config.lora), config.lora)
    stream = batches.Batches(examples, cache, config, group_size=group_size)
    return Trainer(run, config, accelerator, model, stream, measured)


def _validation(
    model: Model, cache: Cache, held_out: list[dataset.Pair], training: list[dataset.Pair], config: Config
) -> Validation | None:
    """The held-out loss, where it is asked for. Each picture is in the bucket of its own shape, on any batch size."""
    if config.train.validation_steps is None:
        return None
    probe = validation.choose_probe(training, len(held_out), config.train.seed)
    asked, probed = (
        batches.frame(pairs, config, multiple=model.size_multiple, at_least=1) for pairs in (held_out, probe)
    )
    return Validation(model, cache, asked, probed, config)


def _encode(
    cache: Cache,
    model: Model,
    pictures: list[Picture],
    captions: list[str],
    accelerator: Accelerator,
    progress: Progress,
) -> None:
    """Fill the cache, each process its share; a second round finds what others wrote on disks not seen from here.

    The encoders are on the device only while they are needed: not at all when nothing is missing.
    """
    for share in ((accelerator.process_index, accelerator.num_processes), (0, 1)):
        missing_pictures = cache.prepare_pictures(pictures, share)
        missing_captions = cache.prepare_captions(captions, share)
        if missing_pictures or missing_captions:
            model.encode_to(accelerator.device)
            cache.encode_pictures(missing_pictures, progress)
            cache.encode_captions(missing_captions, progress)
            model.encode_to(torch.device("cpu"))
        accelerator.wait_for_everyone()
        if accelerator.num_processes == 1:
            break


def _pairs(run: RunDir, config: Config, digest: Digests) -> tuple[list[dataset.Pair], list[dataset.Pair]]:
    """The pairs of the run's data set that are held out, and those that are trained on.

    Raises:
        DataError: the data set is no longer what it was when the run was made.
    """
    record = run.read_record().dataset
    pairs = dataset.scan(config)
    if dataset.fingerprint(pairs, digest) != record.fingerprint:
        raise DataError(
            f"{config.data.path} has changed since this run was made", "restore it, or start a new run with --new"
        )
    held_out = [pair for pair in pairs if pair.id in set(record.held_out)]
    return held_out, dataset.training_pairs(pairs, record.held_out, config.data.train_size, config.train.seed, digest)


def _desk(run: RunDir, config: Config, trainer: Trainer, status: Status, limit: TimeLimit) -> Desk:
    """Make the folder fit for going on after the trainer's step: no rows past it, nothing half-written, room to save.

    Raises:
        TrainingError: the next saves do not fit on the disk.
    """
    sweep(run.staging)
    pruned = tables.prune(run.train_csv, lambda row: int(row["step"]) <= trainer.step)
    if pruned and trainer.step:
        log.info("removed %d rows past step %d from train.csv", pruned, trainer.step)
    elif pruned:
        _notice(status, f"there was no checkpoint yet: training begins again at step 1, {pruned} steps are made anew")
    tables.prune(run.validation_csv, lambda row: 0 < trainer.step >= int(row["step"]))
    need = trainer.need()
    _require_room(run, need, status)
    limit_kept = config.train.checkpoints_total_limit
    model, num_pictures = trainer.model, trainer.batches.num_pictures
    publisher = Publisher(
        run,
        run.read_record().run_id,
        limit_kept,
        notice=lambda text: _notice(status, text),
        describe=lambda step: describe(config, model.family, model.prediction_type, num_pictures, step),
    )
    return Desk(status, publisher, Orders(run), limit, need)


def _require_room(run: RunDir, need: disk.Need, status: Status) -> None:
    if shortage := disk.shortage(run.path, need):
        raise TrainingError(f"training would not fit on the disk: {shortage}", "make room, or set run.output_dir")
    free = disk.free_bytes(run.path)
    if free < need.rest_of_run:
        text = f"{disk.in_words(free)} are free, this run is going to need about {disk.in_words(need.rest_of_run)}"
        _notice(status, f"{text}; training stops before none is left")


def _mixed_precision(config: Config) -> str:
    if config.model.mixed_precision != "auto":
        return config.model.mixed_precision
    if not torch.cuda.is_available():
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    torch.set_float32_matmul_precision("high")
    sys.exit(exit_code_of(main))
