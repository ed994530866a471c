"""Compressed bodies, opened in bounded steps: the limit is on what comes out, so a bomb is refused at the limit.

One gzip member or one zstd frame to a body; anything after it is refused.
"""

from __future__ import annotations

import zlib

import zstandard

from towerlog.asgi.faults import Rejection
from towerlog.errors import Malformed, TooLarge

ENCODINGS = b"gzip, zstd"
MAX_RATIO = 400
"""A batch that repeats a long history in every checkpoint reaches a ratio of about two hundred."""
FREE_BYTES = 1024 * 1024
"""Up to here the ratio does not matter."""
_GZIP_STEP_BYTES = 64 * 1024
_ZSTD_STEP_BYTES = 512
"""Four bytes of zstd can mean 128 KiB, and its decoder cannot be told where to stop: it is fed this much at a time."""
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024


def inflate(body: bytes, encoding: bytes, largest: int) -> bytes:
    """The decoded body. Raises Malformed, TooLarge, or Rejection (415) for an encoding that is not known."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name in (b"gzip", b"x-gzip"):
        return _gunzip(body, _allowed(len(body), largest))
    if name == b"zstd":
        return _unzstd(body, _allowed(len(body), largest))
    accepted = ENCODINGS.decode("ascii")
    error = Malformed(f"This Content-Encoding is not known here; send one of: {accepted}.")
    raise Rejection(415, error, ((b"accept-encoding", ENCODINGS),))


def _allowed(given: int, largest: int) -> int:
    return min(largest, max(FREE_BYTES, given * MAX_RATIO))


def _gunzip(body: bytes, allowed: int) -> bytes:
    decoder = zlib.decompressobj(wbits=31)
    parts: list[bytes] = []
    total = 0
    rest = body
    try:
        while not decoder.eof:
            part = decoder.decompress(rest, _GZIP_STEP_BYTES)
            rest = decoder.unconsumed_tail
            if not part and not rest:
                break
            total = _add(parts, part, total, allowed)
    except zlib.error:
        raise Malformed("The body is not gzip, though its Content-Encoding says so.") from None
    return _whole(parts, decoder.eof, decoder.unused_data)


def _unzstd(body: bytes, allowed: int) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
    parts: list[bytes] = []
    total = at = 0
    try:
        while at < len(body) and not decoder.eof:
            part = decoder.decompress(body[at : at + _ZSTD_STEP_BYTES])
            total = _add(parts, part, total, allowed)
            at += _ZSTD_STEP_BYTES
    except zstandard.ZstdError:
        raise Malformed("The body is not zstd with a window of at most 8 MiB.") from None
    return _whole(parts, decoder.eof, decoder.unused_data + body[at:])


def _add(parts: list[bytes], part: bytes, total: int, allowed: int) -> int:
    total += len(part)
    if total > allowed:
        raise TooLarge("The body is larger than this server accepts when it is decompressed.")
    parts.append(part)
    return total


def _whole(parts: list[bytes], ended: bool, after: bytes) -> bytes:
    if not ended:
        raise Malformed("The compressed body ends too early.")
    if after:
        raise Malformed("The compressed body has something after its end.")
    return b"".join(parts)
