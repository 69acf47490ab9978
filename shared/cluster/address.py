"""What `--on` says: a cluster of this machine alone, or the address of one that runs."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass

from shared.errors import ConfigError

LOCAL = "ray"
EXTRA = "pip install 'darkroom[ray]'"
EXAMPLES = (
    "give ray, which starts a cluster on this machine, ray://HOST:10001, or HOST:6379 on a machine of the cluster"
)
VARIABLE = "RAY_ADDRESS"
"""Ray's own variable: `--on ray` means this cluster where it is set, as in jobs that Ray has started."""
_ADDRESS = re.compile(r"(?P<client>ray://)?(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Address:
    """`host` is empty for a cluster that is started for this command, on this machine."""

    host: str = ""
    port: int = 0
    is_client: bool = False
    """Through Ray's client server, `ray://`, from a machine outside the cluster."""

    @property
    def is_local(self) -> bool:
        """Whether the cluster is started and ended with the command."""
        return not self.host

    @property
    def target(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return LOCAL if self.is_local else f"{'ray://' if self.is_client else ''}{self.target}"


def parse(text: str) -> Address:
    """The address that `--on` names.

    Raises:
        ConfigError: it names none, or Ray is not installed.
    """
    given = text.strip()
    named = os.environ.get(VARIABLE, "") if given == LOCAL else given
    if named in ("", "local"):
        found = Address()
    elif match := _ADDRESS.fullmatch(named):
        found = Address(match["host"].strip("[]"), int(match["port"]), bool(match["client"]))
    else:
        whose = f"{VARIABLE} is" if given == LOCAL else "--on is"
        raise ConfigError(f"{whose} {named}, which is no address of a cluster", EXAMPLES)
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(f"--on {given} needs Ray, which is not installed", EXTRA)
    return found
