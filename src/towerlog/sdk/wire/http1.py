"""HTTP/1.1 without I/O: requests as bytes, the heads of replies, and failures in words.

Shared by the asyncio client and the blocking one.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from towerlog.sdk.wire.address import Address, checked_path, request_headers

MAX_HEAD_BYTES = 65_536
"""Largest head of a reply; also the longest line between the pieces of a body."""
SAFE_METHODS = frozenset({"GET", "HEAD"})
"""They change nothing, so that a request which may have been seen can be sent again."""
MAX_NUMBER_DIGITS = 15
"""Digits of a length: more than any body has."""
HEX_DIGITS = b"0123456789abcdefABCDEF"
CLOSED = "closed by its user"


@dataclass(frozen=True)
class Head:
    """A reply's first lines, and what they say about its body."""

    status: int
    headers: dict[str, str]
    will_close: bool
    chunked: bool
    length: int | None
    """None: to the end of the connection."""


def request_message(
    address: Address, api_key: str | None, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
) -> bytes:
    """A request as it is sent. Raises ValueError for a path or a header that cannot be sent as it is."""
    given = request_headers(address, api_key, headers)
    if body is not None or method in ("POST", "PUT", "PATCH"):
        given["Content-Length"] = str(len(body or b""))
    lines = [f"{method} {checked_path(address, path)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in given.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


def read_head(block: bytes, method: str) -> Head:
    """The head in a block of lines that ends with an empty one. Raises ValueError for what is not HTTP."""
    first, *lines = block[:-4].decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("not HTTP")
    status = _digits(rest[:3])
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    connection = headers.get("connection", "").lower()
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    length: int | None = _digits(headers["content-length"]) if "content-length" in headers and not chunked else None
    if method == "HEAD" or status in (204, 304):
        chunked, length = False, 0
    will_close = "close" in connection or (length is None and not chunked)
    if version == "HTTP/1.0" and "keep-alive" not in connection:
        will_close = True
    return Head(status, headers, will_close, chunked, length)


def chunk_bytes(line: bytes) -> int:
    """The size of a chunk, from the line before it. Raises ValueError."""
    text = line.partition(b";")[0].strip()
    # Python's own reading of numbers takes signs, underscores and prefixes.
    if not text or len(text) > MAX_NUMBER_DIGITS or text.translate(None, HEX_DIGITS):
        raise ValueError("not the size of a chunk")
    return int(text, 16)


def _digits(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > MAX_NUMBER_DIGITS:
        raise ValueError("not a number")
    return int(text)


def words_of(error: Exception) -> str:
    """What went wrong, in a line without anything that was sent."""
    if isinstance(error, TimeoutError):
        return "the server took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "this server does not speak TLS; try http:// instead of https://"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, EOFError):
        return "the server closed the connection"
    return f"the reply is not HTTP ({type(error).__name__})"
