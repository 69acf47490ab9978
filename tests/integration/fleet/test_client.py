"""A client outside a cluster that asks for a token, as `ray start` makes it where there is one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from shared.launch.supervisor import ROOT

PROGRAM = """
import sys
from shared.cluster.address import parse
from shared.cluster.connection import connected
from shared.errors import exit_code_of

def body():
    with connected(parse(sys.argv[1]), {}):
        import ray
        print("nodes:", sum(node["Alive"] for node in ray.nodes()))
    return 0

sys.exit(exit_code_of(body))
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def environment(home: Path) -> dict[str, str]:
    """Without settings of Ray; with the tokens of another home."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**own, "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def head(tmp_path: Path) -> Generator[tuple[str, str]]:
    """The addresses of a head that asks for a token: of its client server, and its own."""
    token = tmp_path / "home" / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.write_text("5" * 64, encoding="utf-8")
    port, client = free_port(), 9000 + os.getpid() % 900  # below the ports of Ray's workers
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--port={port}", "--num-cpus=1"]
    more = [f"--ray-client-server-port={client}", "--include-dashboard=false", f"--object-store-memory={80 << 20}"]
    with (tmp_path / "ray.log").open("wb") as log:
        process = subprocess.Popen(
            [*map(str, command), *more],
            env=environment(tmp_path / "home"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    yield f"ray://127.0.0.1:{client}", f"127.0.0.1:{port}"
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=20)
    for one in left:
        one.kill()


def ask(address: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, address],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.slow
def test_the_token_of_this_machine_is_sent_where_it_is_asked_for_and_without_one_the_cure_names_it(
    head: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    for address in head:
        found = ask(address, tmp_path / "home")
        assert (found.returncode, found.stdout) == (0, "nodes: 1\n"), found.stderr
        refused = ask(address, tmp_path / "elsewhere")
        assert refused.returncode == 2
        assert "asks for a token, and this machine sends none" in refused.stderr
        assert "copy ~/.ray/auth_token from there" in refused.stderr
