"""What is wrong with the head of a request, beyond what the parser finds, and what its target is.

The parser settles framing by itself. What it lets pass and two servers on one way could understand differently is
refused here: RFC 9112 (3.2 and 6.1) asks for it, and every such difference is a way to smuggle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 128
MAX_DECODED_BYTES = 16 * 1024
"""Of a path. A longer one leads nowhere, whatever its escapes stand for."""
MAX_PARTS = 1000
"""Parts of all headers together, between commas and semicolons: cookies, tags, hops. Each of them may be looked at."""
PLAIN_HEAD_BYTES = 2048
"""A head that is no longer has no more parts than may be looked at in passing."""
END = b"\r\n\r\n"
"""The end of a head: of its last line, and the empty one."""
TOO_LARGE = "The request's head is too large."
TOO_MANY = f"The request has more than {MAX_HEADERS} headers."
TOO_MANY_TRAILERS = f"The request has more than {MAX_HEADERS} trailers."
TOO_MANY_PARTS = f"The request's headers have more than {MAX_PARTS} parts between commas and semicolons."
SINGLE = frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"content-type", b"host", b"idempotency-key",
        b"last-event-id", b"origin", b"sec-websocket-key", b"sec-websocket-version", b"transfer-encoding", b"x-api-key",
    }
)  # fmt: skip
"""Headers that may come once only: of two values, another server might believe the other one."""
PLAIN_TARGET = re.compile(rb"/[!\"$&-~]*").fullmatch
"""Finds a target that needs no closer look: a path, and its query, without escapes or a fragment."""
_VERSIONS = frozenset({"1.0", "1.1"})
_SCHEMES = (b"http://", b"https://")


class BadHead(Exception):
    """What is wrong with a head."""


def examined(version: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> tuple[str, bytes, bytes]:
    """(path, path as it was sent, query) of a request whose head is good. Names of headers are in lower case.

    Raises BadHead.
    """
    fault = _fault_of(version, target, headers)
    if fault is not None:
        raise BadHead(fault)
    return _split(target, dict(headers))


def without_upgrade(method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A head as it would be without the wish to go on in another protocol. Names of headers are in lower case."""
    lines = [b"%s: %s\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"".join((b"%s %s HTTP/%s\r\n" % (method, target, version.encode()), *lines, b"\r\n"))


def asks_for_websocket(method: bytes, given: Mapping[bytes, bytes]) -> bool:
    """Whether a request is one that a WebSocket begins with (RFC 6455, 4.1): a GET without a body."""
    has_body = given.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in given
    return method == b"GET" and not has_body and given[b"upgrade"].lower() == b"websocket"


def _fault_of(version: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    if len(target) + sum(len(name) + len(value) + len(b": \r\n") for name, value in headers) > MAX_HEAD_BYTES:
        return TOO_LARGE
    if sum(value.count(b",") + value.count(b";") for _, value in headers) > MAX_PARTS:
        return TOO_MANY_PARTS
    if version not in _VERSIONS:
        return "Only HTTP/1.0 and HTTP/1.1 are spoken here."
    seen: set[bytes] = set()
    for name, value in headers:
        if name in SINGLE:
            if name in seen:
                return f"The header {name.decode('ascii')} was sent twice."
            seen.add(name)
        if name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
            return "The only transfer coding that is known here is chunked, and only in HTTP/1.1."
    if version == "1.1" and b"host" not in seen:
        return "A request of HTTP/1.1 names its Host."
    return None


def _split(target: bytes, headers: Mapping[bytes, bytes]) -> tuple[str, bytes, bytes]:
    if target[:1] != b"/":
        target = _origin_form(target, headers)
    if not target or b"#" in target or not target.isascii():
        raise BadHead("The request target is not valid on this server.")
    raw_path, _, query = target.partition(b"?")
    path = raw_path.decode("ascii")
    return unquote(path) if "%" in path and len(path) <= MAX_DECODED_BYTES else path, raw_path, query


def _origin_form(target: bytes, headers: Mapping[bytes, bytes]) -> bytes:
    """Of an absolute target whose host is the one in the header; empty for any other."""
    for scheme in _SCHEMES:
        if target[: len(scheme)].lower() == scheme:
            authority, slash, rest = target[len(scheme) :].partition(b"/")
            if authority and authority.lower() == headers.get(b"host", b"").lower():
                return slash + rest if slash else b"/"
    return b""
