"""`make bench`: how fast Darkroom is beside what a person would use instead, on this machine's processors.

    python benchmarks/bench.py                      every script, then a dated report and README's table
    python benchmarks/bench.py --only hot_swap.py   only this one; the rest of the newest report stays
    python benchmarks/bench.py --quick              each in its shortest form, to see that it works: writes nothing
    python benchmarks/bench.py --readme             write README's table from the newest report

A script prints a table by `benchmarks/row.py`. Its first two rows stand in README, all of them in the report, as soon
as it is done. Measure on a machine that does nothing else: the report says its load before each script. A script that
fails is a row that says so, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.row import HEADER, Row, rows_in
from shared.files.replacing import replace_file

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "benchmarks" / "reports"
MARK = "<!-- written by benchmarks/bench.py -->\n"
TABLE = re.compile(f"(?<={MARK}).*?(?=\n\n)", re.DOTALL)
"""Of README, up to the next blank line."""
LINK = re.compile(r"(?<=benchmarks/reports/)bench-[\d-]+\.md")
READMES = ("README.md", "README.zh-Hans.md", "README.zh-Hant.md")
SECTION = re.compile(r"^## `(\S+)`: (.*?)\n\n```\n(.*?)```$", re.DOTALL | re.MULTILINE)
"""Of a report: script, facts, what it printed."""
SCRIPTS = (
    "training_throughput.py",
    "training_floor.py",
    "live_evaluation.py",
    "snapshot_to_row.py",
    "hot_swap.py",
    "fleet_throughput.py",
    "large_run.py",
    "shared_weights.py",
    "imports.py",
)
"""In the order of README's rows."""
README_ROWS = 2
"""Of each script."""
LIMIT_SECONDS = 600
CANNOT = 2
"""Exit code of a script that lacks something here, such as a program to compare with."""


@dataclass(frozen=True)
class Section:
    """A script and what it printed."""

    name: str
    facts: str
    """How long it took, and what the machine did meanwhile."""
    text: str

    @property
    def rows(self) -> list[str]:
        """Of the table."""
        return rows_in(self.text)

    def __str__(self) -> str:
        """As it stands in a report."""
        return f"## `{self.name}`: {self.facts}\n\n```\n{self.text.rstrip()}\n```"


def measured(name: str, *, quick: bool) -> tuple[Section, bool]:
    """Run one script and show what it prints; whether it succeeded."""
    load, begun = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan"), time.monotonic()
    command = [sys.executable, str(ROOT / "benchmarks" / name), *(["--quick"] if quick else [])]
    done = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        text, wrong = done.communicate(timeout=LIMIT_SECONDS)
        failed = f"exit code {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        end(done)
        text, wrong = done.communicate()
        failed = f"not done after {LIMIT_SECONDS} s"
    if done.returncode == CANNOT:
        why = next((line for line in wrong.splitlines() if line.startswith("error: ")), "error: it said nothing")
        text += f"{HEADER}\n{Row(name, '–', f'not measured: {why[7:]}')}\n"
        failed = ""
    elif failed:
        text += f"{HEADER}\n{Row(name, '–', f'failed: {failed}')}\n"
        print(wrong[-2000:], file=sys.stderr)
    facts = f"{time.monotonic() - begun:.0f} s, load before it {load:.1f}"
    print(f"{name}: {facts}\n{text}", flush=True)
    return Section(name, facts, text), not failed


def end(process: subprocess.Popen[str]) -> None:
    """A script and the programs that it has started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def sections_in(report: str) -> dict[str, Section]:
    """By script."""
    return {name: Section(name, facts, text) for name, facts, text in SECTION.findall(report)}


def newest_report() -> Path | None:
    """The last one that was written."""
    return max(REPORTS.glob("bench-*.md"), default=None)


def table(rows: list[str]) -> str:
    """With its header."""
    return "\n".join([HEADER, *rows])


def report_of(sections: dict[str, Section], about: str) -> str:
    """All of a report."""
    ordered = [sections[name] for name in SCRIPTS if name in sections]
    rows = [row for section in ordered for row in section.rows]
    head = f"# How fast is it, beside what one would use instead?\n\n`make bench`, {about}"
    method = (
        "Each ratio is the median of pairs measured in alternation in one run, with their range. The first two rows of "
        "each script stand in README. What each script measures, and how, is said in its file."
    )
    return "\n\n".join([head, method, table(rows), *map(str, ordered)]) + "\n"


def readme_with(text: str, report: Path) -> str:
    """A README with a link to this report, and the first rows of every script where it has the table."""
    sections = sections_in(report.read_text(encoding="utf-8"))
    rows = [row for name in SCRIPTS if name in sections for row in sections[name].rows[:README_ROWS]]
    return TABLE.sub(lambda _: table(rows), LINK.sub(report.name, text))


def write_readmes() -> None:
    """Let them say what the newest report says."""
    if report := newest_report():
        for name in READMES:
            replace_file(ROOT / name, readme_with((ROOT / name).read_text(encoding="utf-8"), report).encode())


def write(section: Section) -> None:
    """Into today's report, which keeps the others of the newest one, and README: a script's figures are there as soon
    as it is done."""
    before = newest_report()
    kept = sections_in(before.read_text(encoding="utf-8")) if before else {}
    report = REPORTS / f"bench-{datetime.now(UTC):%Y-%m-%d}.md"
    replace_file(report, report_of(kept | {section.name: section}, about()).encode())
    write_readmes()


def about() -> str:
    """When, on what, with what."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "diffusers", "peft"))
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {versions}"
    return f"{datetime.now(UTC):%d %B %Y}, commit {commit or 'unknown'}; {machine}."


def main() -> int:
    """Measure, write; 1 if a script failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, help="some of the scripts")
    parser.add_argument("--quick", action="store_true", help="the shortest form of each; nothing is written")
    parser.add_argument("--readme", action="store_true", help="measure nothing, write README's table")
    options = parser.parse_args()
    if options.readme:
        write_readmes()
        return 0
    begun, failed = time.monotonic(), False
    for name in options.only:
        section, succeeded = measured(name, quick=options.quick)
        failed = failed or not succeeded
        if not options.quick:
            write(section)
    print(f"{time.monotonic() - begun:.0f} s in all")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
