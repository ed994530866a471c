"""Compressed bodies, opened in bounded steps: the limit is on what comes out, so a bomb is refused at the limit.

A body may have several gzip members or zstd frames, as programs write that append; anything else after one is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

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
MAX_MEMBERS = 1024
"""Of gzip members, or zstd frames, in one body: programs that pack blocks by themselves make one of each 64 KiB."""
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


class _Allowed(NamedTuple):
    """How much may come out, and what is said where more does."""

    size: int
    refusal: str


def _allowed(given: int, largest: int) -> _Allowed:
    by_ratio = max(FREE_BYTES, given * MAX_RATIO)
    if by_ratio < largest:
        return _Allowed(by_ratio, f"The body becomes more than {MAX_RATIO} times as large when it is decompressed.")
    return _Allowed(largest, "The body is larger than this server accepts when it is decompressed.")


def _gunzip(body: bytes, allowed: _Allowed) -> bytes:
    return _opened(body, allowed, lambda: _Member(zlib.decompressobj(wbits=31)), _GZIP_STEP_BYTES)


def _unzstd(body: bytes, allowed: _Allowed) -> bytes:
    zstd = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    return _opened(body, allowed, lambda: _Frame(zstd.decompressobj()), _ZSTD_STEP_BYTES)


class _Member(NamedTuple):
    """A gzip member that is being opened."""

    decoder: Any

    def take(self, fed: memoryview) -> tuple[bytes, int, bool]:
        """What came out, how many bytes are left of those that it was fed, and whether it has ended."""
        try:
            part = self.decoder.decompress(fed, _GZIP_STEP_BYTES)
        except zlib.error:
            raise Malformed("The body is not gzip, though its Content-Encoding says so.") from None
        ended = self.decoder.eof
        return part, len(self.decoder.unused_data if ended else self.decoder.unconsumed_tail), ended


class _Frame(NamedTuple):
    """A zstd frame that is being opened."""

    decoder: Any

    def take(self, fed: memoryview) -> tuple[bytes, int, bool]:
        """The same of a frame, which takes all that it is fed until it ends."""
        try:
            part = self.decoder.decompress(fed)
        except zstandard.ZstdError:
            raise Malformed("The body is not zstd with a window of at most 8 MiB.") from None
        return part, len(self.decoder.unused_data), self.decoder.eof


def _opened(body: bytes, allowed: _Allowed, begin: Callable[[], _Member | _Frame], step: int) -> bytes:
    """The content of all members, or frames, one after the other."""
    view, at, total, count = memoryview(body), 0, 0, 1
    parts: list[bytes] = []
    opening = begin()
    while True:
        fed = view[at : at + step]
        part, left, ended = opening.take(fed)
        total = _add(parts, part, total, allowed)
        at += len(fed) - left
        if ended and at == len(body):
            return b"".join(parts)
        if ended:
            count += 1
            if count > MAX_MEMBERS:
                raise TooLarge(f"The compressed body has more than {MAX_MEMBERS} parts.")
            opening = begin()
        elif not part and not fed:
            raise Malformed("The compressed body ends too early.")


def _add(parts: list[bytes], part: bytes, total: int, allowed: _Allowed) -> int:
    total += len(part)
    if total > allowed.size:
        raise TooLarge(allowed.refusal)
    parts.append(part)
    return total
