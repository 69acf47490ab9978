"""The Data page's documents, pictures and changes by URL."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from dashboard.data.data_set import DATA_SETS
from dashboard.server.auth import Gate
from dashboard.server.data import data_routes
from dashboard.server.jobs import captioners
from dashboard.server.posts.captions import caption_routes
from examples.fake_run.run import FakeRun
from shared.config import access
from shared.data.editing import captioner_status
from shared.data.editing.captioner_status import CaptionerStatus
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.inventory import Inventory
from tests.data_run import HELD_OUT, HOSTILE, LEFT_OUT, give_data

HERE = "http://127.0.0.1:8501"


@pytest.fixture
def folder(finished: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of 60 pictures."""
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    DATA_SETS.forget()
    return give_data(finished, tmp_path / "data", 60)


@pytest.fixture
def visitor(folder: Path) -> TestClient:
    gate = Middleware(Gate, admission=access.Admission("", (), ""))
    return TestClient(Starlette(routes=[*data_routes(), *caption_routes()], middleware=[gate]), base_url=HERE)


def rows(visitor: TestClient, **sought: object) -> dict[str, Any]:
    answer = visitor.get("/data/finished.json", params={name: str(value) for name, value in sought.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(shown: dict[str, Any]) -> list[str]:
    return [row["id"] for row in shown["rows"]]


def send(visitor: TestClient, run: FakeRun, **told: object) -> tuple[int, dict[str, Any]]:
    answer = visitor.post("/captions/finished.json", json={"run_id": run.record.run_id, **told})
    return answer.status_code, answer.json()


def test_pictures_come_in_pages_with_all_that_is_known_of_them(visitor: TestClient) -> None:
    first, second = rows(visitor), rows(visitor, page=2)
    assert (first["total"], first["found"], first["pages"]) == (60, 60, 2)
    assert [*ids(first), *ids(second)] == [f"p{number:03d}" for number in range(60)]
    assert ids(rows(visitor, page=999)) == ids(second)
    one = first["rows"][3]
    known = {"split": "held_out", "bucket": "512×768", "tokens": 7, "cut": 0, "alike": [LEFT_OUT], "new": False}
    assert one | known | {"recorded": ""} == one
    assert one["caption"] == "1girl, red kimono, studio, number 3", "without the trigger word"
    assert first["rows"][1]["caption"] == HOSTILE
    assert first["splits"] == {"train": 58, "held_out": 1, "left_out": 1, "regularization": 0}
    assert first["notes"] == []
    assert first["fixed"] == ""


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ({"find": "KIMONO 31"}, ["p031"]),
        ({"split": "held_out"}, [HELD_OUT]),
        ({"only": "alike"}, [HELD_OUT, LEFT_OUT]),
        ({"only": "bare"}, ["p002"]),
        ({"only": "cut"}, ["p005"]),
        ({"only": "masked"}, [HELD_OUT]),
        ({"only": "changed"}, []),
        ({"find": "nothing has this"}, []),
    ],
)
def test_filters_find_what_they_say(visitor: TestClient, sought: dict[str, str], found: list[str]) -> None:
    assert ids(rows(visitor, **sought)) == found


def test_pictures_and_masks_are_drawn_again_and_nothing_else_is_sent(
    visitor: TestClient, finished: FakeRun, folder: Path
) -> None:
    row = rows(visitor, find=HELD_OUT)["rows"][0]
    for url in (row["url"], f"{row['url']}&large", row["mask"]):
        answer = visitor.get(f"/{url}")
        assert answer.headers["content-type"] == "image/webp"
        assert Image.open(io.BytesIO(answer.content)).size == (64, 96)
    (folder / "p001.png").write_text("no picture")
    assert visitor.get("/data/finished/picture?id=p001").status_code == 415
    for wrong in ("../run.json", "absent", ""):
        assert visitor.get("/data/finished/picture", params={"id": wrong}).status_code == 404
    assert visitor.get("/data/absent/picture?id=p001").status_code == 404
    turned = Image.new("RGB", (64, 32))
    turned.getexif()[274] = 6
    turned.save(folder / "p000.png", exif=turned.getexif())
    assert Image.open(io.BytesIO(visitor.get("/data/finished/picture?id=p000&v=2").content)).size == (32, 64)


def test_a_caption_is_edited_told_of_and_undone(visitor: TestClient, finished: FakeRun, folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.glob("*.txt")}
    status, said = send(visitor, finished, do="edit", id="p002", caption=" a  new one ", seen="")
    assert (status, said["count"]) == (200, 1)
    assert (folder / "p002.txt").read_text() == "a new one"
    shown = rows(visitor, only="changed")
    assert ids(shown) == ["p002"]
    assert re.search("1 of 60 captions are not those that this run was made with", shown["notes"][0])
    status, refused = send(visitor, finished, do="edit", id="p002", caption="mine", seen="an older one")
    assert (status, refused["caption"]) == (409, "a new one")
    changes = visitor.get("/data/finished/changes.json").json()["rows"]
    assert [(one["words"], one["undone"]) for one in changes] == [("p002", False)]
    assert send(visitor, finished, do="undo", change=changes[0]["undo"])[0] == 200
    assert {file.name: file.read_bytes() for file in folder.glob("*.txt")} == before
    assert visitor.get("/data/finished/changes.json").json()["rows"][0]["undone"]
    for wrong in ({"caption": " ", "seen": ""}, {"caption": "x" * 10_001, "seen": ""}, {"caption": 1, "seen": ""}):
        assert send(visitor, finished, do="edit", id="p002", **wrong)[0] == 422


def test_a_tag_is_replaced_in_all_captions_as_the_preview_says(
    visitor: TestClient, finished: FakeRun, folder: Path
) -> None:
    asked = {"find": "Studio", "replace": "in a studio", "how": "tag"}
    seen = visitor.get("/data/finished/replaced.json", params=asked).json()
    assert (seen["count"], seen["words"]) == (58, "58 captions change.")
    assert seen["rows"][0]["after"] == "1girl, red kimono, in a studio, number 0"
    status, said = send(visitor, finished, do="replace", **asked, count=57)
    assert (status, said["error"]) == (409, "The captions have changed meanwhile. 58 would change now.")
    status, said = send(visitor, finished, do="replace", **asked, count=58)
    assert (status, said["count"]) == (200, 58)
    assert sum("in a studio" in file.read_text() for file in folder.glob("*.txt")) == 58
    assert send(visitor, finished, do="undo", change=said["change"])[0] == 200
    assert not any("in a studio" in file.read_text() for file in folder.glob("*.txt"))
    nothing = {"find": "absent", "replace": "x", "how": "text"}
    assert send(visitor, finished, do="replace", **nothing, count=0)[1]["error"] == "No caption has it."


def test_what_a_run_trains_on_is_never_changed_under_it(visitor: TestClient, finished: FakeRun, folder: Path) -> None:
    with hold_role(finished.run, "trainer"):
        assert rows(visitor)["fixed"].startswith("finished trains on these pictures.")
        status, said = send(visitor, finished, do="edit", id="p002", caption="new", seen="")
        assert (status, said["error"][:8]) == (409, "finished")
        assert not (folder / "p002.txt").exists()
    assert send(visitor, finished, do="edit", id="p002", caption="new", seen="")[0] == 200


def test_a_change_of_another_site_or_for_another_run_is_refused(visitor: TestClient, finished: FakeRun) -> None:
    told = {"do": "edit", "id": "p002", "caption": "new", "seen": "", "run_id": finished.record.run_id}
    foreign = visitor.post("/captions/finished.json", json=told, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert visitor.post("/captions/finished.json", content=json.dumps(told)).status_code == 415
    assert visitor.post("/captions/finished.json", json=told | {"run_id": "another"}).status_code == 409
    assert visitor.post("/captions/finished.json", json=told | {"do": "else"}).status_code == 422


def test_what_cannot_be_changed_says_why(visitor: TestClient, finished: FakeRun, folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")
    DATA_SETS.forget()
    assert "copy of a data set" in rows(visitor)["fixed"]
    assert send(visitor, finished, do="edit", id="p002", caption="new", seen="")[0] == 409
    (folder / "manifest.json").unlink()
    inventory = finished.run.read_inventory()
    assert inventory
    Inventory(pairs=inventory.pairs, classified=True).write(finished.run.dataset)
    finished.run.dataset_csv.unlink()
    shown = rows(visitor)
    assert shown["fixed"].startswith("These are classes")
    assert shown["notes"] == [], "nothing is missing: a classifier has no buckets and no tokens"
    assert shown["splits"]["held_out"] == 1
    assert send(visitor, finished, do="edit", id="p000", caption="new", seen="")[0] == 409
    Inventory(pairs=inventory.pairs, example="example").write(finished.run.dataset)
    shown = rows(visitor)
    assert shown["fixed"].startswith("These are no captioned pictures")
    assert shown["notes"] == ["Of each example the beginning is shown."]
    assert shown["rows"][0]["url"] == ""


def test_a_run_without_its_data_set_shows_what_it_recorded(
    visitor: TestClient, finished: FakeRun, folder: Path
) -> None:
    folder.rename(folder.with_name("moved"))
    finished.run.dataset_csv.unlink()
    DATA_SETS.forget()
    shown = rows(visitor)
    assert (shown["total"], shown["rows"][0]["url"]) == (60, "")
    assert "does not exist" in shown["fixed"]
    assert shown["notes"][0].startswith("Buckets, tokens and near-duplicates are not recorded")
    finished.run.dataset.unlink()
    DATA_SETS.forget()
    assert rows(visitor)["rows"] == []


def test_a_captioner_is_started_once_told_of_and_stopped(
    visitor: TestClient, finished: FakeRun, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def wait(module: str, *options: object) -> list[str]:
        started.append([module, *map(str, options)])
        return (
            [sys.executable, "-c", "input()"] if len(started) < 2 else [sys.executable, "-c", "exit('error: no model')"]
        )

    monkeypatch.setattr(captioners, "python_module", wait)
    asked = {"do": "caption", "model": " some/model ", "every": False}
    assert send(visitor, finished, **asked | {"model": "--evil"})[0] == 422
    captioner_status.hold(folder).release()
    status = CaptionerStatus(state="writing", model="some/model", done=3, total=9)
    status.write(captioner_status.place_of(folder))
    assert rows(visitor)["captioner"] == {"is_at_work": True, "words": "some/model writes captions: 3 of 9"}
    assert send(visitor, finished, **asked)[0] == 409, "one is at work"
    assert send(visitor, finished, do="stop-captioner")[0] == 200
    assert captioner_status.is_asked_to_stop(folder)
    status.model_copy(update={"state": "finished", "done": 9}).write(captioner_status.place_of(folder))
    assert "has written captions: 9 of 9" in rows(visitor)["captioner"]["words"]
    assert send(visitor, finished, **asked)[0] == 200
    assert started[0][:4] == ["tasks.captioning", str(folder), "--model", "some/model"]
    wait_until(lambda: not rows(visitor)["captioner"]["is_at_work"])
    assert send(visitor, finished, **asked)[0] == 200
    wait_until(lambda: "no model" in rows(visitor)["captioner"]["words"])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("name", ["着物 no. 7", "a#b?c&d=e%20", "Ünï-😀", "it's “quoted”", "<b>bold"])
def test_odd_names_are_shown_found_and_their_captions_changed(
    visitor: TestClient, finished: FakeRun, folder: Path, name: str
) -> None:
    (folder / "p010.png").rename(folder / f"{name}.png")
    (folder / f"{name}.txt").write_bytes("着物, a “red” 😀 kimono\r\n".encode())
    (folder / "p010.txt").unlink()
    DATA_SETS.forget()
    (row,) = rows(visitor, find=name)["rows"]
    assert (row["id"], row["caption"], row["new"]) == (name, "着物, a “red” 😀 kimono", True)
    assert visitor.get(f"/{row['url']}").headers["content-type"].startswith("image/")
    assert send(visitor, finished, do="edit", id=name, caption="藍 kimono", seen=row["caption"])[0] == 200
    assert (folder / f"{name}.txt").read_bytes() == "藍 kimono\r\n".encode(), "the file keeps its line ends"


def test_a_picture_that_is_removed_while_the_page_is_open_is_told_and_hurts_no_other(
    visitor: TestClient, finished: FakeRun, folder: Path
) -> None:
    shown = {row["id"]: row for row in rows(visitor)["rows"]}
    (folder / "p010.png").unlink()
    assert visitor.get(f"/{shown['p010']['url']}").is_client_error
    status, said = send(visitor, finished, do="edit", id="p010", caption="new", seen=shown["p010"]["caption"])
    assert (status, bool(said["error"])) == (404, True)
    assert send(visitor, finished, do="edit", id="p011", caption="new", seen=shown["p011"]["caption"])[0] == 200
    gone = rows(visitor, only="missing")
    assert (ids(gone), gone["rows"][0]["url"]) == (["p010"], "")


def test_a_folder_that_may_not_be_written_is_said_and_nothing_is_changed(
    visitor: TestClient, finished: FakeRun, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = Path.mkdir

    def refuse(self: Path, *others: Any, **more: Any) -> None:
        if ".darkroom" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        true(self, *others, **more)

    monkeypatch.setattr(Path, "mkdir", refuse)
    before = {file.name: file.read_bytes() for file in folder.glob("*.txt")}
    status, said = send(visitor, finished, do="edit", id="p002", caption="new", seen="")
    assert status == 422
    assert "cannot be written: Permission denied; give yourself the right" in said["error"]
    assert {file.name: file.read_bytes() for file in folder.glob("*.txt")} == before
