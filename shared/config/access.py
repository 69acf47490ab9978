"""Who may open the dashboard: anybody on this machine, and elsewhere whoever holds the link with its token."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import quote

from shared.errors import ConfigError

VARIABLE = "DARKROOM_TOKEN"
ADMISSION = "DARKROOM_ADMISSION"
EVERY_INTERFACE = ("", "0.0.0.0", "::")
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|[0-9a-f]*:[0-9a-f:]*")
BASE_PATH = re.compile(r"[A-Za-z0-9._~/-]*")
SITE = re.compile(r"https?://(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?(:\d{1,5})?")


@dataclass(frozen=True)
class Admission:
    """Whom a dashboard lets in."""

    token: str = ""
    trusted_hosts: tuple[str, ...] = ()
    base_path: str = ""
    frame_ancestors: tuple[str, ...] = ()

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
    fields = json.loads(os.environ[ADMISSION])
    return Admission(
        fields["token"], tuple(fields["trusted_hosts"]), fields["base_path"], tuple(fields["frame_ancestors"])
    )


def host_names(given: object) -> object:
    """Trusted hosts as they are compared, from a list or from names with commas between them.

    Raises:
        ValueError: one is no mere name, such as `https://gpu.example.org/`.
    """
    if not isinstance(given, str | list | tuple):
        return given
    names = given.split(",") if isinstance(given, str) else [str(name) for name in cast("Sequence[object]", given)]
    cleaned = [name.strip().lower().rstrip(".") for name in names]
    if wrong := [name for name in cleaned if not HOST_NAME.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r} is no host name, write it without scheme, port and path: gpu.example.org")
    return tuple(cleaned)


def path_prefix(given: object) -> object:
    """A base path with a slash before it and none after it; empty for none.

    Raises:
        ValueError: it is a whole address, or holds what an address would have to escape.
    """
    if not isinstance(given, str):
        return given
    path = "/".join(part for part in given.split("/") if part)
    if not BASE_PATH.fullmatch(path):
        raise ValueError(f"{given!r} is no path, write what follows the host name: /darkroom")
    return f"/{path}" if path else ""


def sites(given: object) -> object:
    """Sites that may show the page in a frame, as a browser compares them: `self`, or scheme and host.

    Raises:
        ValueError: one is no site, such as `gpu.example.org` or `*`.
    """
    if not isinstance(given, str | list | tuple):
        return given
    names = given.split(",") if isinstance(given, str) else [str(name) for name in cast("Sequence[object]", given)]
    cleaned = [name.strip().strip("'").lower().rstrip("/") for name in names]
    if wrong := [name for name in cleaned if name != "self" and not SITE.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r} is no site, write 'self' or scheme and host: https://gpu.example.org")
    return tuple(cleaned)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address; an empty one is every interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_for(host: str, trusted_hosts: Sequence[str], own: Callable[[], str]) -> str:
    """`DARKROOM_TOKEN` where it is set; else what `own` gives, but none where only this machine reaches the address.

    A trusted host is a proxy, which others reach.
    """
    only_here = is_loopback(host) and not trusted_hosts
    return os.environ.get(VARIABLE, "") or ("" if only_here else own())


def name_of(host: str) -> str:
    """The host of a link to an address: this machine's name where every interface is bound."""
    return socket.gethostname() if host in EVERY_INTERFACE else f"[{host}]" if ":" in host else host


def link(host: str, port: int, token: str, base_path: str = "") -> str:
    """What to open in a browser."""
    page = f"{base_path}/" if base_path or token else ""
    return f"http://{name_of(host)}:{port}{page}" + (f"?token={quote(token)}" if token else "")
