"""Every error a user of Darkroom can cure, as one tree.

    DarkroomError            exit code 1
    ├── ConfigError          2   a key, a value or a file of settings is wrong
    ├── DataError            2   the data set cannot be used as it is
    ├── RunFolderError       2   not a run folder, in use by a living process, or of a newer version
    │   ├── LostFileError    2   a published file is missing, cannot be read, or is another one by now
    │   └── NewerFileError   2   a record was written by a newer version
    ├── ModelError           3   the base model, adapter or encoder cannot be loaded
    │   └── UnknownModelError 2  `model.path` names a model of a kind that is not known, or parts of several kinds
    ├── DeviceError          3   the device is missing, lost, or too small
    └── TrainingError        4   training cannot continue: no finite gradients, no room for the next save

Each says what happened, with the value and the rule, and carries a hint with the cure. Programs print `error:` and
`hint:` without a traceback and leave with `exit_code`; anything that is not a DarkroomError is a defect of ours.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from shared import interruption
from shared.command_name import as_called

CURABLE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG})
AWAY_ERRNOS = frozenset(getattr(errno, name, errno.EIO) for name in ("EIO", "ESTALE", "ENOTCONN", "EREMOTEIO"))
"""A drive that is broken, or a network drive that is away."""


class DarkroomError(Exception):
    """What happened (`str(error)`), what cures it (`hint`), and the exit code that tells a script."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(DarkroomError):
    """A key, a value or a file of settings is wrong."""

    exit_code = 2


class DataError(DarkroomError):
    """The data set cannot be used as it is."""

    exit_code = 2


class RunFolderError(DarkroomError):
    """Not a run folder, in use by a living process, or written by a newer version."""

    exit_code = 2


class LostFileError(RunFolderError):
    """A published file is missing, cannot be read, or is another one by now; it may come back."""


class NewerFileError(RunFolderError):
    """A record was written by a newer version: it is whole, and only this version cannot read it."""


class ModelError(DarkroomError):
    """The base model, an adapter or an encoder cannot be loaded."""

    exit_code = 3


class UnknownModelError(ModelError):
    """`model.path` names a model of a kind that is not known, or a folder with parts of several kinds."""

    exit_code = 2


class DeviceError(DarkroomError):
    """The device is missing, lost, or too small."""

    exit_code = 3


class TrainingError(DarkroomError):
    """Training cannot continue as it is; everything up to its last good step is saved."""

    exit_code = 4


@contextmanager
def writing(what: str, path: Path) -> Generator[None]:
    """Where a place that a person has chosen cannot be written, say so: `what` names the setting or option.

    Raises:
        ConfigError: with the system's reason.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be written: {error.strerror}", "choose another place") from None


def report(error: DarkroomError) -> int:
    """Print the error and its hint to standard error; returns the exit code."""
    lines = [f"error: {error}"]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    sys.stderr.write(as_called("\n".join(lines)) + "\n")
    return error.exit_code


def exit_code_of(program: Callable[[], int]) -> int:
    """Run a program's body; a curable error, a full disk among them, becomes its two lines and its exit code. Ctrl-C
    becomes one line and 130.
    """
    try:
        interruption.begin()
        code = program()
        if code == interruption.EXIT_CODE:  # of a program that it has started
            interruption.say()
        return code
    except KeyboardInterrupt:
        interruption.say()
        return interruption.EXIT_CODE
    except DarkroomError as error:
        return report(error)
    except OSError as error:
        if error.errno in AWAY_ERRNOS:
            hint = "connect or mend the drive; then run the same command again, which resumes from the last save"
            return report(DarkroomError(f"{error.filename or 'a file'} cannot be reached: {error.strerror}", hint))
        if error.errno not in CURABLE_ERRNOS:
            raise
        hint = "make room or allow writing there; then run the same command again, which resumes from the last save"
        return report(DarkroomError(f"cannot write {error.filename or ''}: {error.strerror}".replace("  ", " "), hint))
