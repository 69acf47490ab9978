"""Train on SLURM from Python, through submitit: `python examples/clusters/slurm_submitit.py CONFIG RUN`.

Before the time limit, or when SLURM takes the machine away, submitit signals the job: the run saves and ends, and the
job goes back into the queue, where the same command resumes it. Needs `pip install 'darkroom[slurm]'`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

ROOT = Path(__file__).resolve().parents[2]
UNHEARD = 'trap "" USR1 USR2; exec "$@"'
"""SLURM signals every process of a step: the programs of the run leave these two signals to submitit."""


@dataclass
class Training:
    """A job: one session of a run. config: a TOML file. run: the folder that it makes or resumes."""

    config: str
    run: str
    options: tuple[str, ...] = ("--no-dashboard",)

    def __call__(self) -> int:
        """Train until the run is complete, or until it is asked to stop. The exit code of `run.py train`."""
        command = [sys.executable, str(ROOT / "run.py"), "train", self.config, *self.options]
        return subprocess.run(["bash", "-c", UNHEARD, "run", *command], check=False).returncode

    def checkpoint(self) -> Any:
        """Called by submitit on its signal: save and end, then queue the same job again."""
        subprocess.run([sys.executable, str(ROOT / "run.py"), "stop", self.run, "--now"], check=True)
        return submitit.helpers.DelayedSubmission(self)


def main() -> None:
    """Submit; on a machine without SLURM, run it here."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    executor = submitit.AutoExecutor(folder="submitit-logs/%j", slurm_max_num_timeout=50)
    executor.update_parameters(name="darkroom", timeout_min=240, gpus_per_node=1, cpus_per_task=8, mem_gb=48)
    config, run = sys.argv[1:]
    job = executor.submit(Training(config, run))
    sys.stdout.write(f"job {job.job_id}: {job.paths.stdout}\n")


if __name__ == "__main__":
    main()
