"""Who may open the dashboard: anybody on this machine, and elsewhere whoever holds the link with its token."""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from urllib.parse import quote

from shared.errors import ConfigError

VARIABLE = "DARKROOM_TOKEN"
ADMISSION = "DARKROOM_ADMISSION"
EVERY_INTERFACE = ("", "0.0.0.0", "::")


@dataclass(frozen=True)
class Admission:
    """Whom a dashboard lets in."""

    token: str = ""

    def environment(self) -> dict[str, str]:
        """How whoever starts a dashboard tells it: others on this machine can read a command line."""
        return {ADMISSION: json.dumps(asdict(self))}


def admission() -> Admission:
    """What this dashboard was told.

    Raises:
        ConfigError: nothing; it must not guess, for whoever reaches the page can stop the training.
    """
    if ADMISSION not in os.environ:
        raise ConfigError("a dashboard is not started by itself", "start it with `python run.py dashboard`")
    return Admission(**json.loads(os.environ[ADMISSION]))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address; an empty one is every interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_for(host: str) -> str:
    """`DARKROOM_TOKEN` where it is set; else none on a loopback address, a random one on any other."""
    return os.environ.get(VARIABLE, "") or ("" if is_loopback(host) else secrets.token_urlsafe(24))


def name_of(host: str) -> str:
    """The host of a link to an address: this machine's name where every interface is bound."""
    return socket.gethostname() if host in EVERY_INTERFACE else f"[{host}]" if ":" in host else host


def link(host: str, port: int, token: str) -> str:
    """What to open in a browser."""
    return f"http://{name_of(host)}:{port}" + (f"/?token={quote(token)}" if token else "")
