"""`run.py publish`: the card, its figures and its code; folders, zips, and a hub that is not there."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load

from shared.errors import ConfigError, DarkroomError, RunFolderError
from shared.publishing import hub
from shared.publishing.places import cleaner
from shared.publishing.target import parse
from shared.run_folder.run_dir import RunDir
from tasks import publish
from tests.conftest import ROOT
from tests.published import run_card

FINISHED = ROOT / "tests" / "golden" / "folders" / "finished"
STRENGTH = {"recommended": 0.8, "drawn": [], "lower": 0.7, "reason": "Recommended strength: 0.8."}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run on the embedded model, with a trigger word."""
    shutil.copytree(FINISHED, tmp_path / "runs" / "dress")
    run = RunDir(tmp_path / "runs" / "dress")
    text = run.config.read_text(encoding="utf-8").replace('trigger_word = ""', 'trigger_word = "ohwx"')
    run.config.write_text(text, encoding="utf-8")
    return run


class FakeHub:
    """`HfApi`, whose repositories are folders here."""

    folder, calls = Path(), list[str]()

    def whoami(self) -> None:
        self.calls.append("whoami")

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        self.calls.append(f"create {repository} {private} {exist_ok}")

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> str:
        shutil.copytree(folder_path, self.folder / repo_id)
        return f"https://hub/{repo_id}/commit/1"


def published(monkeypatch: pytest.MonkeyPatch, run: RunDir, *options: object) -> int:
    monkeypatch.setattr(sys, "argv", ["publish", str(run.path), *map(str, options)])
    return publish.main()


def parts_of(card: str) -> tuple[dict[str, Any], str]:
    """The hub's metadata, and what people read."""
    _, metadata, body = card.split("---\n", 2)
    return yaml.safe_load(metadata), body


def table_under(body: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, rendered and read back."""
    html = MarkdownIt("commonmark").enable("table").render(body.partition(f"## {heading}\n")[2])
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition("<tbody>")[2].partition("</tbody>")[0], re.DOTALL)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row)] for row in rows]


def drawn_by(card: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The picture that the card's code makes in a folder."""
    run_card(card, folder, monkeypatch)
    with Image.open("picture.png") as picture:
        return np.asarray(picture.convert("RGB"), dtype=float)


def test_a_folder_holds_a_card_whose_figures_are_those_of_best_json(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "dress"
    options = ("--license", "apache-2.0", "--base-model", "some/base")
    assert published(monkeypatch, run, "--to", target, *options) == 0
    card = (target / "README.md").read_text(encoding="utf-8")
    metadata, body = parts_of(card)
    assert metadata["base_model"] == "some/base"
    assert metadata["instance_prompt"] == "ohwx"
    assert metadata["license"] == "apache-2.0"
    assert {"lora", "text-to-image"} <= set(metadata["tags"])
    assert [one["output"]["url"] for one in metadata["widget"]] == [f"images/0{number}.png" for number in (1, 2, 3, 4)]
    best = json.loads(run.best.read_text(encoding="utf-8"))
    described = {column.title: column for column in run.read_metric_descriptions().columns}
    for title, base, value, delta, interval in table_under(body, "Measured"):
        column = described[title.partition(" (")[0]]
        difference, mean = best["deltas"][column.name], best["metrics"][column.name]
        assert value == column.spelled(mean)
        assert base == column.spelled(mean - difference["delta"])
        assert delta == column.spelled(difference["delta"], is_change=True)
        ends = [column.spelled(difference[end], is_change=True) for end in ("low", "high")]
        assert interval == " to ".join(ends)
    assert len(table_under(body, "Measured")) == len(best["deltas"]) == 4
    assert ["trigger word", "ohwx"] in table_under(body, "Use")
    html = MarkdownIt("commonmark").enable("table").render(body)
    assert html.count("<table>") == 3
    for name in re.findall(r'(?:src|href)="(?!http)(.*?)"', html):
        assert (target / name).is_file()
    assert str(tmp_path) not in card
    assert "not shown to be better" in capsys.readouterr().out
    with Image.open(target / "samples.webp") as sheet:
        assert sheet.size == (4 * 326 - 6, 2 * 326 - 6)


@pytest.mark.parametrize("strength", [1.0, 0.8])
def test_the_code_of_a_card_draws_its_first_picture(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strength: float
) -> None:
    if strength != 1:
        best = json.loads(run.best.read_text(encoding="utf-8"))
        run.best.write_text(json.dumps({**best, "strength": STRENGTH}), encoding="utf-8")
    target = tmp_path / "dress"
    published(monkeypatch, run, "--to", target)
    (target / "pocket").symlink_to(ROOT / "pocket")
    card = (target / "README.md").read_text(encoding="utf-8")
    picture = drawn_by(card, target, monkeypatch)
    with Image.open(target / "images" / "01.png") as file:
        shown = np.asarray(file.convert("RGB"), dtype=float)
    with Image.open(run.evaluation(0) / "images" / "000-seed-1234.png") as file:
        base = np.asarray(file.convert("RGB"), dtype=float)
    assert np.abs(picture - base).max() > 8
    if strength == 1:
        assert np.abs(picture - shown).max() <= 1  # drawn alone, and not in a batch
    else:
        assert np.abs(picture - shown).max() > 1
        assert 'set_adapters("lora", 0.8)' in card
        assert "<lora:dress:0.8> " in card
        assert ["strength", "0.8"] in table_under(card, "Use")


def test_nothing_is_sent_to_the_hub_without_yes(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "HfApi", FakeHub)
    FakeHub.folder, FakeHub.calls = tmp_path / "hub", []
    assert published(monkeypatch, run, "--to", "ann/dress") == 0
    assert FakeHub.calls == []
    said = capsys.readouterr().out
    assert 'load_lora_weights("ann/dress"' in said
    assert "nothing was sent" in said
    assert published(monkeypatch, run, "--to", "ann/dress", "--yes", "--private") == 0
    assert FakeHub.calls == ["whoami", "create ann/dress True True"]
    assert "published: https://hub/ann/dress/commit/1" in capsys.readouterr().out
    sent = {path.name for path in (tmp_path / "hub" / "ann" / "dress").iterdir()}
    assert sent >= {"README.md", "dress.safetensors", "pytorch_lora_weights.safetensors", "samples.webp"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (hub.LocalTokenNotFoundError("no token"), "no token of the hub is on this machine"),
        (ConnectionError("refused"), "the hub cannot be reached: refused"),
    ],
)
def test_a_hub_that_cannot_be_used_is_said_before_anything_is_made(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def refuse(_: FakeHub) -> None:
        raise error

    monkeypatch.setattr(hub, "HfApi", FakeHub)
    monkeypatch.setattr(FakeHub, "whoami", refuse)
    FakeHub.folder, FakeHub.calls = tmp_path / "hub", []
    with pytest.raises(DarkroomError, match=said) as caught:
        published(monkeypatch, run, "--to", "ann/dress", "--yes")
    assert caught.value.hint
    assert FakeHub.calls == []


def test_a_zip_has_weights_pictures_and_a_description(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "dress.zip"
    assert published(monkeypatch, run, "--to", target, "--with-references") == 0
    with zipfile.ZipFile(target) as archive:
        names = set(archive.namelist())
        assert {"description.md", "dress.safetensors", "samples.webp", "images/01.png"} <= names
        assert "pytorch_lora_weights.safetensors" not in names
        assert {key.partition("_")[0] for key in load(archive.read("dress.safetensors"))} == {"lora"}
        text = archive.read("description.md").decode()
        with Image.open(io.BytesIO(archive.read("samples.webp"))) as sheet:
            assert sheet.height == 3 * 326 - 6
    assert text.startswith("# dress\n")
    assert "`ohwx`" in text
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_headers_and_pictures_carry_nothing_of_this_machine(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "dress"
    published(monkeypatch, run, "--to", target)
    for path in target.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            assert not re.search(r"(?:^|[\s\"'])/\w", json.dumps(file.metadata()))
    for path in target.rglob("*.png"):
        with Image.open(path) as picture:
            assert picture.info == {}


def test_paths_are_shortened_and_addresses_are_not(run: RunDir) -> None:
    shortened = cleaner(run)
    assert shortened(f"evaluate {run.path}/snapshots/step-1 again") == "evaluate step-1 again"
    assert shortened("of /home/ann/my-pictures, and ~/x/y.toml") == "of my-pictures, and y.toml"
    assert shortened(r"of C:\Users\ann\dress and \\server\share\dress") == "of dress and dress"
    kept = "see https://huggingface.co/some/base, 3/4, models/loras and `a/b`: 10/12/2026"
    assert shortened(kept) == kept


def test_what_to_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (parse("ann/dress").form, parse("ann/dress").repository) == ("hub", "ann/dress")
    assert parse("hub:ann/dress").repository == "ann/dress"
    assert [parse(text).form for text in ("./ann/dress", "dress", "out/dress.zip", "a/b/c")] == [
        "folder",
        "folder",
        "zip",
        "folder",
    ]
    for wrong in ("hub:dress", "hub:a/b/c", "hub:a/b c"):
        with pytest.raises(ConfigError, match="no name of a repository"):
            parse(wrong)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RunFolderError, match="full exists"):
        parse("full")


def test_a_failed_publication_leaves_nothing(run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = next(run.snapshot(20).glob("*.safetensors"))
    os.truncate(weights, 100)
    for target in (tmp_path / "dress", tmp_path / "dress.zip"):
        with pytest.raises(DarkroomError):
            published(monkeypatch, run, "--to", target)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
