"""What of Windows can be tested without one: nothing that only POSIX has is used but where there is another way."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from shared.files import replacing
from shared.launch import end_signals, handed_socket, token_file
from tests.conftest import ROOT

ROOMS = ("darkroom", "dashboard", "evaluator", "shared", "tasks", "trainer")
FILES = [ROOT / "run.py", *(file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))]
POSIX_MODULES = {"crypt", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_NAMES = {
    "os": {
        "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "chown", "fork", "getegid", "geteuid", "getgid", "getloadavg",
        "getpgid", "getuid", "killpg", "lchown", "mkfifo", "nice", "register_at_fork", "sched_getaffinity",
        "sched_setaffinity", "setpgid", "setsid", "statvfs", "uname", "wait", "waitpid",
    },
    "signal": {"SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGTSTP", "SIGUSR1", "SIGUSR2"},
    "socket": {"AF_UNIX"},
}  # fmt: skip
POSIX_OPTIONS = {"pass_fds", "preexec_fn", "process_group", "start_new_session"}
WITH_ANOTHER_WAY = {
    "shared/launch/attended/foreground.py": {"SIGCONT", "SIGSTOP", "SIGTSTP"},  # Ctrl-Z, which Windows has not
    "shared/launch/listener.py": {"pass_fds"},  # empty there
    "shared/launch/supervisor.py": {"pass_fds"},
    "shared/launch/token_file.py": {"geteuid"},  # not asked there
}


@cache
def nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def posix_only(file: Path) -> set[str]:
    """Names in a file that Windows' Python does not have."""
    found: set[str] = set()
    for node in nodes(file):
        match node:
            case ast.Import(names=names):
                found |= {name.name for name in names} & POSIX_MODULES
            case ast.ImportFrom(module=str(module)):
                found |= {module} & POSIX_MODULES
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in POSIX_NAMES.get(module, ()):
                found.add(name)
            case ast.keyword(arg=str(name)) if name in POSIX_OPTIONS:
                found.add(name)
    return found


def test_what_only_posix_has_is_used_where_there_is_another_way() -> None:
    used = {file.relative_to(ROOT).as_posix(): names for file in FILES if (names := posix_only(file))}
    assert used == WITH_ANOTHER_WAY


def test_every_text_is_read_and_written_in_an_encoding_that_is_named() -> None:
    """Windows' own is another one in each country."""
    unnamed: list[str] = []
    for file in FILES:
        for node in nodes(file):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name, first = node.func.attr, next(iter(node.args), None)
            mode = first.value if isinstance(first, ast.Constant) else None
            is_text = name in ("read_text", "write_text") or (name == "open" and mode in ("r", "w", "a", "x"))
            is_named = "encoding" in {word.arg for word in node.keywords}
            if is_text and not is_named and len(node.args) < (1 if name == "read_text" else 2):
                unnamed.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert unnamed == []


TAKES = """
import os, socket, sys
socket.fromshare = lambda data: socket.socket(fileno=int(data))
from shared.launch import handed_socket
held = handed_socket.take("stdin")
print(held.getsockname()[1], os.read(0, 100), flush=True)
"""


def test_a_socket_is_handed_over_through_standard_input_before_it_serves_the_watch() -> None:
    """`share` and `fromshare` are Windows's; here they tell the number of a descriptor that the child inherits."""
    with socket.create_server(("127.0.0.1", 0)) as held:

        class Shared:
            def share(self, pid: int) -> bytes:
                assert pid == process.pid
                return str(held.fileno()).encode().rjust(400, b"0")

        command = [sys.executable, "-c", TAKES]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, **pipes, cwd=ROOT, pass_fds=(held.fileno(),)) as process:
            handed_socket.give(Shared(), process.pid, process.stdin, is_windows=True)
            assert process.stdin
            process.stdin.write(b"later")
            said, _ = process.communicate(timeout=60)
        assert said.decode().split() == [str(held.getsockname()[1]), "b'later'"]
        assert handed_socket.word(held, is_windows=True) == "stdin"
        assert handed_socket.inherited(held, is_windows=True) == ()


def test_a_parent_that_ends_before_it_hands_over_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "read", lambda *_: b"")
    with pytest.raises(EOFError):
        handed_socket.take("stdin")


@pytest.mark.parametrize(("is_windows", "tries"), [(True, 3), (False, 1)])
def test_a_file_that_somebody_has_open_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_windows: bool, tries: int
) -> None:
    monkeypatch.setattr(replacing, "IS_WINDOWS", is_windows)
    monkeypatch.setattr(replacing, "PAUSE_SECONDS", 0)
    true, made = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        made.append(target)
        if len(made) < 3:
            raise PermissionError(13, "Access is denied")
        return true(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    path = tmp_path / "best.json"
    if is_windows:
        replacing.replace_file(path, b"new")
        assert path.read_bytes() == b"new"
    else:
        with pytest.raises(PermissionError):
            replacing.replace_file(path, b"new")
    assert len(made) == tries
    assert [file.name for file in tmp_path.iterdir()] == (["best.json"] if is_windows else [])


def test_a_file_that_stays_open_is_an_error_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(replacing, "IS_WINDOWS", True)
    monkeypatch.setattr(replacing, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        replacing.replace_file(tmp_path / "best.json", b"new")


def test_a_token_is_kept_where_modes_and_owners_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_signals, "IS_WINDOWS", True)
    monkeypatch.delattr(os, "geteuid")
    token = token_file.kept_token(tmp_path)
    (tmp_path / token_file.NAME).chmod(0o666)
    assert token_file.kept_token(tmp_path) == token
    (tmp_path / token_file.NAME).unlink()
    (tmp_path / token_file.NAME).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text(f"{token}\n", encoding="utf-8")
    assert token_file.kept_token(tmp_path) != token
