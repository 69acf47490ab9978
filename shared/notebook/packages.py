"""What is installed beside Darkroom, what is missing or too old, and what an installation would break.

Colab and Kaggle come with hundreds of packages. Darkroom installs what is missing or too old and leaves the rest, torch
above all. pip looks only at the packages it is asked for: a neighbour that needs another version is not seen, and fails
later. The known case is transformers, pinned too low beside a sentence-transformers that needs 4.41 or newer. So pip is
asked first what it would do; neighbours that this breaks are given to pip as well, which finds versions that agree.
Nothing is reinstalled by force.

Imported before anything is installed: the standard library and `packaging`, which Jupyter needs itself.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.notebook.cell_error import CellError

ROOT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")

Versions = Mapping[str, str]
"""Canonical name → version."""
Say = Callable[[str], object]


@dataclass(frozen=True)
class Neighbour:
    """An installed package that needs another version of a package than there is, or would be."""

    name: str
    version: str
    needs: str
    """As its own metadata say: `transformers<6.0.0,>=4.41.0`."""
    found: str
    """`transformers 4.36.0`."""

    def __str__(self) -> str:
        return f"{self.name} {self.version} needs {self.needs}"


def requirements(extras: Iterable[str] = ()) -> list[Requirement]:
    """What Darkroom needs: of the clone's pyproject.toml, else of the installed wheel."""
    if (file := ROOT / "pyproject.toml").is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        texts = [*project["dependencies"]]
        for extra in extras:
            texts += project["optional-dependencies"][extra]
        return [Requirement(text) for text in texts]
    asked = map(Requirement, importlib.metadata.requires("darkroom") or [])
    wanted = [{"extra": ""}, *({"extra": extra} for extra in extras)]
    return [one for one in asked if one.marker is None or any(one.marker.evaluate(extra) for extra in wanted)]


def installed(path: Sequence[str] | None = None) -> dict[str, importlib.metadata.Distribution]:
    """Canonical name → distribution, the one that is imported. path: in place of `sys.path`."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for one in importlib.metadata.distributions(path=list(sys.path if path is None else path)):
        if one.metadata["Name"]:
            found.setdefault(canonicalize_name(one.metadata["Name"]), one)
    return found


def unmet(wanted: Iterable[Requirement], there: Versions) -> list[Requirement]:
    """Those that are missing or too old."""
    return [one for one in wanted if not _meets(there.get(canonicalize_name(one.name)), one)]


def broken(there: Mapping[str, importlib.metadata.Distribution], planned: Versions) -> list[Neighbour]:
    """Installed packages whose needs are not met once `planned` is installed; those that are replaced do not count."""
    versions = {name: one.version for name, one in there.items()} | dict(planned)
    found: list[Neighbour] = []
    for name, one in there.items():
        if name in planned:
            continue
        for text in one.requires or []:
            need = Requirement(text)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            version = versions.get(canonicalize_name(need.name))
            if version is not None and not _meets(version, need):
                says = f"{need.name}{need.specifier}"
                found.append(Neighbour(one.metadata["Name"], one.version, says, f"{need.name} {version}"))
    return found


def plan(asked: Sequence[str], options: Sequence[str] = ()) -> dict[str, str]:
    """What pip would install for these requirements, by its own dry run; nothing is changed.

    Raises:
        CellError: pip finds no versions that agree, or no network.
    """
    if not asked:
        return {}
    command = [*PIP, "--dry-run", "--report", "-", *options, *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CellError(f"pip cannot install {', '.join(asked)}:\n{done.stderr.strip()}", "read what pip says above")
    report = json.loads(done.stdout)
    return {canonicalize_name(one["metadata"]["name"]): one["metadata"]["version"] for one in report["install"]}


def loaded(changed: Iterable[str], modules: Mapping[str, object] | None = None) -> list[str]:
    """Of the changed packages those that this session has imported already, in their former version."""
    names = set(changed)
    imported = sys.modules if modules is None else modules
    owners = importlib.metadata.packages_distributions()
    return sorted(
        {
            canonicalize_name(owner)
            for module, distributions in owners.items()
            if module in imported
            for owner in distributions
            if canonicalize_name(owner) in names
        }
    )


def install(extras: Iterable[str] = (), say: Say = print, options: Sequence[str] = ()) -> dict[str, str]:
    """Say what is there, explain conflicts, install what is missing or too old, and say whether to restart.

    Returns what was installed; nothing where nothing is missing, also when the cell is run twice. options: for pip.

    Raises:
        CellError: pip cannot; with what it said.
    """
    there = installed()
    versions = {name: one.version for name, one in there.items()}
    wanted = requirements(extras)
    missing = unmet(wanted, versions)
    say(f"{len(wanted) - len(missing)} of {len(wanted)} packages are installed and new enough")
    for one in missing:
        version = versions.get(canonicalize_name(one.name))
        say(f"  {one.name}: {f'{version} is too old' if version else 'missing'}, {one.specifier or 'any version'}")
    asked = [str(one) for one in missing]
    before = {str(one): one for one in broken(there, {})}
    planned = plan(asked, options)
    asked = _with_neighbours(asked, there, planned, before, say)
    if not asked:
        return {}
    planned = plan(asked, options)
    done = subprocess.run([*PIP, *options, *asked], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CellError(f"pip has failed:\n{done.stderr.strip()}", "run this cell again; what is installed stays")
    say(f"installed: {', '.join(f'{name} {version}' for name, version in sorted(planned.items()))}")
    _say_whether_to_restart(planned, say)
    return planned


def _with_neighbours(
    asked: list[str],
    there: Mapping[str, importlib.metadata.Distribution],
    planned: Versions,
    before: Mapping[str, Neighbour],
    say: Say,
) -> list[str]:
    """The requirements, and the neighbours that these would break: pip finds versions that agree with them."""
    after = {str(one): one for one in broken(there, planned)}
    for text, one in before.items():
        if _concerns(one, planned):
            state = "this is cured by what is installed now" if text not in after else "it stays so"
            say(f"conflict: {text}, and {one.found} is installed: {state}")
    new = [one for text, one in after.items() if text not in before]
    for one in new:
        say(f"conflict: {one}, and {one.found} will be installed: pip looks for a version of {one.name} that agrees")
    return [*asked, *sorted({one.name for one in new})]


def _concerns(one: Neighbour, planned: Versions) -> bool:
    return canonicalize_name(one.found.partition(" ")[0]) in planned


def _say_whether_to_restart(planned: Versions, say: Say) -> None:
    stale = loaded(planned)
    if stale:
        say(
            f"Restart the session, then run the cells again from the top: {', '.join(stale)} was loaded in its former "
            "version. Nothing is installed again."
        )
    else:
        say("no restart is needed: nothing that was installed had been loaded")


def _meets(version: str | None, need: Requirement) -> bool:
    return version is not None and need.specifier.contains(version, prereleases=True)
