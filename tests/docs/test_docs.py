"""Documentation that fails the build when it no longer tells the truth."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import typer.main
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import run
from shared.config.loading import load_config
from shared.config.schema import known_keys, sections
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.flow.flow_family import FlowFamily

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_configuration_page_is_what_the_settings_say() -> None:
    spec = importlib.util.spec_from_file_location("make_configuration", ROOT / "docs" / "make_configuration.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.render(), "run: python docs/make_configuration.py"


def test_hardware_page_is_what_the_presets_say() -> None:
    spec = importlib.util.spec_from_file_location("make_hardware", ROOT / "docs" / "make_hardware.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.render(), "run: python docs/make_hardware.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_section_names_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s:]*\.md)?#([\w-]+)\)", page.read_text(encoding="utf-8"))
    sections = {target: _anchors(page.parent / target if target else page) for target, _ in links}
    assert [(target, anchor) for target, anchor in links if anchor not in sections[target]] == []


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_path_of_the_architecture_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## To change X, open Y")[2]
    folders = "benchmarks|configs|dashboard|docs|evaluator|examples|pocket|shared|tasks|tests|trainer"
    named = re.findall(rf"`((?:{folders})/[\w./-]*|run\.py)(?::([\w.]+))?`", page)
    assert len(named) > len(table.splitlines()) // 2
    assert [path for path, _ in named if not (ROOT / path).exists()] == []
    assert [f"{path}:{name}" for path, name in named if name and name not in _names_in(ROOT / path)] == []


def _names_in(file: Path) -> set[str]:
    """What a module defines: `function`, `Class`, `Class.method`, `CONSTANT`."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def test_the_architecture_lists_every_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = page.partition("| contract |")[2].partition("\n\n")[0].splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] != []
    assert {row.split(" | ")[0].removeprefix("| ") for row in rows} == {contract["name"] for contract in contracts}


def test_the_tree_of_the_readme_is_the_repository() -> None:
    """Every folder in it exists; packages are shown with all their neighbours or with none."""
    block = README.partition("\nrun.py  ")[2].partition("```")[0]
    shown, above = set[Path](), list[str]()
    for indent, name in re.findall(r"^( *)(\w+)/ ", block, re.MULTILINE):
        above = [*above[: len(indent) // 2], name]
        shown.add(ROOT.joinpath(*above))
    assert [folder for folder in shown if not folder.is_dir()] == []
    for parent in {folder.parent for folder in shown}:
        packages = {file.parent for file in parent.glob("*/__init__.py")}
        assert packages - shown == set()


def test_the_tables_of_a_family_name_every_member() -> None:
    page = (ROOT / "docs" / "adding-a-family.md").read_text(encoding="utf-8")
    said, own = (
        {name for row in re.findall(r"^\| .*", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
        for table in page.partition("## What the family says")[2].partition("## Rules")[0].split("A `FlowFamily`")
    )
    computed = {"parts", "weighted_parts", "absent"}
    assert said == _members(Family) - computed
    assert own - {"auto", "init"} == _members(FlowFamily) - _members(Family)


def _members(of: type) -> set[str]:
    return {name for name in {*vars(of), *vars(of).get("__annotations__", {})} if not name.startswith("_")}


def test_every_test_that_a_decision_names_exists() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("test_*.py")))
    notes = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    named = {(note.name, test) for note in notes for test in re.findall(r"`(test_\w+)`", note.read_text("utf-8"))}
    assert notes
    assert {(note, test) for note, test in named if f"def {test}(" not in tests} == set()


def test_the_list_of_decisions_is_complete() -> None:
    folder = ROOT / "docs" / "decisions"
    titles = {path.name: path.read_text("utf-8").partition(". ")[2].splitlines()[0] for path in folder.glob("0*.md")}
    rows = {f"| {name[:4]} | [{title}]({name}) |" for name, title in titles.items()}
    assert rows <= set((folder / "README.md").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_config_loads(config: Path) -> None:
    assert load_config(config).run.name


def test_every_make_target_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets


def test_every_command_the_readme_names_exists() -> None:
    commands = set(typer.main.get_command(run.app).commands)  # pyright: ignore[reportAttributeAccessIssue]
    named = set(re.findall(r"run\.py ([a-z]+)", README))
    assert named
    assert named <= commands


def test_readme_names_every_command() -> None:
    commands = set(typer.main.get_command(run.app).commands)  # pyright: ignore[reportAttributeAccessIssue]
    assert commands - {"demo"} <= set(re.findall(r"run\.py ([a-z]+)", README))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("learning_rat,", "")  # the typing error of an example
    named = re.findall(rf"(?<![\w./-])((?:{'|'.join(sections())})\.[a-z_0-9]+)", text)
    files = {"run.py", "run.json", "run.toml", "train.csv", "data.csv", "data.md", "dashboard.md"}
    assert sorted(set(named) - files - set(known_keys())) == []


def test_one_oldest_python_is_named_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    oldest = project["project"]["requires-python"].removeprefix(">=")
    classifiers = [entry.rpartition(" ")[2] for entry in project["project"]["classifiers"] if "Python :: 3." in entry]
    said = {
        "ruff": project["tool"]["ruff"]["target-version"].replace("py3", "3."),
        "pyright": project["tool"]["pyright"]["pythonVersion"],
        "classifiers": min(classifiers, key=lambda version: int(version.partition(".")[2])),
    }
    for page in [*PAGES, ROOT / "constraints.txt", ROOT / "notebooks" / "darkroom.ipynb"]:
        said |= {
            f"{page.name}: {version}": version for version in re.findall(r"Python (3\.\d+)", page.read_text("utf-8"))
        }
    assert set(said.values()) == {oldest}, said
    assert {"README.md", "CONTRIBUTING.md", "constraints.txt", "darkroom.ipynb"} <= {
        name.partition(":")[0] for name in said
    }


def test_the_tested_versions_are_within_the_bounds_that_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = dict(
        re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    tested = {canonicalize_name(name): version for name, version in pinned.items()}
    declared = [Requirement(text) for text in project["dependencies"]]
    wrong = {str(bound) for bound in declared if not bound.specifier.contains(tested[canonicalize_name(bound.name)])}
    assert wrong == set()
    assert all(bound.specifier for bound in declared)


@pytest.mark.parametrize(
    "library", ["accelerate", "diffusers", "huggingface-hub", "peft", "safetensors", "transformers"]
)
def test_what_is_imported_is_declared_with_what_its_neighbours_need(library: str) -> None:
    """A bound below what another declared library asks for would promise what cannot be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {canonicalize_name(bound.name): bound for bound in map(Requirement, project["dependencies"])}
    oldest = next(iter(declared[canonicalize_name(library)].specifier)).version
    for other in ("accelerate", "diffusers", "peft"):
        for text in importlib.metadata.requires(other) or []:
            asked = Requirement(text)
            if asked.marker is None and canonicalize_name(asked.name) == library:
                assert asked.specifier.contains(oldest), f"{other} needs {asked}"


def test_readme_stays_short() -> None:
    assert len(README.splitlines()) <= 200
