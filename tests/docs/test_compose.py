"""compose.yaml's three services as three plain processes on one run folder: its own commands, without containers."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

import pytest
import yaml

from shared.config.dumping import dump_config
from shared.run_folder.run_dir import RunDir, steps_in
from tests.conftest import ROOT, Program, Warm, check, tiny_config, until

VARIABLES = {"RUN": "dress", "DARKROOM_TOKEN": "choose-a-long-one"}


def services(folder: Path) -> dict[str, Any]:
    """Those of the file, with these variables, and this folder for the containers' /workspace."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8").replace("/workspace", str(folder))
    return yaml.safe_load(re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", lambda found: VARIABLES.get(found[1], "x"), text))[
        "services"
    ]


def start(warm: Warm, folder: Path, service: dict[str, Any]) -> Program:
    """Its command and its environment, in the folder that an image begins in; a port of our own."""
    words = [word if word != "8501" else "0" for word in service["command"]]
    words = [word if word != "0.0.0.0" else "127.0.0.1" for word in words]
    log = folder / f"{words[0]}.log"
    return warm.start(
        "run",
        *words,
        prelude=f"import os; os.chdir({str(folder)!r})",
        environment=service.get("environment", {}),
        log=log,
    )


@pytest.mark.timeout(300)
def test_trainer_evaluator_and_dashboard_are_three_services_on_one_folder_of_runs(
    warm: Warm, tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    shutil.copytree(pictures, tmp_path / "data")
    config = tiny_config(
        tmp_path / "elsewhere", "other", tiny_model, tmp_path / "data", {"train": {"max_train_steps": 4}}
    )
    (tmp_path / "my.toml").write_text(dump_config(config), encoding="utf-8")
    (tmp_path / "runs").mkdir()
    found = services(tmp_path)
    run = RunDir(tmp_path / "runs" / "dress")
    trainer = start(warm, tmp_path, found["trainer"])
    healthy = Path(found["trainer"]["healthcheck"]["test"][-1])
    until(healthy.is_file, "what the others wait for")
    evaluator, dashboard = (start(warm, tmp_path, found[name]) for name in ("evaluator", "dashboard"))
    assert trainer.wait() == 0, trainer.stdout()
    until(lambda: steps_in(run.evaluations) == {0, 2, 4}, "every result")
    evaluator.kill(signal.SIGTERM)  # `docker compose stop`
    assert evaluator.wait() in (0, 4), evaluator.stdout()
    until(lambda: "token=" in dashboard.stdout(), "the link")
    address, token = re.findall(r"(http://\S+?)/?\?token=(\S+)", dashboard.stdout().replace("\n", ""))[0]
    assert token.startswith(VARIABLES["DARKROOM_TOKEN"])
    browser = build_opener(ProxyHandler({}), HTTPCookieProcessor())
    with pytest.raises(HTTPError, match="401"):
        browser.open(address)
    with browser.open(f"{address}/?token={VARIABLES['DARKROOM_TOKEN']}") as answer:
        assert answer.status == 200
    dashboard.kill(signal.SIGTERM)
    assert dashboard.wait() == 0
    assert check(run) == []
    assert not (tmp_path / "elsewhere").exists()
