"""`python -m evaluator RUN`: evaluate snapshots without a result (`--once`), or also wait for new ones (`--follow`).

SIGTERM: evaluate the remaining snapshots, then end. SIGINT, or the end of the supervisor: end after the current
evaluation.

Exit codes: 0 done, 2 wrong folder or settings, 3 nothing to do, 4 try again (another evaluator is at work, or memory
did not suffice), 5 the base model cannot be loaded or the device is missing: trying again does not help.
"""

from __future__ import annotations

from shared import interruption, stacks

if __name__ == "__main__":
    interruption.end_at_once()
    stacks.print_when_asked()

import argparse
import contextlib
import logging
import sys
from pathlib import Path

import torch

import tasks
from evaluator import gpu_memory, work_queue
from evaluator.agenda import Agenda
from evaluator.evaluate import Evaluator
from evaluator.gpu_memory import LeakDetector
from evaluator.loop import EvaluationLoop
from evaluator.run_mode import RunMode
from evaluator.worker import Worker
from shared.config import one_call
from shared.config.schema import Config
from shared.errors import DeviceError, ModelError, exit_code_of, report
from shared.files.publication import sweep
from shared.machine.hardware import evaluator_gpu
from shared.machine.recorder import recorded
from shared.run_folder.heartbeat import hold_slot
from shared.run_folder.run_dir import RunDir, open_run
from tasks import devices

log = logging.getLogger("evaluator")

PERMANENT = 5


def main() -> int:
    """Build the parts and work through the queue until the end of the work or a signal."""
    parser = argparse.ArgumentParser(prog="python -m evaluator", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="end when every snapshot has a result (default)")
    mode.add_argument("--follow", action="store_true", help="wait for new snapshots")
    parser.add_argument("settings", nargs="*", help="for this evaluator alone: " + ", ".join(one_call.FOR_ONE_CALL))
    arguments = parser.parse_intermixed_args()
    run, settings = open_run(arguments.run), one_call.require(arguments.settings)
    run_mode = RunMode(follow=arguments.follow)
    with hold_slot(run, "evaluator") as status, recorded(run):
        sweep(run.staging)
        watching = work_queue.watching(run, run_mode.wake.set) if arguments.follow else contextlib.nullcontext()
        with watching:
            config = run.read_config(settings)
            descriptions = tasks.evaluation(config.run.task).descriptions(config)
            agenda = Agenda(run, run_mode, status, descriptions, config)
            worker = Worker(run, status, config, lambda: build(run, config), lambda: run_mode.current != "end")
            return _work(EvaluationLoop(agenda, worker))


def _work(loop: EvaluationLoop) -> int:
    try:
        return loop.work()
    except (ModelError, DeviceError) as error:
        loop.agenda.status.close("failed", str(error))
        report(error)
        return PERMANENT


def build(run: RunDir, config: Config) -> Evaluator:
    """Load everything an evaluator of this run needs. config: the run's, with what holds for this call only."""
    device = _device(config)
    devices.share_cores(device)
    gpu_memory.limit(device, gpu_memory.expected_mib(run, device))
    evaluation = tasks.evaluation(config.run.task).build(run, config, device)
    return Evaluator(run, run.read_record(), evaluation, LeakDetector())


def _device(config: Config) -> torch.device:
    device = devices.choose_device(config.evaluation.device)
    if config.evaluation.device == "auto" and device.type == "cuda":
        return torch.device("cuda", evaluator_gpu(torch.cuda.device_count(), config.train.num_processes))
    return device


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(exit_code_of(main))
