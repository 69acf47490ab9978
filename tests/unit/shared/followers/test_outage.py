"""What a person reads of a tracker that fails: a sentence with a cure, whatever the library says."""

from __future__ import annotations

import errno

import pytest

from shared.followers.outage import told

NOTHING_LOST = "it is tried again, and nothing is lost"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "API request to http://me:secret@127.0.0.1:5000/api/2.0/mlflow/experiments/get-by-name failed with "
            "exception HTTPConnectionPool(host='127.0.0.1', port=5000): Max retries exceeded with url: /api "
            "(Caused by NewConnectionError('<urllib3.connection.HTTPConnection object at 0x7f>: Failed to "
            "establish a new connection: [Errno 111] Connection refused'))",
            f"http://127.0.0.1:5000 cannot be reached; start it or check its address: {NOTHING_LOST}",
        ),
        (
            "HTTPConnectionPool(host='tracker', port=80): Max retries exceeded with url: /",
            f"tracker:80 cannot be reached; start it or check its address: {NOTHING_LOST}",
        ),
        (
            'while retrying: Post "http://127.0.0.1:9/graphql": dial tcp 127.0.0.1:9: connect: connection refused',
            f"http://127.0.0.1:9 cannot be reached; start it or check its address: {NOTHING_LOST}",
        ),
        (
            "sqlite3.OperationalError: database or disk is full",
            "the disk of toy is full; free some space: it is tried again, and what is missing comes then",
        ),
        (
            "returned error 403: no such project",
            f"the server of toy refuses this user; check the token: {NOTHING_LOST}",
        ),
        (
            "context deadline exceeded while retrying: HTTP 500: no",
            f"the server of toy fails by itself (HTTP 500); look at its log: {NOTHING_LOST}",
        ),
        (
            "HTTPConnectionPool(host='tracker', port=80): Max retries exceeded with url: / (Caused by "
            "ResponseError('too many 503 error responses'))",
            f"tracker:80 fails by itself (HTTP 503); look at its log: {NOTHING_LOST}",
        ),
        ("column 401a is\n   unknown", "column 401a is unknown"),
    ],
)
def test_an_error_becomes_a_sentence(text: str, sentence: str) -> None:
    assert told("toy", RuntimeError(text)) == sentence


def test_what_lies_behind_an_error_counts() -> None:
    outer = RuntimeError("the call failed")
    outer.__cause__ = OSError(errno.ENOSPC, "No space left on device", "runs/a/events")
    assert told("toy", outer).startswith("the disk of runs/a/events is full; free some space")
    assert told("toy", ConnectionResetError()).startswith("the server of toy cannot be reached")
    denied = PermissionError(errno.EACCES, "Permission denied", "runs/a")
    assert told("toy", denied) == "runs/a may not be written; give yourself the right to: it is tried again"


def test_a_long_error_is_cut_and_one_without_words_is_named() -> None:
    assert len(told("toy", RuntimeError("long " * 200))) < 310
    assert told("toy", ValueError()) == "ValueError"
