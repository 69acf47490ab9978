"""The address that a dashboard serves.

The program that starts the dashboard binds the port and passes the socket on. No other program can then take the port,
and it stays the same when a dashboard that exited is started again.
"""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from shared.config import access
from shared.errors import ConfigError
from shared.launch import handed_socket
from shared.launch.token_file import kept_token, new_token

ATTEMPTS = 50
HINT = "set another address by dashboard.host and dashboard.port, or --host and --port"


@dataclass(frozen=True)
class Listener:
    """A bound port; no other program can bind it until `close`."""

    host: str
    socket: socket.socket
    admission: access.Admission

    @property
    def port(self) -> int:
        """The bound port."""
        return int(self.socket.getsockname()[1])

    @property
    def link(self) -> str:
        """The address to open in a browser, with the token."""
        return access.link(self.host, self.port, self.admission.token, self.admission.base_path)

    @property
    def local_url(self) -> str:
        """The address on this machine, without the token."""
        return access.link("127.0.0.1" if self.host in access.EVERY_INTERFACE else self.host, self.port, "")

    @property
    def command(self) -> list[str]:
        """The command of a dashboard that serves on this port; its process inherits `descriptors`, then `hand_over`."""
        return [sys.executable, "-m", "dashboard", "--fd", handed_socket.word(self.socket)]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What `subprocess.Popen` takes as `pass_fds`."""
        return handed_socket.inherited(self.socket)

    def hand_over(self, process: subprocess.Popen[bytes]) -> None:
        """What a started dashboard needs besides, which has a pipe as standard input."""
        handed_socket.give(self.socket, process.pid, process.stdin)

    def start(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a dashboard on this port, with its output on the terminal."""
        variables = {**environment, **self.admission.environment()}
        process = subprocess.Popen(self.command, stdin=subprocess.PIPE, env=variables, pass_fds=self.descriptors)
        self.hand_over(process)
        return process

    def close(self) -> None:
        """Release the port."""
        self.socket.close()


def listen(
    host: str,
    port: int,
    trusted_hosts: tuple[str, ...] = (),
    base_path: str = "",
    frame_ancestors: tuple[str, ...] = (),
    runs: Path | None = None,
) -> Listener:
    """Bind `port`, or the next free one; if 50 are taken, or for port 0, any free port of the system.

    runs: the folder that keeps the token; None makes a new one.

    Raises:
        ConfigError: this machine does not have the address, or may not use the port.
    """
    token = access.token_for(host, trusted_hosts, lambda: kept_token(runs) if runs else new_token())
    admission = access.Admission(token, trusted_hosts, base_path, frame_ancestors)
    following = range(port, min(port + ATTEMPTS, 65536)) if port else ()
    for candidate in (*following, 0):
        try:
            return Listener(host, _bind(host, candidate), admission)
        except OSError as error:
            if error.errno == errno.EACCES and candidate == port:
                raise ConfigError(
                    f"this account may not listen on port {port}", "set dashboard.port, or --port, to 1024 or above"
                ) from None
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise ConfigError(f"cannot listen on {host!r}: {error.strerror or error}", HINT) from None
        except UnicodeError:
            raise ConfigError(f"cannot listen on {host!r}: it is no host name", HINT) from None
    raise ConfigError(f"no port is free on {host!r}", HINT)


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket; `::` takes IPv4 too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, dualstack_ipv6=both)
