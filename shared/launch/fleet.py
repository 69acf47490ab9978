"""Where a run's programs work: on this machine, or on a cluster of Ray."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fleet:
    """What `--on` and `--evaluators` of a command say."""

    on: str = ""
    """The cluster, as `shared.cluster.address` reads it; empty: none, one evaluator works here."""
    evaluators: int | None = None
    """How many; None: as many as the cluster has places for."""

    def evaluator(self, *arguments: object) -> tuple[str, *tuple[object, ...]]:
        """The module that evaluates, and its arguments. arguments: those that an evaluator takes."""
        if not self.on:
            return ("evaluator", *arguments)
        number = ["--evaluators", self.evaluators] if self.evaluators else []
        return ("evaluator.fleet", *arguments, "--on", self.on, *number)
