"""What a notebook's machine has installed, what conflicts, and what pip is asked for."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from shared.notebook import packages
from shared.notebook.cell_error import CellError
from shared.notebook.packages import broken, installed, plan, unmet


def machine(folder: Path, *there: tuple[str, str, str]) -> Path:
    """A folder of installed packages: name, version, what it needs."""
    for name, version, needs in there:
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        needed = "".join(f"Requires-Dist: {need}\n" for need in needs.split(" & ") if need)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}")
    return folder


def wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    """A package that pip can install, with a module of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {need}\n" for need in needs.split(" & ") if need)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}/__init__.py", f"version = {version!r}\n")
        file.writestr(f"{info}/METADATA", metadata)
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_what_is_missing_or_too_old_is_asked_for_and_the_rest_stays() -> None:
    wanted = [Requirement(text) for text in ("torch>=2.10", "transformers>=5.18", "peft>=0.21")]
    there = {"torch": "2.11.0+cu128", "transformers": "4.36.0"}
    assert [str(one) for one in unmet(wanted, there)] == ["transformers>=5.18", "peft>=0.21"]


def test_the_requirements_are_the_projects_own() -> None:
    named = {one.name for one in packages.requirements()}
    assert {"torch", "diffusers", "pydantic"} <= named
    assert "bitsandbytes" in {one.name for one in packages.requirements(["gpu"])} - named


def test_transformers_pinned_too_low_beside_sentence_transformers_is_found_and_cured(tmp_path: Path) -> None:
    there = installed(
        [
            str(
                machine(
                    tmp_path,
                    ("sentence-transformers", "5.1.0", "transformers<6.0.0,>=4.41.0"),
                    ("transformers", "4.36.0", ""),
                )
            )
        ]
    )
    (one,) = broken(there, {})
    assert str(one) == "sentence-transformers 5.1.0 needs transformers<6.0.0,>=4.41.0"
    assert one.found == "transformers 4.36.0"
    assert broken(there, {"transformers": "5.18.0"}) == []


def test_a_neighbour_that_the_installation_would_break_is_found(tmp_path: Path) -> None:
    needs = "transformers<5.0.0,>=4.41.0 & torch; extra == 'train' & numpy; python_version < '3'"
    there = installed(
        [str(machine(tmp_path, ("sentence-transformers", "3.3.0", needs), ("transformers", "4.46.0", "")))]
    )
    assert broken(there, {}) == []
    assert [one.found for one in broken(there, {"transformers": "5.18.0"})] == ["transformers 5.18.0"]
    assert broken(there, {"transformers": "5.18.0", "sentence-transformers": "5.2.0"}) == [], "it is replaced as well"


def test_only_what_this_session_has_loaded_asks_for_a_restart() -> None:
    assert packages.loaded(["pydantic", "no-such-package"], {"pydantic": object()}) == ["pydantic"]
    assert packages.loaded(["pydantic"], {"json": object()}) == []


def test_pip_is_asked_what_it_would_do_and_changes_nothing(tmp_path: Path) -> None:
    wheel(tmp_path, "quillnib", "2.0", "inkwell>=3")
    wheel(tmp_path, "inkwell", "3.1")
    options = ["--no-index", "--find-links", str(tmp_path)]
    assert plan(["quillnib>=1"], options) == {"quillnib": "2.0", "inkwell": "3.1"}
    assert "quillnib" not in installed()
    with pytest.raises(CellError, match=r"(?s)pip cannot install quillnib>=3.*quillnib"):
        plan(["quillnib>=3"], options)


@pytest.mark.slow
def test_an_installation_says_what_conflicts_lifts_the_neighbour_and_is_done_once(tmp_path: Path) -> None:
    """In an environment of its own, by real pip: transformers is too old, and its neighbour forbids the new one."""
    wheels, environment = tmp_path / "wheels", tmp_path / "environment"
    wheel(wheels, "transformers", "4.46.0")
    wheel(wheels, "transformers", "5.18.0")
    wheel(wheels, "sentence_transformers", "3.3.0", "transformers<5,>=4.41")
    wheel(wheels, "sentence_transformers", "5.2.0", "transformers<6,>=4.41")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    offline = ["--no-index", "--find-links", str(wheels)]
    first = ["transformers==4.46.0", "sentence_transformers==3.3.0"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *offline, *first], check=True)
    packaging = Path(__import__("packaging").__file__).parents[1]
    program = f"""
import sys
sys.path[:0] = [{str(packages.ROOT)!r}]
sys.path.append({str(packaging)!r})
import transformers
from shared.notebook import packages
own = packages.installed
packages.requirements = lambda extras: [packages.Requirement("transformers>=5.18")]
packages.installed = lambda path=None: own([p for p in sys.path if p.startswith({str(environment)!r})])
for _ in range(2):
    packages.install(options={offline!r})
"""
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "transformers: 4.46.0 is too old, >=5.18" in said
    assert "conflict: sentence_transformers 3.3.0 needs transformers<5,>=4.41, and transformers 5.18.0 will be" in said
    assert "installed: sentence-transformers 5.2.0, transformers 5.18.0" in said
    assert "Restart the session, then run the cells again from the top: transformers was loaded" in said
    assert said.endswith("1 of 1 packages are installed and new enough\n"), "nothing is installed again"
