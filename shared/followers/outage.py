"""An error of a tracker's library as one sentence with a cure: libraries tell each object on the way to a socket."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

MAX_TEXT = 300
"""Letters of an error that nothing is known of."""
UNREACHABLE = re.compile(
    r"max retries exceeded|connection (?:refused|reset|aborted|error|timed out)|failed to establish|timed? ?out|"
    r"name or service not known|name resolution|getaddrinfo|nodename nor servname|network is unreachable|"
    r"no route to host|remote end closed|all connection attempts failed|cannot connect|server disconnected",
    re.IGNORECASE,
)
FULL = re.compile(r"no space left|disk (?:is )?full|database or disk is full|disk quota|disk i/o error", re.IGNORECASE)
REFUSED = re.compile(r"\b(?:401|403)\b|unauthori[sz]ed|forbidden|permission[_ ]denied|invalid (?:api key|token)", re.I)
TROUBLE = re.compile(r"\b(?:HTTP|status(?: code)?|error code|server error:?|too many) (5\d\d)\b", re.IGNORECASE)
ADDRESS = re.compile(r"\b(?:https?|aim)://[^\s'\"<>)/]+")
HOST = re.compile(r"host='([^']+)', port=(\d+)")
NUMBERS_FULL = (errno.ENOSPC, errno.EDQUOT)


def told(name: str, error: BaseException) -> str:
    """What a person reads of it, in the notices of a run and in the terminal. name: the tracker's."""
    whole = [*_chain(error)]
    text = " ".join(" ".join(str(one) or type(one).__name__ for one in whole).split())
    place = _address(text)
    server = place or f"the server of {name}"
    if any(isinstance(one, OSError) and one.errno in NUMBERS_FULL for one in whole) or FULL.search(text):
        own = next((one.filename for one in whole if isinstance(one, OSError) and one.filename), "")
        where = f"the disk of {own or place or name} is full"
        return f"{where}; free some space: it is tried again, and what is missing comes then"
    if trouble := TROUBLE.search(text):  # before "max retries exceeded", which clients say of these, too
        return f"{server} fails by itself (HTTP {trouble[1]}); look at its log: it is tried again, and nothing is lost"
    if any(isinstance(one, ConnectionError | TimeoutError) for one in whole) or UNREACHABLE.search(text):
        return f"{server} cannot be reached; start it or check its address: it is tried again, and nothing is lost"
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename} may not be written; give yourself the right to: it is tried again"
    if is_refusal(error):
        return f"{server} refuses this user; check the token: it is tried again, and nothing is lost"
    first = " ".join((str(error) or type(error).__name__).split())
    return first if len(first) <= MAX_TEXT else f"{first[:MAX_TEXT]} …"


def is_refusal(error: BaseException) -> bool:
    """Whether a server does not let this user in."""
    return any(REFUSED.search(str(one)) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _address(text: str) -> str:
    """The server that an error names, without user and password; empty where it names none."""
    if found := ADDRESS.search(text):
        scheme, _, rest = found[0].partition("://")
        return f"{scheme}://{rest.rpartition('@')[2].rstrip('.,;:')}"
    host = HOST.search(text)
    return f"{host[1]}:{host[2]}" if host else ""
