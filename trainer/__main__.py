"""`python -m trainer RUN`, also under `accelerate launch -m trainer RUN`: train, or resume where training stopped."""

from __future__ import annotations

from shared import interruption, stacks

if __name__ == "__main__":
    interruption.end_at_once()
    stacks.print_when_asked()

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once: large pages for large tensors of a CPU

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

import tasks
from shared.config.schema import Config
from shared.errors import DeviceError, exit_code_of
from shared.launch import power
from shared.machine.recorder import recorded
from shared.run_folder.heartbeat import Status, hold_role
from shared.run_folder.run_dir import RunDir, open_run
from tasks import devices
from tasks.protocol import Progress
from trainer import checkpoint, optimizer, threads
from trainer.checkpoint import Checkpoint
from trainer.learner import Learner
from trainer.loop import Trainer
from trainer.run_writer import RunWriter, notice, open_run_writer
from trainer.stopping import StopRequestedError, StopSignal, TimeLimit

log = logging.getLogger("trainer")

PROCESS_TIMEOUT = timedelta(hours=1)
"""How long processes wait for one another: their shares of a large data set take unequal time to encode."""


def main() -> int:
    """Build the parts, train, record how training ended. The exit code is 0 also after a requested stop."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--alone", action="store_true", help="no evaluator shares this machine: use all cores of a CPU")
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    config = run.read_config()
    accelerator = _accelerator(config)
    with contextlib.ExitStack() as held:
        status = held.enter_context(hold_role(run, "trainer")) if accelerator.is_main_process else None
        if status:
            held.enter_context(recorded(run))
        stop = StopSignal(run, answers=accelerator.is_main_process)
        try:
            _train(run, config, accelerator, stop, status, alone=arguments.alone)
        except StopRequestedError as error:
            _end(stop, status, status.record.step if status else 0, reason=str(error))
    accelerator.end_training()
    return 0


def _accelerator(config: Config) -> Accelerator:
    """The accelerator for this process's device and, if a launcher started several processes, for its rank.

    Without a GPU, several processes communicate through gloo; accelerate by itself would treat each as the only one.

    Raises:
        DeviceError: there are more processes than GPUs.
    """
    device = devices.choose_device("auto")
    rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device.type == "cuda" and rank >= gpus:
        raise DeviceError(f"process {rank} has no GPU: this machine has {gpus}", "start one process per GPU")
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=devices.mixed_precision(config.model.mixed_precision),
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=PROCESS_TIMEOUT),
        ],
    )
    if not accelerator.is_main_process:
        logging.getLogger().setLevel(logging.WARNING)
    return accelerator


def _train(
    run: RunDir,
    config: Config,
    accelerator: Accelerator,
    stop: StopSignal,
    status: Status | None,
    *,
    alone: bool = False,
) -> None:
    report = status.update if status else lambda *_, **__: None
    total = config.train.max_train_steps
    has_base_model = bool(run.read_record().base_model)
    report("preparing", total=total, message="loading the base model" if has_base_model else "loading")
    limit = TimeLimit(run, config.stop.max_train_seconds)
    saved = _newest(run, accelerator, status)
    if saved and saved.step >= total:
        log.info("already complete at step %d of %d", saved.step, total)
        report("finished", step=saved.step, message="complete")
        return
    report(step=saved.step if saved else 0)
    before = saved.threads if saved else None
    of_threads = threads.take(
        accelerator.device, config.train.cpu_threads, before, resumes=saved is not None, alone=alone
    )
    log.info("computing with %d threads", torch.get_num_threads())
    if status:
        for caution in (
            of_threads,
            power.of_run(run, config).caution(),
            *tasks.find(config.run.task).warnings(run, config),
        ):
            if caution:
                notice(status, caution)
    optimizer.check(config.train, accelerator.device)
    doing = "encoding" if has_base_model else "preparing"
    training = tasks.training(config.run.task).prepare(
        run, config, accelerator, _progress(accelerator, stop, report, doing), begins=saved is None
    )
    learner = Learner(config, accelerator, training)
    if saved:
        checkpoint.require_same_stream(run, saved.step, learner.examples_per_step)
        learner.restore(saved)
        log.info("resuming after step %d", saved.step)
    writer = open_run_writer(run, config, learner, status, limit) if status else None
    report("training", step=learner.step)
    reason = _until_ended(Trainer(run, config, learner, stop, writer), writer)
    if writer:
        writer.close(reason or "last save")
    log.info("ended after step %d of %d: %s", learner.step, total, reason or "complete")
    _end(stop, status, learner.step, reason)


def _until_ended(trainer: Trainer, writer: RunWriter | None) -> str | None:
    """The reason for ending early. Where the device gives up, the saves that were begun are finished first.

    Raises:
        DeviceError: not one example fits into its memory, or it has failed.
    """
    try:
        return trainer.train()
    except DeviceError:
        if writer:
            writer.close("out of memory: saving the last complete step")
        raise
    except RuntimeError as error:
        if not devices.is_lost(error):
            raise
        if writer:
            writer.close("the GPU has failed: finishing the saves that were begun")
        raise devices.lost(error) from error


def _newest(run: RunDir, accelerator: Accelerator, status: Status | None) -> Checkpoint | None:
    """The newest undamaged checkpoint. The main process looks first and moves damaged ones aside."""
    saved = checkpoint.newest(run, lambda text: notice(status, text)) if accelerator.is_main_process else None
    accelerator.wait_for_everyone()
    return saved or checkpoint.newest(run, log.warning)


def _progress(accelerator: Accelerator, stop: StopSignal, report: Callable[..., None], doing: str) -> Progress:
    """Reports the progress of what takes long. A requested stop ends it, unless other processes wait for this one.

    doing: `encoding`, where there is a base model whose encoders do it.
    """

    def progress(done: int, total: int) -> None:
        report(message=f"{doing} {done}/{total}")
        if accelerator.num_processes == 1 and (reason := stop.reason(0)):
            raise StopRequestedError(reason)

    return progress


def _end(stop: StopSignal, status: Status | None, step: int, reason: str | None) -> None:
    """Once everything is saved: answer the requests, report the final state, raise the error that ended training."""
    if status:
        stop.note("saved", step)
        status.update("stopped" if reason else "finished", message=reason or "complete")
        stop.note("stopped", step)
    stop.raise_failure()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    torch.set_float32_matmul_precision("high")
    sys.exit(exit_code_of(main))
