"""Ray Train's workers, one for each process of the trainer. Checkpoints are the run folder's; Ray Train keeps none."""

from __future__ import annotations

import logging
import shutil
from typing import Any

from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from shared.errors import ConfigError, DarkroomError
from shared.files.publication import stage_in
from shared.run_folder.run_dir import RunDir
from trainer.cluster.process import CODE, work

QUIET = ("ray.train", "ray", "ray.data")


def train(run: RunDir, number: int, *, uses_gpu: bool, settings: dict[str, Any]) -> int | str:
    """The trainer's exit code, or why workers were lost.

    Raises:
        ConfigError: a machine cannot train this run.
    """
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    folder = stage_in(run.staging)  # every machine must see it, though nothing of worth is written there
    trainer = TorchTrainer(
        work,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="gloo"),  # to agree on a port; the trainer makes a group of its own
        scaling_config=ScalingConfig(num_workers=number, use_gpu=uses_gpu),
        run_config=RunConfig(name="run", storage_path=str(folder), failure_config=FailureConfig(max_failures=0)),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        return _outcome(error)
    except RayError as error:  # what leads the workers was lost itself
        return _last_line(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _outcome(error: TrainingFailedError) -> int | str:
    failures: list[Exception] = list(getattr(error, "worker_failures", {}).values())
    for cause in failures:
        if isinstance(cause, DarkroomError):
            raise ConfigError(str(cause), cause.hint) from None
    codes = [int(code) for code in CODE.findall("\n".join(map(str, [*failures, error])))]
    if codes:
        return next((code for code in codes if code != 1), codes[0])
    return _last_line(error)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
