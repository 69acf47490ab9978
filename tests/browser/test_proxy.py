"""The page behind a proxy that puts its own Host into requests, as nginx does unless told otherwise.

It removes its path, as jupyter-server-proxy and code-server's /proxy/ do, or keeps it, as /absproxy/ does.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import STATUS, address_of, serve

pytestmark = pytest.mark.browser

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def read_head(visitor: socket.socket) -> bytes:
    """A request up to its body, perhaps with the beginning of it; cut off where the visitor has gone."""
    request = b""
    while b"\r\n\r\n" not in request and (data := visitor.recv(65536)):
        request += data
    return request


@contextmanager
def proxy(target: subprocess.Popen[bytes], prefix: str = "", *, keeps: bool = False) -> Generator[str]:
    """Its address; it passes on what lies below `prefix`, with another Host, one request a connection.

    keeps: the prefix too. What lies elsewhere is answered with 404, as by another program behind the same proxy.
    """
    port = int(address_of(target).rpartition(":")[2])
    listening = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve_one(visitor: socket.socket) -> None:
        head, _, body = read_head(visitor).partition(b"\r\n\r\n")
        if f" {prefix}/".encode() not in head.partition(b"\r\n")[0]:
            visitor.sendall(NOT_FOUND)
            visitor.close()
            return
        head = head if keeps else head.replace(f" {prefix}/".encode(), b" /", 1)
        head = re.sub(rb"(?im)^host:.*$", b"Host: 127.0.0.1:%d\r" % port, head)
        if b"upgrade: websocket" not in head.lower():
            head = re.sub(rb"(?im)^connection:.*$", b"Connection: close\r", head)
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(head.replace(b"\r\r", b"\r") + b"\r\n\r\n" + body)
            threading.Thread(target=pass_on, args=(visitor, server), daemon=True).start()
            pass_on(server, visitor)

    def accept() -> None:
        with suppress(OSError):
            while True:
                visitor, _ = listening.accept()
                threading.Thread(target=serve_one, args=(visitor,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://localhost:{listening.getsockname()[1]}{prefix}"
    finally:
        listening.close()


def test_a_page_whose_websocket_is_refused_says_what_allows_it(
    browser: Browser, server: subprocess.Popen[bytes]
) -> None:
    with proxy(server) as address:
        page = browser.new_page()
        page.goto(f"{address}/?run=done", timeout=60_000)
        page.locator("#refused").wait_for(timeout=60_000)
        assert "--trusted-host localhost" in page.inner_text("body")
        page.close()


@pytest.mark.parametrize("keeps", [False, True], ids=["removes its path", "keeps its path"])
def test_behind_a_proxy_that_is_trusted_the_page_lives_in_its_folder(browser: Browser, runs: Path, keeps: bool) -> None:
    """Page, pictures, data, scripts and WebSocket; nothing is asked for outside the folder."""
    prefix = "/jo/8501"
    base_path = prefix if keeps else ""
    with (
        serve(runs, trusted_hosts=("localhost",), base_path=base_path, DARKROOM_TOKEN="secret") as server,
        proxy(server, prefix, keeps=keeps) as address,
    ):
        context = browser.new_context()
        page = context.new_page()
        asked, sockets = list[str](), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: sockets.append(socket.url))
        with page.expect_response(re.compile(r"/jo/8501/pictures/.*\.png"), timeout=60_000) as picture:
            page.goto(f"{address}/samples?run=done&token=secret", timeout=60_000)
        assert picture.value.status == 200
        page.locator(STATUS).wait_for(timeout=60_000)
        assert re.fullmatch(r"http://localhost:\d+/jo/8501/pictures\?run=done.*", page.url)
        assert [re.sub(r"\d{4,5}", "PORT", url, count=1) for url in sockets[:1]] == [
            f"ws://localhost:PORT{prefix}/_stcore/stream"
        ]
        page.locator(".darkroom-bar").get_by_text("Snapshots", exact=True).click()
        page.wait_for_url(re.compile(r".*/jo/8501/snapshots\?run=done"), timeout=60_000)
        page.reload()
        page.locator(STATUS).wait_for(timeout=60_000)
        with page.expect_response(re.compile(r"/jo/8501/screen/done\.json"), timeout=60_000):
            page.goto(f"{address}/?run=done")
        assert [url for url in asked if url.startswith("http") and f"{prefix}" not in url] == []
        context.close()
