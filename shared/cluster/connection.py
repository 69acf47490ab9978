"""Connects a program to a cluster of Ray, or starts one on this machine for as long as the program needs it.

Ray's own words do not reach the user: what its processes print stays in its session's folder.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import grpc
import ray
from ray._private.authentication import authentication_token_setup as tokens
from ray.exceptions import RayError

from shared.cluster.address import Address
from shared.errors import ConfigError
from shared.launch.supervisor import ROOT

CONNECT_SECONDS = 15.0
OBJECT_STORE_BYTES = 80 << 20
"""Of a cluster on this machine: results lie in the run folder, and Ray carries a few words about each."""
CALLS = {False: "/ray.rpc.NodeInfoGcsService/CheckAlive", True: "/ray.rpc.RayletDriver/ClusterInfo"}
"""Of a cluster, and of its client server."""
TOKEN_CURE = "copy ~/.ray/auth_token from there, or set RAY_AUTH_TOKEN"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray would report its use to its makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
}


@contextmanager
def connected(address: Address, variables: Mapping[str, str], num_cpus: int | None = None) -> Generator[None]:
    """Be connected while the block runs. Ray takes SIGTERM for itself: set handlers of your own afterwards.

    Args:
        address: of the cluster.
        variables: of the environment of the processes on the cluster; PYTHONPATH is ours.
        num_cpus: of a cluster on this machine, how many processors it shall count; None: those there are.

    Raises:
        ConfigError: no cluster answers there, or it runs another version of Ray or Python.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    where = {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}
    settings = {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
        "runtime_env": {"env_vars": {**where, **variables}},
    }
    if address.is_local:
        os.environ.pop("RAY_ADDRESS", None)
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **settings,
        )
    else:
        _require_answer(address)
        try:
            ray.init(address=str(address), **settings)
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            raise ConfigError(f"{address}: {_first_line(error)}", _cure(address)) from None
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: Address) -> None:
    """Ray itself waits for minutes where nobody answers, and cannot be interrupted meanwhile."""
    with grpc.insecure_channel(address.target) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
            is_guarded = _asks_for_token(channel, address)
        except grpc.FutureTimeoutError:
            raise ConfigError(
                f"no cluster of Ray answers at {address} within {CONNECT_SECONDS:.0f} s", _cure(address)
            ) from None
    if is_guarded:
        _use_token(address)


def _asks_for_token(channel: grpc.Channel, address: Address) -> bool:
    """Whether the cluster refuses whoever sends none; asked by a call that changes nothing."""
    call = channel.unary_unary(CALLS[address.is_client], request_serializer=bytes, response_deserializer=bytes)
    try:
        call(b"", timeout=CONNECT_SECONDS)
    except grpc.RpcError as error:
        return isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False


def _use_token(address: Address) -> None:
    """Send the token of this machine. Ray itself does so only where RAY_AUTH_MODE says it, and else waits in vain."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if not tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False):
        raise ConfigError(f"the cluster at {address} asks for a token, and this machine sends none", TOKEN_CURE)


def _cure(address: Address) -> str:
    port = "10001, with ray:// before the host, from a machine outside it" if not address.is_client else "10001"
    return (
        f"check that `ray status` on {address.host} finds a cluster with this version of Ray ({ray.__version__}) and "
        f"Python, and that this machine reaches the port; the port of the cluster is 6379, of its client server "
        f"{port}. If the cluster asks for a token, {TOKEN_CURE}"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
