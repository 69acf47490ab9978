"""The evaluators of a run: any number can share it, each in a separate slot."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from shared.run_folder.heartbeat import is_alive, read_statuses
from shared.run_folder.records.process_status import FINAL_STATES, ProcessStatus
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time


def read_active_evaluators(run: RunDir) -> tuple[dict[int, ProcessStatus], set[int]]:
    """The evaluators of this session by slot, and which of them are alive."""
    statuses = read_statuses(run, "evaluator")
    alive = {slot for slot, status in statuses.items() if is_alive(status)}
    return of_this_session(statuses, alive), alive


def of_this_session(statuses: Mapping[int, ProcessStatus], alive: Collection[int]) -> dict[int, ProcessStatus]:
    """The living evaluators and those that died in this session; if none is alive, the one with the last record."""
    if not alive:
        last = max(statuses, key=lambda slot: parse_time(statuses[slot].heartbeat), default=None)
        return {} if last is None else {last: statuses[last]}
    begun = min(parse_time(statuses[slot].started) for slot in alive)
    return {
        slot: status
        for slot, status in statuses.items()
        if slot in alive or (status.state not in FINAL_STATES and parse_time(status.heartbeat) >= begun)
    }
