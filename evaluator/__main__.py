"""`python -m evaluator RUN`: judge what has no result yet (`--once`), or go on for new snapshots (`--follow`).

SIGTERM: judge what is left, then end. SIGINT, or a lost supervisor: end after the evaluation at hand.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Literal

import torch

from evaluator import queue, references
from evaluator.judge import Judge
from evaluator.ledger import Ledger
from evaluator.scorer import load_scorer
from evaluator.studio import Studio
from shared import lifeline
from shared.claims import claimed
from shared.config import EvaluationConfig
from shared.diffusion import base
from shared.errors import exit_code_of
from shared.publication import sweep
from shared.rundir import RunDir, open_run, steps_in
from shared.status import Status, hold_role

log = logging.getLogger("evaluator")


class Orders:
    """What this evaluator has been told: go on, judge what is left, or end."""

    def __init__(self, *, follow: bool) -> None:
        self.current: Literal["follow", "drain", "end"] = "follow" if follow else "drain"
        self.wake = threading.Event()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        lifeline.watch(lambda: self._order("end"))

    def _order(self, order: Literal["drain", "end"]) -> None:
        self.current = "end" if "end" in (order, self.current) else order
        self.wake.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._order("drain" if number == signal.SIGTERM else "end")


def main() -> int:
    """Wire the parts and work through the queue until told to end."""
    parser = argparse.ArgumentParser(prog="python -m evaluator", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="end when every snapshot has a result (default)")
    mode.add_argument("--follow", action="store_true", help="wait for new snapshots")
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    orders = Orders(follow=arguments.follow)
    with hold_role(run, "evaluator") as status:
        sweep(run.staging)
        judge = _build(run)
        watching = queue.watching(run, orders.wake) if arguments.follow else contextlib.nullcontext()
        with watching:
            _work(run, judge, orders, status)
    return 0


def _build(run: RunDir) -> Judge:
    config, record = run.read_config(), run.read_record()
    settings = config.evaluation
    device = base.choose_device(settings.device)
    base.share_cores(device)
    model = base.load_model(config.model, _precision(settings, device))
    if config.train.zero_terminal_snr:
        model.sample_from_pure_noise()
    model.pipeline.to(device)
    return Judge(
        run,
        config,
        record,
        references.load(run, config, record, model.size_multiple),
        Studio(model, config.lora, settings, config.data.resolution),
        load_scorer(settings.fashion_clip, settings.visual, str(device)),
    )


def _work(run: RunDir, judge: Judge, orders: Orders, status: Status) -> None:
    """Judge one pending step after another; wait when there is none and the orders are to follow."""
    ledger = Ledger(run)
    ledger.rebuild()
    rescan_seconds = judge.config.evaluation.rescan_seconds
    while orders.current != "end":
        orders.wake.clear()
        waiting = queue.pending(run)
        if waiting:
            _judge_claimed(run, judge, ledger, waiting[0], status)
        elif orders.current == "drain":
            return
        else:
            status.update("idle", message=f"judged {len(steps_in(run.evaluations))}")
            orders.wake.wait(rescan_seconds)


def _judge_claimed(run: RunDir, judge: Judge, ledger: Ledger, step: int, status: Status) -> None:
    with claimed(run, step) as mine:
        if not mine or step in steps_in(run.evaluations):
            return
        status.update("evaluating", step=step, message=f"step {step}")
        result = judge.judge(step)
        ledger.rebuild()
        log.info("judged step %d: %s %s %s", step, result.status, result.reason, result.seconds)


def _precision(settings: EvaluationConfig, device: torch.device) -> base.Precision:
    if settings.dtype != "auto":
        return settings.dtype
    return "fp32" if device.type == "cpu" else "fp16"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(exit_code_of(main))
