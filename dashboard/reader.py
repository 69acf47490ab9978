"""A run folder as the page sees it: read as it grows, each byte once, shared by all viewers.

`train.csv` is followed by byte offset; a line counts once its newline is there. Records are read again only when their
file was written again. Nothing here knows of Streamlit.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pandas as pd

from shared import control
from shared.config import Config
from shared.errors import RunFolderError
from shared.records import Best, EvaluationResult
from shared.rundir import RunDir, steps_in
from shared.tables import COMPARED_METRICS, METRIC_COLUMNS, TRAIN_COLUMNS, read_rows

TEXT_COLUMNS = frozenset({"timestamp", "status", "reason", "signals"})
FINGERPRINT_BYTES = 256


class GrowingTable:
    """A CSV file that another process appends to and sometimes replaces whole."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self._path, self._columns = path, columns
        self._lock = threading.Lock()
        self._forget()

    def read(self) -> pd.DataFrame:
        """Every whole row so far; the frame is shared: do not change it.

        Raises:
            RunFolderError: a line is not a row of this table.
        """
        with self._lock:
            lines = self._new_lines()
            if lines:
                self._append(lines)
            return self._frame

    def _forget(self) -> None:
        self._offset, self._last_bytes, self._header = 0, b"", b""
        self._frame = pd.DataFrame({column: pd.Series(dtype=_dtype(column)) for column in self._columns})

    def _new_lines(self) -> bytes:
        """What came since the last call, up to the last newline.

        The bytes before the offset are compared with what was read there: a resumed trainer rewrites the table, and
        neither size nor inode would tell for sure.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset - len(self._last_bytes))
                data = file.read()
        except FileNotFoundError:
            self._forget()
            return b""
        if not data.startswith(self._last_bytes):
            self._forget()
            return self._new_lines()
        lines = data[len(self._last_bytes) : data.rfind(b"\n") + 1]
        self._offset += len(lines)
        self._last_bytes = (self._last_bytes + lines)[-FINGERPRINT_BYTES:]
        return lines

    def _append(self, lines: bytes) -> None:
        if not self._header:
            header, newline, lines = lines.partition(b"\n")
            self._header = header + newline
        try:
            rows = pd.read_csv(io.BytesIO(self._header + lines), usecols=list(self._columns))
            rows = rows.astype({column: _dtype(column) for column in self._columns})
        except ValueError as error:
            self._forget()
            raise RunFolderError(f"{self._path} is damaged: {error}", "the trainer's next start repairs it") from None
        self._frame = pd.concat([self._frame, rows], ignore_index=True) if len(self._frame) else rows


class RunReader:
    """Everything the page shows of one run."""

    def __init__(self, run: RunDir, run_id: str) -> None:
        self.run, self.run_id, self.name = run, run_id, run.path.name
        self.config: Config = run.read_config()
        self._train = GrowingTable(run.train_csv, TRAIN_COLUMNS)
        self._metrics: tuple[tuple[int, int], pd.DataFrame] | None = None
        self._results: dict[int, tuple[int, EvaluationResult]] = {}

    def train(self) -> pd.DataFrame:
        """`train.csv`, blanks as NaN."""
        return self._train.read()

    def metrics(self) -> pd.DataFrame:
        """`metrics.csv` by ascending step, blanks as NaN; it is replaced whole, so it is read whole when it changes."""
        try:
            stat = self.run.metrics_csv.stat()
        except FileNotFoundError:
            return _metrics_frame([])
        version = (stat.st_mtime_ns, stat.st_size)
        if self._metrics is None or self._metrics[0] != version:
            self._metrics = (version, _metrics_frame(read_rows(self.run.metrics_csv)))
        return self._metrics[1]

    def last_step(self) -> int:
        """The last step logged; 0 before the first."""
        steps = self.train()["step"]
        return int(steps.iloc[-1]) if len(steps) else 0

    def base_metrics(self) -> dict[str, float]:
        """The base model's values: metrics.csv at step 0, blanks left out."""
        rows = self.metrics().query("step == 0")[list(COMPARED_METRICS)]
        return {str(name): float(value) for name, value in rows.iloc[0].dropna().items()} if len(rows) else {}

    def failures(self) -> dict[int, str]:
        """Step → why its evaluation failed."""
        failed = self.metrics().query("status == 'failed'")
        return {int(step): str(reason) for step, reason in zip(failed["step"], failed["reason"], strict=True)}

    def blanks(self) -> dict[str, dict[int, str]]:
        """Metric → step → why there is no value, failed evaluations included."""
        metrics, failed = self.metrics(), self.failures()
        return {
            name: {step: failed.get(step) or self._blank_reason(step, name) for step in _steps_without(metrics, name)}
            for name in COMPARED_METRICS
        }

    def stops(self) -> dict[int, str]:
        """Step → who asked for the stop that happened there."""
        answered = ((request, control.read_answer(self.run, request)) for request in control.requests(self.run))
        return {answer.step: f"asked by {request.by}" for request, answer in answered if answer.step is not None}

    def snapshot_steps(self) -> list[int]:
        """Steps with a published snapshot, ascending."""
        return sorted(steps_in(self.run.snapshots))

    def evaluated_steps(self) -> list[int]:
        """Steps with a published evaluation, failed ones too, ascending."""
        return sorted(steps_in(self.run.evaluations))

    def result(self, step: int) -> EvaluationResult | None:
        """The evaluation of a step; None while there is none.

        Raises:
            RunFolderError: its record is damaged.
        """
        path = self.run.evaluation(step) / "result.json"
        try:
            written = path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if self._results.get(step, (0, None))[0] != written:
            self._results[step] = (written, EvaluationResult.read(path))
        return self._results[step][1]

    def best(self) -> Best | None:
        """The verdict so far."""
        return self.run.read_best()

    def _blank_reason(self, step: int, name: str) -> str:
        result = self.result(step)
        return (result.blanks.get(name) if result else None) or "no reason was given"


def _dtype(column: str) -> str:
    return "str" if column in TEXT_COLUMNS else "float64"


def _steps_without(metrics: pd.DataFrame, name: str) -> list[int]:
    return [int(step) for step in metrics["step"][metrics[name].isna()]]


def _metrics_frame(rows: list[dict[str, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(METRIC_COLUMNS))
    for column in frame.columns.difference(list(TEXT_COLUMNS)):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame.dropna(subset=["step"]).sort_values("step", ignore_index=True)
