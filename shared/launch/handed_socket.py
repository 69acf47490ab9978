"""A listening socket that one program passes to another, which it starts.

POSIX: the child inherits the descriptor. Windows has no `pass_fds`, and inherited handles of sockets are not sockets
with every network driver; there the parent duplicates the socket for the child's process id once that is known
(`socket.share`, WSADuplicateSocket), and sends what comes of it through the child's standard input, before the pipe
serves `parent_watch`.
"""

from __future__ import annotations

import os
import socket
from typing import IO, Any

from shared.launch import end_signals

THROUGH_STDIN = "stdin"


def word(held: socket.socket, *, is_windows: bool = end_signals.IS_WINDOWS) -> str:
    """What the child is told on its command line."""
    return THROUGH_STDIN if is_windows else str(held.fileno())


def inherited(held: socket.socket, *, is_windows: bool = end_signals.IS_WINDOWS) -> tuple[int, ...]:
    """What `subprocess.Popen` takes as `pass_fds`."""
    return () if is_windows else (held.fileno(),)


def give(held: Any, pid: int, pipe: IO[bytes] | None, *, is_windows: bool = end_signals.IS_WINDOWS) -> None:
    """After the child is started. held: a socket; pipe: to its standard input."""
    if is_windows and pipe:
        data: bytes = held.share(pid)
        pipe.write(len(data).to_bytes(4, "big") + data)
        pipe.flush()


def take(told: str) -> socket.socket:
    """The socket, in the child. told: `word`'s."""
    if told != THROUGH_STDIN:
        return socket.socket(fileno=int(told))
    data = _read(int.from_bytes(_read(4), "big"))
    made: socket.socket = getattr(socket, "fromshare")(data)  # noqa: B009  # of Windows' Python
    return made


def _read(count: int) -> bytes:
    """From standard input, no byte more."""
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            raise EOFError("the program that started this one has ended")
        data += part
    return data
