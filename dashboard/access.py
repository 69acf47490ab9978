"""Whether the dashboard asks for a token, and which: from the address it binds and `DARKROOM_TOKEN`."""

from __future__ import annotations

import ipaddress
import os
import secrets
import sys

import streamlit as st


def token() -> str:
    """`DARKROOM_TOKEN`; without it none on a loopback address, and elsewhere a random one, said on standard error."""
    given = os.environ.get("DARKROOM_TOKEN", "")
    host = st.get_option("server.address") or ""
    if given or is_loopback_address(host):
        return given
    made = secrets.token_urlsafe(24)
    sys.stderr.write(f"dashboard: this address needs a token: http://{host}:{st.get_option('server.port')}/?token={made}\n")
    return made


def is_loopback_address(host: str) -> bool:
    """Whether only this machine reaches the address; an empty one is every interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
