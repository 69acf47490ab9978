"""The token of the dashboard of a runs folder, kept so that links and open pages outlast a restart.

It lies beside the run folders and never in one, because a run folder is copied and published. Only its owner can read
it; on Windows, where modes say nothing, whoever may read the folder. To renew it, delete the file and start the
dashboard again.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import uuid
from pathlib import Path

from shared.launch import end_signals

NAME = ".dashboard_token"
FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")


def new_token() -> str:
    """A random one."""
    return secrets.token_urlsafe(24)


def kept_token(runs: Path) -> str:
    """The token of this folder, made by the first call; a new one each time where it cannot be kept."""
    path = runs / NAME
    with contextlib.suppress(OSError):
        return _read(path) or _write(path, new_token())
    return new_token()


def _read(path: Path) -> str:
    """Empty where there is none, or one that others may have read or written."""
    if end_signals.IS_WINDOWS and path.is_symlink():  # which has no O_NOFOLLOW
        return ""
    try:
        descriptor = os.open(path, FLAGS)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not (end_signals.IS_WINDOWS or _is_private(status, path.parent)):
            return ""
        text = file.read(256).decode("ascii", errors="replace").strip()
    return text if TOKEN.fullmatch(text) else ""


def _is_private(status: os.stat_result, folder: Path) -> bool:
    return status.st_uid in (os.geteuid(), folder.stat().st_uid) and not status.st_mode & 0o077


def _write(path: Path, token: str) -> str:
    """Keep the token unless another dashboard has just kept one; returns the kept one."""
    staging = path.with_name(f"{NAME}.{uuid.uuid4().hex}.tmp")
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{token}\n".encode())
        try:
            path.hardlink_to(staging)
        except OSError:  # there is one, or the file system has no links
            if other := _read(path):
                return other
            staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    return token
