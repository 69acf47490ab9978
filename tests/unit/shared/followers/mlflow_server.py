"""A real MLflow server with SQLite, on a port of its own, that can be killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.followers import environments
from tests.conftest import until

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class MLflowServer:
    """Database and files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = int(taken.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        python = environments.for_trackers()
        assert python
        command = [
            *(str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"),
            *("--artifacts-destination", str(self._folder / "artifacts")),
        ]
        log = (self._folder / "log").open("ab")
        plain = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONPATH": ""}
        self._process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True, env={**os.environ, **plain}
        )
        until(self._answers, "MLflow's server", seconds=240)

    def kill(self) -> None:
        """With all its workers, at once."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with DIRECT.open(f"{self.url}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, route: str, body: Mapping[str, object] | None = None, /, **query: object) -> Any:
        """Its REST interface: what it has, asked without MLflow's client."""
        url = f"{self.url}/api/2.0/mlflow/{route}?{urllib.parse.urlencode(query)}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with DIRECT.open(request, timeout=60) as answer:
            return json.load(answer)

    def runs(self, experiment: str = "darkroom") -> list[Any]:
        """Of an experiment."""
        found = self.ask("experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
        return self.ask("runs/search", {"experiment_ids": [found]}).get("runs", [])

    def history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """Every point of a metric, also those that are there twice."""
        points = self.ask("metrics/get-history", run_id=run_id, metric_key=name, max_results=20000).get("metrics", [])
        return sorted((int(point.get("step", 0)), float(point["value"])) for point in points)

    def files(self, run_id: str, folder: str = "") -> list[str]:
        """Of a folder of a run."""
        found = self.ask("artifacts/list", run_id=run_id, path=folder).get("files", [])
        return sorted(file["path"] for file in found)
