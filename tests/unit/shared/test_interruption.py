"""Ctrl-C while a program loads, and later."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared import interruption
from shared.errors import exit_code_of
from tests.conftest import ROOT

PROGRAMS = (
    ROOT / "run.py",
    *(ROOT / name / "__main__.py" for name in ("trainer", "evaluator", "dashboard", "pocket", "shared/followers")),
    *(ROOT / name for name in ("evaluator/replay.py", "dashboard/report.py", "tasks/export.py")),
    *(ROOT / "tasks" / "text_to_image" / name for name in ("score.py", "foreign/importer.py")),
)


def interrupted(body: str) -> tuple[int, str]:
    """Exit code and errors of a program that gets Ctrl-C; `send` sends it."""
    head = (
        "import os, signal; from shared import interruption\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # whatever started the tests may ignore it
        f"def send(): os.kill(os.getpid(), {int(signal.SIGINT)})\n"
    )
    done = subprocess.run([sys.executable, "-c", head + body], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_program_can_be_interrupted_before_it_imports_anything_slow(path: Path) -> None:
    code = path.read_text(encoding="utf-8").partition("from __future__ import annotations")[2] or path.read_text()
    lines = [line for line in code.splitlines() if line and not line.startswith('"""')]
    assert lines[0] in ("from shared import interruption", "from shared import interruption, stacks")
    assert lines[1:3] == ['if __name__ == "__main__":', "    interruption.end_at_once()"]


def test_what_is_imported_before_that_is_pythons_own() -> None:
    code = "import sys; before = set(sys.modules)\nfrom shared import interruption, stacks\n"
    code += "print(*{name.partition('.')[0] for name in sys.modules.keys() - before})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - sys.stdlib_module_names == {"shared"}


def test_while_it_loads_one_line_is_all() -> None:
    swallowed = "interruption.end_at_once()\ntry: send()\nexcept BaseException: pass\nprint('went on')"
    assert interrupted(swallowed) == (interruption.EXIT_CODE, "interrupted\n")
    silent = f"os.environ['{interruption.STARTED_BY_RUN_PY}'] = '1'; interruption.end_at_once(); send()"
    assert interrupted(silent) == (interruption.EXIT_CODE, ""), "run.py says it"


def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    assert interrupted("signal.signal(signal.SIGINT, signal.SIG_IGN); interruption.end_at_once(); send()") == (0, "")


def test_later_what_is_half_done_is_undone() -> None:
    body = (
        "import sys; from shared.errors import exit_code_of; interruption.end_at_once()\n"
        "def main():\n  try: send()\n  finally: os.write(2, b'undone, ')\n"
        "sys.exit(exit_code_of(main))"
    )
    assert interrupted(body) == (interruption.EXIT_CODE, "undone, interrupted\n")


def test_what_a_started_program_did_not_say_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(lambda: interruption.EXIT_CODE) == interruption.EXIT_CODE
    assert capfd.readouterr().err == "interrupted\n"
