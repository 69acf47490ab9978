"""The dashboard's routes against the running server, asked by somebody who means harm: paths, methods, Host, Origin,
token, ways out, huge bodies. Always an answer, never a defect's, nothing from outside, nothing written."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from hypothesis import strategies as st

from tests.browser.conftest import address_of, is_healthy, serve
from tests.properties import EXAMPLES, holds

SECRET = b"only-outside-the-runs-folder"
ODD = 'ö "run" 漢'
"""A folder that somebody has renamed."""
ROUTES = [
    "screen/{}.json",
    "snapshots/{}.json",
    "versions/{}.json",
    "machine/{}.json",
    "log/{}/trainer.json",
    "report/{}.html",
    "drawn/{}/50.json",
    "figures/{}/training-first.json",
    "figures/{}/quality-first.json",
    "figures/{}/system-1.json",
    "figures/{}/system-" + "9" * 200 + ".json",
    "figures/{}/compare.json",
    "figures/{}/frontier.json",
    "figures/{}/sweep-trials.json",
    "data/{}.json",
    "data/{}/changes.json",
    "data/{}/replaced.json",
    "ballot/{}.json",
    "votes/{}.json",
    "pictures/{}/references/kimono/crimson-0.png",
    "adapters/{}/snapshots/step-00000050/pytorch_lora_weights.safetensors",
    "runs.json",
    "cards.json",
    "overview",
    "samples",
    "scripts/x/early.js",
    "_stcore/health",
    "_stcore/host-config",
    "admission",
]
OUT = [
    "../secret.txt",
    "..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "done/../../secret.txt",
    "done/%2e%2e%2f%2e%2e%2fsecret.txt",
]
OUT += [
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "..\\secret.txt",
    "%5c%5chost%5cshare",
    "done%00",
    "away/secret.txt",
]
NAMES = ["done", quote(ODD), "", ".", "..", "absent", "%ff", "%00", "x" * 300, "%F0%9F%98%80", *OUT]
VALUES = [
    "",
    "0",
    "-1",
    "50",
    "9" * 400,
    "nan",
    "1e9",
    "%00",
    "%ff",
    "<script>",
    "../..",
    "Europe/Berlin",
    "x,y,z",
    "٣",
]
KEYS = ["left", "right", "step", "zone", "parts", "count", "wanted", "level", "start", "lang", "small", "page", "only"]
KEYS += ["find", "axis", "smoothing", "order", "filter", "x", "token", "seen", "voter", "run", "low", "high", "scales"]
KEYS += ["over", "with", "of", "how", "replace", "split", "sort"]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: bytes
    body: bytes


def ask(process: subprocess.Popen[bytes], data: bytes, seconds: float = 60.0) -> Answer | None:
    """Raw bytes to the server; None: it closed the connection without a word, as it may after what is no HTTP."""
    received = b""
    with socket.create_connection(("127.0.0.1", int(address_of(process).rpartition(":")[2])), seconds) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(1 << 16):
                received += block
    match = re.match(rb"HTTP/1\.1 (\d{3})", received)
    if match is None:
        assert received == b""
        return None
    head, _, body = received.partition(b"\r\n\r\n")
    return Answer(int(match[1]), head.lower(), body)


def request(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    fields = {"Host": "127.0.0.1", "Connection": "close", **headers}
    if body or method in ("POST", "PUT", "PATCH"):
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} /{target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1", errors="replace") + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def hostile(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "runs"
    shutil.copytree(runs / "done", folder / "done")
    shutil.copytree(runs / "done", folder / ODD)
    (folder.parent / "secret.txt").write_bytes(SECRET)
    (folder / "away").symlink_to(folder.parent)
    return folder


@pytest.fixture(scope="module")
def asked(hostile: Path) -> Iterator[subprocess.Popen[bytes]]:
    with serve(hostile) as process:
        yield process


@pytest.mark.parametrize("name", ["x" * 300, "%00", "..", quote("../../other/secret-run", safe=""), "absent"])
def test_a_run_to_compare_with_is_a_name_and_no_path(asked: subprocess.Popen[bytes], hostile: Path, name: str) -> None:
    shutil.copytree(hostile / "done", hostile.parent / "other" / "secret-run", dirs_exist_ok=True)
    answer = ask(asked, request("GET", f"figures/done/compare.json?with={name}", {}))
    assert answer
    assert answer.status == 404
    assert b"secret-run" not in answer.body


def written(folder: Path) -> dict[str, int]:
    """The files that make up the runs, by their times; locks are no content."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files if ".cache" not in path.parts}


PATHS = st.builds(
    lambda route, name, query: (
        route.format(name) + ("?" + "&".join(f"{key}={value}" for key, value in query) if query else "")
    ),
    st.sampled_from(ROUTES),
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=3),
)
ANY_PATH = st.one_of(
    PATHS,
    st.sampled_from(["pictures/", "adapters/", "data/done/", ""]).flatmap(
        lambda start: st.sampled_from(OUT).map(lambda end: start + end)
    ),
    st.text("abc/.%0205\\~;:@?&=#[]{}|", max_size=30),
)


@EXAMPLES
def test_every_question_is_answered_and_nothing_from_outside_is_shown(
    examples: int, asked: subprocess.Popen[bytes], hostile: Path
) -> None:
    before, grown = written(hostile), psutil.Process(asked.pid).memory_info().rss

    def check(method: str, path: str, headers: dict[str, str]) -> None:
        answer = ask(asked, request(method, path.replace(" ", "%20"), headers))
        if answer is None:
            return
        assert answer.status < 500, answer.body[:300]
        assert SECRET not in answer.body
        assert b"root:" not in answer.body
        if answer.status == 200:
            assert b"x-content-type-options: nosniff" in answer.headers

    methods = st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "TRACE", "X" * 30])
    extra = {
        "Accept": ["text/html", "*/*"],
        "Accept-Language": ["zh-TW", "x" * 500, ";;q=9"],
        "Cookie": ["a=b; =;", "\xff" * 40],
    }
    extra |= {"If-None-Match": ["*", '"x"'], "Range": ["bytes=0-", "bytes=9-1", "bytes=-99999999999999999999", "x=1"]}
    extra |= {
        "Accept-Encoding": ["gzip", "br;q=x"],
        "Content-Length": ["0"],
        "Origin": ["null", "https://evil.example"],
    }
    one = st.sampled_from(sorted(extra)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(extra[name])))
    holds(check, 3 * examples, methods, ANY_PATH, st.lists(one, max_size=3).map(dict))
    assert written(hostile) == before
    assert is_healthy(address_of(asked))
    assert psutil.Process(asked.pid).memory_info().rss - grown < 400 << 20


@EXAMPLES
def test_bytes_that_are_no_request_are_refused(examples: int, asked: subprocess.Popen[bytes]) -> None:
    def check(data: bytes) -> None:
        answer = ask(asked, data + b"\r\n\r\n")
        assert answer is None or answer.status < 500

    start = st.sampled_from([b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n", b"GET ", b"\x16\x03\x01"])
    holds(check, examples, st.builds(lambda one, other: one + other, start, st.binary(max_size=60)))
    assert is_healthy(address_of(asked))


@EXAMPLES
def test_what_other_sites_and_programs_post_changes_nothing(
    examples: int, asked: subprocess.Popen[bytes], hostile: Path
) -> None:
    before = written(hostile)

    def check(path: str, origin: str | None, kind: str, body: bytes) -> None:
        headers = {"Content-Type": kind, **({"Origin": origin} if origin else {})}
        answer = ask(asked, request("POST", path, headers, body))
        assert answer
        assert 400 <= answer.status < 500, answer.body[:300]

    bodies = st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"{}", b"[]", b"null", b'{"do": "stop"}', b"[" * 50_000, b'{"a": NaN}', b'{"step": 1e999}']),
        st.just(b'{"id": "\\ud800", "voter": "../x", "answer": "left", "left": -1, "right": 1e400, "step": true}'),
    )
    origins = st.sampled_from(
        [None, "https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1.evil.example"]
    )
    kinds = st.sampled_from(["application/json", "text/plain", "multipart/form-data", "application/json; x", ""])
    holds(check, examples, st.sampled_from(post_paths()), origins, kinds, bodies)
    assert written(hostile) == before


def post_paths() -> list[str]:
    """Of every route that takes a POST, for a run that is there."""
    from dashboard.server.posts import captions, control, run_notes, votes  # noqa: PLC0415

    routes = [*captions.caption_routes(), *control.control_routes(), *run_notes.run_note_routes(), *votes.vote_routes()]
    found = [
        route.path.format(run="done", kind="stop", what="stop") for route in routes if "POST" in (route.methods or ())
    ]
    assert len(found) >= 4
    return [path.lstrip("/") for path in found]


def peak_mib(pid: int) -> float:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says the peak")
def test_a_huge_body_is_refused_before_it_is_in_memory(asked: subprocess.Popen[bytes]) -> None:
    """Its length is said, or it comes in chunks without an end; either stops early."""
    before, path = peak_mib(asked.pid), post_paths()[0]
    headers = {"Content-Type": "application/json"}
    said = request("POST", path, {**headers, "Content-Length": str(256 << 20)}, b" " * (256 << 20))
    answer = ask(asked, said)
    assert answer is None or answer.status in (400, 413)
    chunks = request("POST", path, {**headers, "Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
    answer = ask(asked, chunks + (b"100000\r\n" + b" " * (1 << 20) + b"\r\n") * 200 + b"0\r\n\r\n")
    assert answer is None or answer.status in (400, 413)
    assert peak_mib(asked.pid) - before < 64
    assert is_healthy(address_of(asked))


@EXAMPLES
def test_without_the_token_nobody_learns_anything(examples: int, hostile: Path) -> None:
    hosts = [
        "127.0.0.1",
        "localhost",
        "evil.example",
        "dash.example",
        "[::1]:8501",
        "127.0.0.1@evil.example",
        "a b",
        "x" * 500,
        "",
    ]
    tokens = ["", "t" * 31, "t" * 33, "T" * 32, "%00", "%ff" * 32, "é" * 32]
    with serve(hostile, trusted_hosts=("dash.example",)) as process:

        def check(path: str, host: str, token: str, cookie: str) -> None:
            target = path.replace(" ", "%20") + (f"{'&' if '?' in path else '?'}token={token}" if token else "")
            answer = ask(process, request("GET", target, {"Host": host, "Cookie": cookie}))
            if answer is None or path.partition("?")[0].strip("/") == "_stcore/health":
                return
            assert answer.status in (303, 307, 400, 401, 403, 404, 405, 414, 431), answer.body[:200]
            assert b"set-cookie" not in answer.headers

        cookies = st.sampled_from(["", "darkroom_000000000000=x", "darkroom_=", "a=b"])
        holds(check, 2 * examples, ANY_PATH, st.sampled_from(hosts), st.sampled_from(tokens), cookies)
        assert is_healthy(address_of(process))
