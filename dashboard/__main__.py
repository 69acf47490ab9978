"""`python -m dashboard --fd N`: serve the pages on the listening socket N that whoever started this has bound.

On Windows N is `stdin`: see shared/launch/handed_socket.py.

`python run.py dashboard` is the command for people.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import contextlib
import sys

import uvicorn

from shared.errors import exit_code_of
from shared.launch import handed_socket, parent_watch

WEBSOCKET_SECONDS = 30
MAX_MESSAGE_BYTES = 200 * 1024 * 1024


def main() -> int:
    """Serve until a signal, or the end of whoever started this."""
    parser = argparse.ArgumentParser(prog="python -m dashboard", description=__doc__)
    parser.add_argument("--fd", required=True, help="descriptor of a listening socket, or stdin")
    listening = handed_socket.take(parser.parse_args().fd)
    parent_watch.watch()
    config = uvicorn.Config(
        "dashboard.server.app:app",
        ws="websockets-sansio",  # these four as Streamlit's own server has them
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=WEBSOCKET_SECONDS,
        ws_ping_timeout=WEBSOCKET_SECONDS,
        access_log=False,
        use_colors=False,
        log_level="warning",
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again once all is closed
        uvicorn.Server(config).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
