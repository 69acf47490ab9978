"""The documents that the page asks for."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.data import notes
from dashboard.server.screen import screen_routes
from dashboard.server.scripts import FILES, MODULES, SERVED, STYLES, links, script_routes
from examples.fake_run.run import FakeRun
from shared.run_folder import requests
from shared.run_folder.heartbeat import hold_role, hold_slot
from shared.run_folder.times import parse_time


@pytest.fixture
def visitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    return TestClient(Starlette(routes=[*screen_routes(), *script_routes()]))


@pytest.mark.usefixtures("finished")
def test_what_has_not_changed_is_not_sent_again(visitor: TestClient) -> None:
    first = visitor.get("/screen/finished.json")
    assert first.json()["run"] == "finished"
    again = visitor.get("/screen/finished.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = visitor.get("/screen/finished.json?left=40&right=80", headers={"If-None-Match": first.headers["ETag"]})
    assert (other.json()["pictures"]["left"], other.json()["pictures"]["right"]) == (40, 80)


def test_the_document_tells_which_parts_of_the_run_have_changed(visitor: TestClient, finished: FakeRun) -> None:
    before = visitor.get("/screen/finished.json").json()["versions"]
    assert visitor.get("/screen/finished.json").json()["versions"] == before
    notes.star(finished.run, 40, True)
    after = visitor.get("/screen/finished.json").json()["versions"]
    assert {part for part in before if before[part] != after[part]} == {"notes"}


def test_the_versions_of_another_run_are_told_by_themselves(visitor: TestClient, finished: FakeRun) -> None:
    first = visitor.get("/versions/finished.json?parts=metrics,notes,absent")
    assert first.json()["run"] == "finished"
    assert [*first.json()["versions"]] == ["metrics", "notes"]
    notes.star(finished.run, 40, True)
    again = visitor.get("/versions/finished.json?parts=metrics", headers={"If-None-Match": first.headers["ETag"]})
    assert again.json()["versions"]["metrics"] == first.json()["versions"]["metrics"]
    assert visitor.get("/versions/absent.json").status_code == 404


def test_the_machine_tells_what_is_in_use_and_every_program_of_the_run(visitor: TestClient, finished: FakeRun) -> None:
    with hold_slot(finished.run, "evaluator"), hold_slot(finished.run, "evaluator"):
        told = visitor.get("/machine/finished.json").json()
    assert [gauge["name"] for gauge in told["gauges"]][:3] == ["Processors", "Memory", "Disk"]
    assert all(0 <= gauge["share"] <= 1 for gauge in told["gauges"])
    assert [one["name"] for one in told["programs"]] == ["Supervisor", "Trainer", "Evaluator", "Evaluator 2"]
    assert told["programs"][0]["state"] == "not started"
    assert len(told["titles"]) == len(told["programs"][0]) - 1, "the tone is a colour, not a column"


def test_a_log_is_told_as_it_was_asked_for(visitor: TestClient, finished: FakeRun) -> None:
    path = finished.run.logs / "evaluator.log"
    path.write_text("begins\nWARNING slow\nERROR no room\n")
    told = visitor.get("/log/finished/evaluator.json?count=9999999").json()
    assert told == {"text": "begins\nWARNING slow\nERROR no room", "remark": str(path)}
    told = visitor.get("/log/finished/evaluator.json?level=warnings&wanted=SLOW&count=-5&start=nonsense").json()
    assert told == {"text": "WARNING slow", "remark": f"{path} · 2 lines are hidden"}
    assert visitor.get("/log/finished/evaluator.json?start=last").json()["text"] == "ERROR no room"
    for role in ("absent", "%2e%2e", "Trainer"):
        assert visitor.get(f"/log/finished/{role}.json").status_code == 404


@pytest.mark.usefixtures("finished")
def test_each_request_has_its_own_language(visitor: TestClient) -> None:
    titles = {
        language: visitor.get(f"/screen/finished.json?lang={language}").json()["pictures"]["titles"]
        for language in ("en", "zh-Hans", "en")
    }
    assert titles["en"] != titles["zh-Hans"]
    spoken = visitor.get("/screen/finished.json", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    assert spoken.json()["pictures"]["titles"] == titles["zh-Hans"]


@pytest.mark.parametrize("query", ["left=x&right=-1", "zone=Mars/Olympus", "zone=../../etc/passwd", "lang=tlh"])
@pytest.mark.usefixtures("finished")
def test_a_question_nobody_can_mean_is_answered_as_the_usual_one(visitor: TestClient, query: str) -> None:
    assert visitor.get(f"/screen/finished.json?{query}").status_code == 200


@pytest.mark.parametrize("name", ["absent", "..", "%2e%2e", "."])
@pytest.mark.usefixtures("finished")
def test_a_run_that_is_not_there_is_said_in_words(visitor: TestClient, name: str) -> None:
    answer = visitor.get(f"/screen/{name}.json")
    assert answer.status_code == 404


def test_a_damaged_run_is_said_in_words(visitor: TestClient, finished: FakeRun) -> None:
    finished.run.record.write_text("{")
    answer = visitor.get("/screen/finished.json")
    assert answer.status_code == 404
    assert answer.json()["error"] == f"{finished.run.record} is not a record of Darkroom"
    (line,) = visitor.get("/runs.json").json()
    assert (line["name"], line["state"], line["tone"]) == ("finished", "cannot be read", "bad")


def test_a_request_is_told_stage_by_stage(visitor: TestClient, finished: FakeRun) -> None:
    with hold_role(finished.run, "trainer") as trainer:
        trainer.update("training", step=10)
        assert visitor.get("/screen/finished.json").json()["advice"]
        request = requests.submit_stop(finished.run, "somebody")
        requests.answer(finished.run, request, "seen", 11)
        document = visitor.get("/screen/finished.json").json()
    (line,) = document["requests"]
    assert line["by"] == "by somebody"
    assert [(stage["name"], bool(stage["when"])) for stage in line["stages"]] == [
        ("requested", True), ("seen", True), ("saved", False), ("stopped", False)
    ]  # fmt: skip
    assert line["stages"][1]["when"].endswith(" ago")
    assert document["advice"] == "", "it is being followed"


def test_a_request_that_is_over_is_told_by_the_clock_and_changes_no_more(
    visitor: TestClient, finished: FakeRun
) -> None:
    with hold_role(finished.run, "trainer") as trainer:
        trainer.update("training", step=10)
        request = requests.submit_stop(finished.run, "somebody")
        for stage in ("seen", "saved", "stopped"):
            requests.answer(finished.run, request, stage, 11)
    (line,) = visitor.get("/screen/finished.json?zone=Asia/Tokyo").json()["requests"]
    told = parse_time(request.created).astimezone(ZoneInfo("Asia/Tokyo"))
    assert line["stages"][0]["when"] == f"{told:%H:%M:%S}"


@pytest.mark.usefixtures("finished")
def test_the_report_is_saved_as_one_file(visitor: TestClient) -> None:
    answer = visitor.get("/report/finished.html")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "<html" in answer.text
    assert visitor.get("/report/absent.html").status_code == 404


def test_every_script_and_style_is_linked_and_served(visitor: TestClient) -> None:
    for name in (*MODULES, STYLES):
        url = next(part for part in links().split('"') if part.endswith(f"/{name}"))
        answer = visitor.get(f"/{url}")
        assert answer.content == SERVED[name]
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Content-Type"].startswith("text/css" if name.endswith(".css") else "text/javascript")
    assert all(source in SERVED[STYLES] for name, source in FILES.items() if name.endswith(".css"))
    assert visitor.get("/scripts/1/../shell.py").status_code == 404
