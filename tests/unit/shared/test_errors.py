"""Exit codes tell a script what went wrong; two lines tell a person."""

from __future__ import annotations

import errno
import os
import re

import pytest

from shared.errors import (
    ConfigError,
    DarkroomError,
    DataError,
    DeviceError,
    ModelError,
    RunFolderError,
    TrainingError,
    UnknownModelError,
    exit_code_of,
)
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DarkroomError, 1),
        (ConfigError, 2),
        (DataError, 2),
        (RunFolderError, 2),
        (ModelError, 3),
        (UnknownModelError, 2),
        (DeviceError, 3),
        (TrainingError, 4),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    error: type[DarkroomError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def program() -> int:
        raise error("it is broken", "mend it")

    assert exit_code_of(program) == code
    captured = capsys.readouterr()
    assert captured.err == "error: it is broken\nhint: mend it\n"
    assert captured.out == ""


def test_an_error_without_a_cure_prints_no_hint(capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> int:
        raise ModelError("no such device")

    assert exit_code_of(program) == 3
    assert capsys.readouterr().err == "error: no such device\n"


def test_a_program_that_ends_well_keeps_its_code() -> None:
    assert exit_code_of(lambda: 0) == 0
    assert exit_code_of(lambda: 7) == 7


def test_a_defect_of_ours_is_not_dressed_up_as_a_users_error() -> None:
    def program() -> int:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        exit_code_of(program)


def test_a_full_disk_is_said_in_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/demo/train.csv")

    assert exit_code_of(program) == 1
    assert capsys.readouterr().err.startswith(
        "error: cannot write runs/demo/train.csv: No space left on device\nhint: "
    )


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_drive_that_cannot_be_used_is_said_in_two_lines(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """F40: read-only, forbidden, over quota, broken, a stale handle of NFS, a drive that is not connected."""

    def program() -> int:
        raise OSError(number, os.strerror(number), "runs/demo/train.csv")

    assert exit_code_of(program) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert "runs/demo/train.csv" in error
    assert error.endswith(os.strerror(number))
    assert hint.endswith("run the same command again, which resumes from the last save")


def test_an_unforeseen_os_error_keeps_its_traceback() -> None:
    def program() -> int:
        raise OSError(errno.EBADF, "Bad file descriptor")

    with pytest.raises(OSError, match="Bad file descriptor"):
        exit_code_of(program)


def test_a_hint_names_what_is_to_be_moved_away() -> None:
    folders = ("shared", "trainer", "evaluator", "dashboard", "tasks", "pocket")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert [
        str(path) for path in sources if re.search(r"\bmove (it|them) away\b", path.read_text(encoding="utf-8"))
    ] == []
