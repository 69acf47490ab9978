"""Who may open the dashboard: anybody on this machine, and elsewhere whoever holds the link with its token."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from urllib.parse import quote

VARIABLE = "DARKROOM_TOKEN"
EVERY_INTERFACE = ("", "0.0.0.0", "::")


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
