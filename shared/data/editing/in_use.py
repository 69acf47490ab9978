"""Which runs train on a data set at this moment: what they use is never changed under them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from shared.config.path_settings import HUB, NO_PICTURES
from shared.data.split.regularization import AUTO, NONE
from shared.errors import DarkroomError
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.run_dir import RunDir, list_runs


def runs_that_use(folder: Path, runs: Path) -> list[str]:
    """Names of the runs in the folder `runs` whose trainer is alive and whose data lies in `folder`, or around it."""
    real = folder.resolve()
    return [run.path.name for run in list_runs(runs) if _is_training(run) and any(_touch(real, run))]


def _is_training(run: RunDir) -> bool:
    """A trainer that starts again is between two lives for a moment: its supervisor still trains then."""
    supervisor = read_status(run, "supervisor")
    restarts = supervisor is not None and supervisor.state == "training" and is_alive(supervisor)
    return restarts or is_alive(read_status(run, "trainer"))


def _touch(folder: Path, run: RunDir) -> Iterable[bool]:
    with suppress(DarkroomError, OSError):
        data = run.read_config().data
        for path in (data.path, data.regularization_path):
            if path in (NO_PICTURES, AUTO, NONE) or path.startswith(HUB):
                continue
            place = Path(path).resolve()
            place = place.parent if place.is_file() else place
            yield place == folder or place.is_relative_to(folder) or folder.is_relative_to(place)
