from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.gate import Gate
from shared import access


async def page(_: Request) -> PlainTextResponse:
    return PlainTextResponse("in")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def client(token: str = "", base_url: str = "http://127.0.0.1:8501") -> TestClient:
    routes = [Route("/{path:path}", page), WebSocketRoute("/_stcore/stream", socket)]
    app = Starlette(routes=routes, middleware=[Middleware(Gate, admission=access.Admission(token))])
    return TestClient(app, base_url=base_url, follow_redirects=False)


def connects(visitor: TestClient, **headers: str) -> bool:
    try:
        with visitor.websocket_connect("/_stcore/stream", headers=headers):
            return True
    except WebSocketDisconnect:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost", "[::1]:8501"])
def test_on_this_machine_everybody_comes_in(host: str) -> None:
    assert client().get("/", headers={"host": host}).text == "in"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8501", ""])
def test_without_a_token_a_foreign_name_is_refused(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 403
    assert not connects(client(), host=host)


def test_a_token_in_the_address_becomes_a_cookie_and_leaves_the_address() -> None:
    visitor = client("secret", "http://testserver")
    assert visitor.get("/samples").status_code == 401
    answer = visitor.get("/samples?token=secret&run=a%20b")
    assert (answer.status_code, answer.headers["location"]) == (303, "/samples?run=a+b")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=lax" in answer.headers["set-cookie"].lower()
    assert visitor.get("/samples").text == "in"
    assert connects(visitor)


def test_a_wrong_token_and_a_wrong_cookie_stay_outside() -> None:
    visitor = client("secret", "http://testserver")
    assert visitor.get("/?token=guess").status_code == 401
    assert visitor.get("/", headers={"cookie": "darkroom_token=guess"}).status_code == 401
    assert visitor.get("/pictures/a.png").status_code == 401
    assert not connects(visitor)
    assert not connects(client("secret", "http://testserver"), cookie="darkroom_token=;=,")


def test_another_site_cannot_connect_even_with_the_cookie() -> None:
    visitor = client("secret", "http://testserver")
    visitor.get("/?token=secret")
    assert not connects(visitor, origin="http://evil.example")
    assert connects(visitor, origin="http://testserver")


def test_health_is_asked_without_a_token() -> None:
    assert client("secret").get("/_stcore/health").text == "in"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False)],
)
def test_only_a_loopback_address_needs_no_token(host: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(access.VARIABLE, raising=False)
    assert access.is_loopback(host) == expected
    assert (access.token_for(host) == "") == expected


def test_a_link_can_be_opened_whatever_was_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "box")
    assert access.link("0.0.0.0", 80, "a/b") == "http://box:80/?token=a/b"
    assert access.link("::1", 80, "") == "http://[::1]:80"
    monkeypatch.setenv(access.VARIABLE, "mine")
    assert access.token_for("127.0.0.1") == "mine"
