"""`python -m evaluator RUN`: evaluate what has no result yet (`--once`), or go on for new snapshots (`--follow`).

SIGTERM: evaluate what is left, then end. SIGINT, or a lost supervisor: end after the evaluation at hand.

Exit codes: 0 done, 2 wrong folder or settings, 3 nothing to do, 4 try again (another evaluator is at work, or memory
did not suffice), 5 the base model cannot be loaded or the device is not there: trying again is no cure.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from pathlib import Path

import torch

from evaluator import gpu_memory, work_queue
from evaluator.evaluate import Evaluator
from evaluator.gpu_memory import LeakDetector
from evaluator.results_table import publish_descriptions
from evaluator.run_mode import RunMode
from evaluator.worker import Session
from shared.config.schema import Config, EvaluationConfig
from shared.data.references import MIN_FURTHER, further
from shared.errors import DeviceError, ModelError, exit_code_of, report
from shared.files.publication import sweep
from shared.launch.relocation import require_present
from shared.machine.hardware import evaluator_gpu
from shared.models.external_vae import pinned
from shared.run_folder.heartbeat import hold_slot
from shared.run_folder.records import RunRecord
from shared.run_folder.run_dir import RunDir, open_run
from tasks import devices
from tasks.text_to_image.evaluation import references
from tasks.text_to_image.evaluation.image_generator import ImageGenerator
from tasks.text_to_image.evaluation.scorer import load_scorer
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.families import loading
from tasks.text_to_image.metrics import descriptions

log = logging.getLogger("evaluator")

PERMANENT = 5


def main() -> int:
    """Wire the parts and work through the queue until told to end."""
    parser = argparse.ArgumentParser(prog="python -m evaluator", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="end when every snapshot has a result (default)")
    mode.add_argument("--follow", action="store_true", help="wait for new snapshots")
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    run_mode = RunMode(follow=arguments.follow)
    with hold_slot(run, "evaluator") as status:
        sweep(run.staging)
        publish_descriptions(run, descriptions())
        watching = work_queue.watching(run, run_mode.wake.set) if arguments.follow else contextlib.nullcontext()
        with watching:
            return _work(Session(run, run_mode, status, lambda: build(run)))


def _work(session: Session) -> int:
    try:
        return session.work()
    except (ModelError, DeviceError) as error:
        session.status.close("failed", str(error))
        report(error)
        return PERMANENT


def build(run: RunDir) -> Evaluator:
    """Load everything an evaluator of this run needs."""
    config, record = run.read_config(), run.read_record()
    require_present(run, config, to_train=False)
    settings = config.evaluation
    device = _device(config)
    devices.share_cores(device)
    model = loading.load_model(
        pinned(config.model, record.base_model),
        _precision(settings, device),
        zero_terminal_snr=config.train.zero_terminal_snr,
        max_token_length=config.data.max_token_length,
    )
    model.sample_with(settings.scheduler)
    image_generator = ImageGenerator(model, config.lora, settings, config.data.resolution)
    gpu_memory.limit(device, gpu_memory.expected_mib(run, device))
    image_generator.move_to(device)
    _tell_of_the_final(config, record)
    return Evaluator(
        run,
        config,
        record,
        references.load(run, config, model.size_multiple),
        image_generator,
        load_scorer(settings.fashion_clip, settings.visual, str(device)),
        TrainingSet(run, config),
        LeakDetector(),
    )


def _tell_of_the_final(config: Config, record: RunRecord) -> None:
    if config.evaluation.confirm_prompts and not further(config, record):
        log.info(
            "the best snapshots will not be evaluated again: data.num_validation (%d) leaves fewer than %d pairs "
            "beyond evaluation.num_prompts (%d)",
            len(record.dataset.held_out), MIN_FURTHER, config.evaluation.num_prompts,
        )  # fmt: skip


def _device(config: Config) -> torch.device:
    device = devices.choose_device(config.evaluation.device)
    if config.evaluation.device == "auto" and device.type == "cuda":
        return torch.device("cuda", evaluator_gpu(torch.cuda.device_count(), config.train.num_processes))
    return device


def _precision(settings: EvaluationConfig, device: torch.device) -> loading.Precision:
    if settings.dtype != "auto":
        return settings.dtype
    return "fp32" if device.type == "cpu" else "fp16"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(exit_code_of(main))
