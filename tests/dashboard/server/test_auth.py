from __future__ import annotations

import contextlib
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.server.auth import Gate, cookie_name
from shared.config import access
from shared.launch.token_file import new_token


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("in" if request.url.path != "/darkroommate" else request.url.path)


async def socket(websocket: WebSocket) -> None:
    assert "origin" not in websocket.headers, "Streamlit would ask the internet about it"
    await websocket.accept()
    await websocket.close()


def client(
    token: str = "", base_url: str = "http://127.0.0.1:8501", trusted: str = "", base_path: str = ""
) -> TestClient:
    """The gate before a page that says its own path; `trusted`: a host."""
    routes = [Route("/{path:path}", page, methods=["GET", "POST"]), WebSocketRoute("/_stcore/stream", socket)]
    admission = access.Admission(token, (trusted,) if trusted else (), base_path)
    app = Starlette(routes=routes, middleware=[Middleware(Gate, admission=admission)])
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
    assert (answer.status_code, answer.headers["location"]) == (303, "./samples?run=a+b")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=lax" in answer.headers["set-cookie"].lower()
    assert visitor.get("/samples").text == "in"
    assert connects(visitor)


def test_a_wrong_token_and_a_wrong_cookie_stay_outside() -> None:
    visitor = client("secret", "http://testserver")
    assert visitor.get("/?token=guess").status_code == 401
    assert visitor.get("/", headers={"cookie": f"{cookie_name('secret')}=guess"}).status_code == 401
    assert visitor.get("/pictures/a.png").status_code == 401
    assert not connects(visitor)
    assert not connects(client("secret", "http://testserver"), cookie=f"{cookie_name('secret')}=;=,")


def test_another_site_cannot_connect_even_with_the_cookie() -> None:
    visitor = client("secret", "http://testserver")
    visitor.get("/?token=secret")
    assert not connects(visitor, origin="http://evil.example")
    assert connects(visitor, origin="http://testserver")


def test_health_is_asked_without_a_token() -> None:
    assert client("secret").get("/_stcore/health").text == "in"


def test_a_foreign_name_is_refused_with_the_setting_that_allows_it() -> None:
    as_page = client().get("/", headers={"host": "gpu.example.org", "accept": "text/html,*/*"})
    assert as_page.headers["content-type"].startswith("text/html")
    for answer in (as_page, client().get("/", headers={"host": "gpu.example.org"})):
        assert "unknown host" in answer.text
        assert "--trusted-host gpu.example.org" in answer.text
        assert "dashboard.trusted_hosts" in answer.text


def test_who_is_refused_is_told_in_the_language_of_the_browser_or_the_address() -> None:
    visitor = client("secret")
    page = visitor.get("/", headers={"accept": "text/html", "accept-language": "zh-TW,zh;q=0.9"}).text
    assert '<html lang="zh-Hant">' in page
    assert "這個網址需要其中的權杖" in page
    assert "这个地址需要其中的令牌" in visitor.get("/?lang=zh-Hans", headers={"accept": "text/html"}).text
    assert "this address needs the token" in visitor.get("/?lang=xx", headers={"accept": "text/html"}).text


def test_what_a_refusal_repeats_cannot_be_code() -> None:
    headers = {"host": "<script>alert(1)</script>", "accept": "text/html"}
    assert "<script>" not in client().get("/", headers=headers).text


def test_a_proxy_that_rewrites_host_is_named_to_the_page_that_asks() -> None:
    visitor, base = client(), "http://127.0.0.1:8501"
    behind = {"origin": "https://gpu.example.org", "accept": "text/html"}
    assert visitor.get("/", headers=behind).text == "in", "a page comes without a word of where it is shown"
    assert not connects(visitor, host="127.0.0.1:8501", origin="https://gpu.example.org")
    answer = visitor.post("/admission", headers=behind)
    assert answer.status_code == 403
    assert "rewrites the Host header" in answer.text
    assert "--trusted-host gpu.example.org" in answer.text
    assert visitor.post("/admission", headers={"origin": base}).status_code == 204
    assert connects(visitor, host="127.0.0.1:8501", origin=base)


def test_a_trusted_host_may_connect_through_a_proxy_that_rewrites_host_and_only_with_the_token() -> None:
    visitor = client("secret", "http://testserver", trusted="gpu.example.org")
    assert not connects(visitor, origin="https://gpu.example.org:8443")
    visitor.get("/?token=secret")
    assert connects(visitor, origin="https://gpu.example.org:8443")
    assert visitor.post("/admission", headers={"origin": "https://gpu.example.org"}).status_code == 204
    assert not connects(visitor, origin="https://other.example.org")
    assert not connects(visitor, origin="https://gpu.example.org.evil.example")
    assert not connects(visitor, origin="null")
    assert not connects(visitor, origin="http://[")


def test_headers_that_anybody_can_send_open_nothing() -> None:
    forged = {"host": "evil.example", "x-forwarded-host": "127.0.0.1", "forwarded": "host=localhost"}
    assert client().get("/", headers=forged).status_code == 403
    assert not connects(
        client(), host="127.0.0.1", origin="http://evil.example", **{"x-forwarded-host": "evil.example"}
    )


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("/", "/user/jo/proxy/8501/"),
        ("/samples", "/user/jo/proxy/8501/samples"),
        ("/a/b:c", "/user/jo/proxy/8501/a/b:c"),
        ("/samples/", "/user/jo/proxy/8501/samples"),
    ],
)
def test_no_redirect_leaves_the_folder_in_which_a_proxy_shows_the_page(asked: str, seen: str) -> None:
    """The proxy takes its prefix off and tells nobody; the browser resolves what it gets against what it sees."""
    here = f"https://gpu.example.org/user/jo/proxy/8501{asked}"
    answer = client("secret").get(f"{asked}?token=secret&run=a")
    assert unquote(urlsplit(urljoin(here, answer.headers["location"])).path) == seen


def test_the_cookie_is_of_this_dashboard_alone_whatever_else_the_host_serves() -> None:
    first, other = (client(token, "http://testserver").get(f"/?token={token}") for token in ("one", "two"))
    names = [answer.headers["set-cookie"].partition("=")[0] for answer in (first, other)]
    assert names[0] != names[1]
    assert "path" not in first.headers["set-cookie"].lower(), "the browser then keeps it for the folder that it sees"


@pytest.mark.parametrize("path", ["/darkroom/", "/", "/darkroom/samples", "/samples", "/darkroom/_stcore/health"])
def test_a_base_path_is_taken_off_and_may_be_missing(path: str) -> None:
    assert client(base_path="/darkroom").get(path).text == "in"


def test_behind_a_base_path_everything_else_holds_as_before() -> None:
    visitor = client("secret", "http://testserver", base_path="/darkroom")
    assert visitor.get("/darkroom/samples").status_code == 401
    assert visitor.get("/darkroom?token=secret").headers["location"] == "./darkroom/?token=secret"
    assert visitor.get("/darkroom/?token=secret").headers["location"] == "./"
    with visitor.websocket_connect("/darkroom/_stcore/stream"):
        pass
    assert client(base_path="/darkroom").get("/darkroommate").text == "/darkroommate", "it only begins alike"


@pytest.mark.parametrize(("given", "kept"), [("darkroom/", "/darkroom"), ("/a//b", "/a/b"), ("", ""), ("/", "")])
def test_a_base_path_is_written_in_one_way(given: str, kept: str) -> None:
    assert access.path_prefix(given) == kept


@pytest.mark.parametrize("given", ["https://gpu.example.org", "gpu:8501", "*", "a/b", "", "a b"])
def test_a_trusted_host_is_a_mere_name(given: str) -> None:
    with pytest.raises(ValueError, match="is no host name"):
        access.host_names([given])
    assert access.host_names("GPU.example.org., ::1") == ("gpu.example.org", "::1")


def test_who_trusts_a_proxy_gets_a_token_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(access.VARIABLE, raising=False)
    assert access.token_for("127.0.0.1", ("gpu.example.org",), new_token)
    assert access.link("127.0.0.1", 80, "t", "/darkroom") == "http://127.0.0.1:80/darkroom/?token=t"
    assert access.link("127.0.0.1", 80, "", "/darkroom") == "http://127.0.0.1:80/darkroom/"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False)],
)
def test_only_a_loopback_address_needs_no_token(host: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(access.VARIABLE, raising=False)
    assert access.is_loopback(host) == expected
    assert (access.token_for(host, (), new_token) == "") == expected


def test_a_link_can_be_opened_whatever_was_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "box")
    assert access.link("0.0.0.0", 80, "a/b") == "http://box:80/?token=a/b"
    assert access.link("::1", 80, "") == "http://[::1]:80"
    monkeypatch.setenv(access.VARIABLE, "mine")
    assert access.token_for("127.0.0.1", (), new_token) == "mine"


PROTECTED = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "evil.example", "[bad"])
def test_no_foreign_page_may_frame_or_embed_any_answer(host: str) -> None:
    answer = client().get("/pictures/a.png", headers={"host": host})
    assert {name: answer.headers[name] for name in PROTECTED} == PROTECTED


def test_sites_that_are_named_may_frame_the_page() -> None:
    headers = Gate(page, access.Admission(frame_ancestors=("self", "https://gpu.example.org"))).headers  # type: ignore[arg-type]
    assert headers["Content-Security-Policy"] == "frame-ancestors 'self' https://gpu.example.org"
    assert "X-Frame-Options" not in headers, "it knows no list of sites"
    assert access.sites("'self', https://*.Example.org/") == ("self", "https://*.example.org")


@pytest.mark.parametrize("given", ["*", "gpu.example.org", "https://a/b", "https://a; script-src *", ""])
def test_a_site_that_may_frame_the_page_has_a_scheme_and_a_host(given: str) -> None:
    with pytest.raises(ValueError, match="is no site"):
        access.sites([given])


@pytest.mark.parametrize("host", ["[bad", "a b", "a/b", "host:port", "user@127.0.0.1"])
@pytest.mark.parametrize("token", ["", "secret"])
def test_what_is_no_host_name_is_a_bad_request_and_not_a_failure(host: str, token: str) -> None:
    assert client(token).get("/", headers={"host": host}).status_code == 400
    assert not connects(client(token), host=host)


def test_cookies_of_other_programs_on_the_host_lock_nobody_out() -> None:
    for others in ('theme={"dark": true}', "a b=c", "=", "x=[1,2"):
        cookies = f"{others}; {cookie_name('secret')}=secret"
        assert client("secret").get("/", headers={"cookie": cookies}).text == "in", others


async def after_the_browser_has_gone(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.receive_bytes()
    await websocket.receive_bytes()  # as Streamlit does: Starlette calls it an error


async def broken(_: WebSocket) -> None:
    raise RuntimeError("a real error")


def test_a_page_that_was_closed_is_no_error_and_a_real_error_is_one() -> None:
    routes = [
        WebSocketRoute("/gone", after_the_browser_has_gone),
        WebSocketRoute("/broken", broken),
    ]
    admission = access.Admission("", (), "")
    app = Starlette(routes=routes, middleware=[Middleware(Gate, admission=admission)])
    visitor = TestClient(app, base_url="http://127.0.0.1:8501")
    with visitor.websocket_connect("/gone", headers={"host": "localhost"}):
        pass
    with (
        pytest.raises(RuntimeError, match="a real error"),
        visitor.websocket_connect("/broken", headers={"host": "localhost"}),
    ):
        pass
