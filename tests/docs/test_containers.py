"""Dockerfile and compose files, against the code that they start; no container is built here."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from typing import Any

import pytest
import typer.main
import yaml

import run
from tests.conftest import ROOT

FILES = ("compose.yaml", "compose.cuda.yaml")
IMAGES = {"cpu", "cuda"}


def read(name: str) -> dict[str, Any]:
    """With the values that variables have when nobody sets them."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)\}", lambda found: found[1] or "set", text))


def stages() -> set[str]:
    return set(re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))


def test_the_image_has_a_target_for_the_cpu_and_one_for_cuda() -> None:
    assert stages() >= IMAGES
    for name in FILES:
        for service in read(name)["services"].values():
            target = service["build"]["target"]
            assert target in stages()
            assert service["image"] == f"darkroom:{target}"


@pytest.mark.parametrize("service", ["trainer", "evaluator", "dashboard"])
def test_a_service_starts_a_command_that_there_is(service: str) -> None:
    command, *arguments = read("compose.yaml")["services"][service]["command"]
    commands: Any = typer.main.get_command(run.app)
    commands.commands[command].make_context(command, arguments)


def test_the_services_share_the_run_folder_that_the_trainer_makes() -> None:
    services = read("compose.yaml")["services"]
    settings = dict(word.split("=") for word in services["trainer"]["command"] if "=" in word)
    folder = f"{settings['run.output_dir']}/{settings['run.name']}"
    assert folder in services["evaluator"]["command"]
    assert settings["run.output_dir"] in services["dashboard"]["command"]
    assert f"{folder}/run.json" in services["trainer"]["healthcheck"]["test"]
    for service in services.values():
        assert f"runs:{settings['run.output_dir']}" in service["volumes"]


def test_only_those_that_compute_get_a_gpu() -> None:
    services = read("compose.cuda.yaml")["services"]
    assert {name for name, service in services.items() if "deploy" in service} == {"trainer", "evaluator"}


def test_the_image_is_built_of_all_that_is_in_the_wheel() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]
    for path in (*wheel["only-include"], *wheel["force-include"], "pyproject.toml", "constraints.txt", "README.md"):
        assert (ROOT / path).exists()
        assert [pattern for pattern in ignored if fnmatch.fnmatch(path, pattern)] == []
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()[:-1])
