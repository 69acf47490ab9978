"""Addresses of clusters, and clusters that do not answer."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from shared.cluster import address, connection
from shared.cluster.address import Address
from shared.errors import ConfigError


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert address.parse("ray") == Address()
    assert address.parse("ray://head.lab:10001") == Address("head.lab", 10001, is_client=True)
    assert address.parse("10.0.0.1:6379") == Address("10.0.0.1", 6379)
    assert str(address.parse("ray://head:10001")) == "ray://head:10001"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert address.parse("ray") == Address("10.0.0.1", 6379)


@pytest.mark.parametrize("text", ["banana", "http://x:1", "ray://head", "head:port", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no address of a cluster") as caught:
        address.parse(text or "-")
    assert "give ray" in caught.value.hint


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs Ray, which is not installed") as caught:
        address.parse("ray")
    assert caught.value.hint == "pip install 'darkroom[ray]'"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nobody_or_another_program_answers_the_wait_is_bounded(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.3)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        where = address.parse(f"{scheme}127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(ConfigError, match="no cluster of Ray answers") as caught, connection.connected(where, {}):
            pass
    assert "check that `ray status` on 127.0.0.1" in caught.value.hint
