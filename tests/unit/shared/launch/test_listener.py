"""Ports are taken, not asked about."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import tomlkit
from typer.testing import CliRunner

from run import app
from shared.config import access
from shared.errors import ConfigError
from shared.launch import listener
from shared.launch.listener import Listener, listen
from shared.launch.supervisor import ROOT, wait_until_healthy

HOST = "127.0.0.1"
SERVER = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(sys.argv[2].encode())
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""


@contextmanager
def listening(port: int = 0) -> Generator[int]:
    with socket.create_server((HOST, port)) as server:
        yield server.getsockname()[1]


@contextmanager
def serving(held: Listener, answer: str) -> Generator[subprocess.Popen[bytes]]:
    """A program that answers on the listener's socket, as a dashboard does."""
    descriptor = held.descriptors[0]
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(descriptor), answer], pass_fds=held.descriptors)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answer_at(held: Listener) -> str:
    with urllib.request.urlopen(held.local_url, timeout=60) as answer:
        return answer.read().decode()


def test_a_free_port_is_taken_as_asked() -> None:
    with listening() as port:
        pass
    with closing(listen(HOST, port)) as held:
        assert held.port == port


def test_a_taken_port_gives_the_next_free_one() -> None:
    with listening() as port, closing(listen(HOST, port)) as held:
        assert port < held.port < port + 50


def test_however_many_ask_at_once_each_has_a_port_of_its_own() -> None:
    with listening() as port, ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda _: listen(HOST, port), range(40)))
        ports = {one.port for one in held}
        for one in held:
            one.close()
    assert len(ports) == 40


def test_two_who_start_at_once_each_answer_at_their_own_address() -> None:
    with (
        closing(listen(HOST, 8501)) as one,
        closing(listen(HOST, 8501)) as other,
        serving(other, "other"),
        serving(one, "one"),
    ):
        assert (answer_at(one), answer_at(other)) == ("one", "other")


def test_a_dashboard_that_is_started_again_keeps_its_port() -> None:
    with closing(listen(HOST, 0)) as held:
        with serving(held, "before"):
            assert answer_at(held) == "before"
        with closing(listen(HOST, held.port)) as another:
            assert another.port != held.port, "nobody may have it in between"
        with serving(held, "after"):
            assert answer_at(held) == "after"


def test_port_zero_lets_the_system_choose() -> None:
    with closing(listen(HOST, 0)) as held:
        assert held.port > 1023


def test_where_the_next_ports_are_taken_too_the_system_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "ATTEMPTS", 1)
    with listening() as port, closing(listen(HOST, port)) as held:
        assert held.port not in (0, port)


def test_the_last_port_there_is_may_be_taken() -> None:
    with closing(listen(HOST, 65535)), closing(listen(HOST, 65535)) as held:
        assert held.port != 65535


def test_a_port_that_needs_rights_is_refused_and_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(listener, "_bind", refuse)
    with pytest.raises(ConfigError, match="may not listen on port 80") as caught:
        listen(HOST, 80)
    assert "1024" in caught.value.hint


@pytest.mark.parametrize("host", ["203.0.113.1", "[::1]", "a..b", "http://127.0.0.1"])
def test_an_address_that_is_not_ours_is_an_error_that_says_so(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen on") as caught:
        listen(host, 8501)
    assert "dashboard.host" in caught.value.hint


def test_only_the_dashboard_is_told_the_token_and_not_by_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.VARIABLE, "secret")
    with closing(listen(HOST, 0)) as held:
        assert "secret" in held.link
        assert "secret" not in " ".join(held.command)
        assert json.loads(held.admission.environment()[access.ADMISSION])["token"] == "secret"
    monkeypatch.setenv(access.ADMISSION, held.admission.environment()[access.ADMISSION])
    assert access.admission() == held.admission


def test_a_dashboard_that_was_told_nothing_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(access.ADMISSION, raising=False)
    with pytest.raises(ConfigError, match="not started by itself"):
        access.admission()


def test_the_dashboard_sends_nothing_home() -> None:
    settings = tomlkit.parse((ROOT / "dashboard" / ".streamlit" / "config.toml").read_text()).unwrap()
    assert settings["browser"]["gatherUsageStats"] is False


def test_nobody_listening_is_not_healthy() -> None:
    with listening() as port:
        pass
    assert not wait_until_healthy(f"http://{HOST}:{port}", seconds=0.3)


def test_health_is_asked_directly_whatever_proxy_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{HOST}:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with closing(listen(HOST, 0)) as held, serving(held, "ok"):
        assert wait_until_healthy(held.local_url, seconds=60)


def test_a_setting_in_place_of_an_option_is_refused_with_the_option(tmp_path: Path) -> None:
    for given, option in {
        "dashboard.port=8743": "--port 8743",
        "dashboard.trusted_hosts=here": "--trusted-host here",
    }.items():
        ended = CliRunner().invoke(app, ["dashboard", str(tmp_path), given])
        assert ended.exit_code == 2
        assert f"give {option} in its place" in ended.stderr
