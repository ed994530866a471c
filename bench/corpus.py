"""The bytes that are sent: owns text to fill events with, raw requests, and the corpus files of the load generator.

Pure but for `write`: the same numbers give the same bytes, so that two rounds carry the same work.
"""

import json
import random
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# What stands in an event where text is to be filled in; no other text of ours contains it.
FILL = "@@FILL@@"
POOL_CHARACTERS = 1 << 16
POOL_STRIDE = 61


def _make_pool() -> str:
    """Words that compress about as well as prose: small letters and spaces, nothing that JSON has to escape."""
    chance = random.Random(20260101)
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgkq", k=chance.randint(2, 9))) for _ in range(2000)]
    text = ""
    while len(text) < 2 * POOL_CHARACTERS:
        text += " ".join(chance.choices(words, k=1000)) + " "
    return text


_POOL = _make_pool()


def prose(number: int, length: int) -> str:
    """Text of this length; another number gives another text. A length beyond the pool repeats it."""
    start = (number * POOL_STRIDE) % POOL_CHARACTERS
    text = f"{number} " + _POOL[start : start + length]
    while len(text) < length:
        text += _POOL[: length - len(text)]
    return text[:length]


def compact(value: Any) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def padded(value: Any, number: int, size: int) -> bytes:
    """`value` as JSON of exactly `size` bytes; its FILL gives way to prose of the length that is missing."""
    raw = compact(value)
    room = size - len(raw) + len(FILL)
    if room < 0:
        raise ValueError(f"{len(raw) - len(FILL)} bytes do not fit into {size}")
    return raw.replace(FILL.encode(), prose(number, room).encode(), 1)


def post(path: str, body: bytes, key: str) -> bytes:
    """A complete POST of JSON, head and body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def record(request: bytes) -> bytes:
    """One record of a corpus: the length, little-endian in four bytes, then the request."""
    return struct.pack("<I", len(request)) + request


def records(content: bytes) -> list[bytes]:
    """The requests in a corpus, the inverse of joining records."""
    found, offset = [], 0
    while offset < len(content):
        (length,) = struct.unpack_from("<I", content, offset)
        found.append(content[offset + 4 : offset + 4 + length])
        offset += 4 + length
    return found


def write(path: Path, requests: Iterable[bytes]) -> int:
    """Write a corpus file; the number of its requests."""
    count = 0
    with path.open("wb") as corpus:
        for request in requests:
            corpus.write(record(request))
            count += 1
    return count
