"""Results that failed because a file was missing or another one are removed once the file is back, so that they are
evaluated again: a disk that was not mounted, a folder that was moved, a file that was restored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import RunFolderError
from shared.files.publication import remove
from shared.run_folder.averages import ends
from shared.run_folder.file_to_ship import file_state
from shared.run_folder.run_dir import ResultKind, RunDir, steps_in
from shared.run_folder.sharing.leases import claimed

MAX_TRIES = 3
"""Of one result by one program: a drive that comes and goes would be tried for ever."""


@dataclass
class Retries:
    """Of a run. Asked again and again; a result is read once."""

    run: RunDir
    _known: set[tuple[Path, int]] = field(default_factory=set[tuple[Path, int]])
    """Results that did not fail for this reason, with the time of their record."""
    _tries: Counter[Path] = field(default_factory=Counter[Path])

    def retry(self) -> list[int]:
        """Remove what can be evaluated by now; its steps, and numbers of averages."""
        again: list[int] = []
        for kind, step in self._lost():
            folder = self.run.result(kind, step)
            if self._tries[folder] >= MAX_TRIES or not self._is_back(step):
                continue
            with claimed(self.run, step, kind) as mine:
                if mine:
                    self._tries[folder] += 1
                    remove(self.run.staging, folder)
                    again.append(step)
        return sorted(set(again))

    def _lost(self) -> Iterator[tuple[ResultKind, int]]:
        folders = (self.run.evaluations, self.run.confirmations, *sorted(self.run.strengths.glob("*")))
        for folder in folders:
            kind = folder.relative_to(self.run.path).as_posix()
            for step in sorted(steps_in(folder)):
                record = self.run.result(kind, step) / "result.json"
                try:
                    key = (record, record.stat().st_mtime_ns)
                    result = self.run.read_result(step, kind) if key not in self._known else None
                except (FileNotFoundError, RunFolderError):
                    continue
                if result and result.status == "failed" and result.lost:
                    yield kind, step
                else:
                    self._known.add(key)

    def _is_back(self, step: int) -> bool:
        """Of an average that is not made yet, the files of all that lie between its ends."""
        first, last = ends(step) or (step, step)
        steps = [one for one in self.run.snapshots_to_evaluate() if first <= one <= last]
        return all(file_state(self.run, one) == "same" for one in steps)
