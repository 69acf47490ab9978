"""`python -m evaluator.fleet RUN --on CLUSTER`: evaluate a run with many evaluators on a cluster of Ray.

Signals and exit codes are those of `python -m evaluator`; and 2: no cluster answers at the address, or no machine of it
can evaluate this run.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import tasks
from evaluator.__main__ import PERMANENT
from evaluator.agenda import Agenda
from evaluator.fleet.dispatch import Dispatch
from evaluator.fleet.places import Place
from evaluator.run_mode import RunMode
from shared.cluster import address as addresses
from shared.cluster.address import Address
from shared.config import one_call
from shared.errors import DeviceError, ModelError, exit_code_of, report
from shared.files.publication import sweep
from shared.machine import sources
from shared.machine.recorder import recorded
from shared.run_folder.heartbeat import hold_slot
from shared.run_folder.run_dir import open_run
from shared.run_folder.sharing.leases import release

if TYPE_CHECKING:
    from evaluator.fleet.crew import Crew

log = logging.getLogger("evaluator")
THREADS = "OMP_NUM_THREADS"


def main() -> int:
    """Connect, gather the members, give them work until it ends or a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m evaluator.fleet", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="end when every snapshot has a result (default)")
    mode.add_argument("--follow", action="store_true", help="wait for new snapshots")
    parser.add_argument("--on", required=True, help="ray, ray://HOST:PORT or HOST:PORT")
    parser.add_argument("--evaluators", type=int, help="how many; as many as the cluster has places for")
    parser.add_argument("settings", nargs="*", help="for this call alone: " + ", ".join(one_call.FOR_ONE_CALL))
    arguments = parser.parse_intermixed_args()
    run, settings = open_run(arguments.run), one_call.require(arguments.settings)
    address = addresses.parse(arguments.on)
    connection = importlib.import_module("shared.cluster.connection")  # loads Ray
    wanted = arguments.evaluators
    with connection.connected(address, {}, num_cpus(address, wanted)):
        run_mode = RunMode(follow=arguments.follow)
        with hold_slot(run, "evaluator") as status, recorded(run):
            sweep(run.staging)
            config = run.read_config(settings)
            descriptions = tasks.evaluation(config.run.task).descriptions(config)
            agenda = Agenda(run, run_mode, status, descriptions, config)
            crew = gather(agenda, settings, wanted)
            try:
                return _work(Dispatch(agenda, crew))
            finally:
                crew.close()


def num_cpus(address: Address, wanted: int | None) -> int | None:
    """What a cluster on this machine counts, so that everyone who is wanted has a place."""
    return max(wanted, os.cpu_count() or 1) if address.is_local and wanted else None


def gather(agenda: Agenda, settings: list[str], wanted: int | None) -> Crew:
    """The members; each loads the model by itself. wanted: how many; None: as many as there are places."""
    run, record = agenda.run, agenda.record
    crews = importlib.import_module("evaluator.fleet.crew")

    def uses_gpus(places: Iterable[Place]) -> bool:
        kind = agenda.config.evaluation.device.partition(":")[0]
        return kind == "cuda" or (kind == "auto" and any(place.num_gpus for place in places))

    def say(text: str) -> None:
        log.warning(text)
        agenda.status.notice(text)

    return crews.Crew(
        arguments=(run.path, record.run_id, settings, os.environ.get(THREADS)),
        versions=sources.versions(),
        uses_gpus=uses_gpus,
        wanted=wanted,
        lost=lambda facts: release(run, facts.host, facts.pid, facts.process_started),
        say=say,
    )


def _work(dispatch: Dispatch) -> int:
    try:
        return dispatch.work()
    except (ModelError, DeviceError) as error:
        dispatch.agenda.status.close("failed", str(error))
        report(error)
        return PERMANENT


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(exit_code_of(main))
