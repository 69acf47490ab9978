"""The evaluators of a run: any number may share it, each in a seat of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from shared.run_folder.heartbeat import is_alive, read_statuses
from shared.run_folder.records import FINAL_STATES, ProcessStatus, parse_time
from shared.run_folder.run_dir import RunDir


def read_crew(run: RunDir) -> tuple[dict[int, ProcessStatus], set[int]]:
    """The evaluators of this session by seat, and which of them are alive."""
    said = read_statuses(run, "evaluator")
    alive = {seat for seat, status in said.items() if is_alive(status)}
    return of_this_session(said, alive), alive


def of_this_session(said: Mapping[int, ProcessStatus], alive: Collection[int]) -> dict[int, ProcessStatus]:
    """The living and who died beside them; where none lives, who spoke last."""
    if not alive:
        last = max(said, key=lambda seat: parse_time(said[seat].heartbeat), default=None)
        return {} if last is None else {last: said[last]}
    begun = min(parse_time(said[seat].started) for seat in alive)
    return {
        seat: status
        for seat, status in said.items()
        if seat in alive or (status.state not in FINAL_STATES and parse_time(status.heartbeat) >= begun)
    }
