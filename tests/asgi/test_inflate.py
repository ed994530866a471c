"""Compressed bodies: what is whole comes out, what is cut, doubled, unknown or a bomb is refused early."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard

from towerlog.asgi.faults import Rejection
from towerlog.asgi.inflate import MAX_MEMBERS, inflate
from towerlog.errors import Malformed, TooLarge

LIMIT = 16 * 2**20
ENCODERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"zstd": zstandard.ZstdCompressor().compress,
}
encodings = pytest.mark.parametrize("name", ENCODERS, ids=lambda name: name.decode())


@encodings
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_000])
def test_what_goes_in_comes_out(name: bytes, size: int) -> None:
    body = b",".join(b"%d" % n for n in range(size // 4 + 1))[:size]
    assert inflate(ENCODERS[name](body), name.upper(), LIMIT) == body


@encodings
def test_what_is_not_compressible_comes_out_too(name: bytes) -> None:
    body = bytes((n * n * 31 + n // 7) % 256 for n in range(400_000))
    assert inflate(ENCODERS[name](body), name, LIMIT) == body


def test_identity_is_nothing() -> None:
    assert inflate(b"{}", b"identity", LIMIT) == b"{}"


@encodings
def test_a_bomb_dies_before_it_swells(name: bytes) -> None:
    bomb = ENCODERS[name](b" " * (200 * 2**20))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        inflate(bomb, name, LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 2**20


@encodings
def test_the_limit_is_on_what_comes_out(name: bytes) -> None:
    body = bytes((n * n * 31 + n // 7) % 251 for n in range(100_000))
    packed = ENCODERS[name](body)
    assert inflate(packed, name, len(body)) == body
    with pytest.raises(TooLarge, match="larger than this server accepts"):
        inflate(packed, name, len(body) - 1)


@encodings
def test_the_ratio_has_a_bound_where_the_body_is_large(name: bytes) -> None:
    assert len(inflate(ENCODERS[name](b"x" * 1_000_000), name, LIMIT)) == 1_000_000
    with pytest.raises(TooLarge, match="more than 400 times as large"):
        inflate(ENCODERS[name](b"x" * 4_000_000), name, LIMIT)


@encodings
def test_what_is_cut_or_broken_or_followed_by_more_is_refused(name: bytes) -> None:
    whole = ENCODERS[name](b'{"a": 1}' * 500)
    for body in (b"not at all", whole[:-1], whole[: len(whole) // 2], whole + whole[:-1], whole + b"x", whole[1:]):
        with pytest.raises(Malformed):
            inflate(body, name, LIMIT)


@encodings
@pytest.mark.parametrize("count", [2, 3, MAX_MEMBERS])
def test_parts_that_follow_each_other_are_one_body(name: bytes, count: int) -> None:
    parts = [b"%d," % n * (n % 700) for n in range(count)]
    packed = b"".join(map(ENCODERS[name], parts))
    assert inflate(packed, name, LIMIT) == b"".join(parts)
    with pytest.raises((Malformed, TooLarge)):
        inflate(packed + b"{}", name, LIMIT)
    with pytest.raises(TooLarge):
        inflate(packed, name, len(b"".join(parts)) - 1)


@encodings
def test_more_parts_than_anybody_needs_are_refused(name: bytes) -> None:
    with pytest.raises(TooLarge):
        inflate(ENCODERS[name](b"") * (MAX_MEMBERS + 1), name, LIMIT)


@pytest.mark.parametrize("name", [b"br", b"deflate", b"gzip, gzip", b"utf-8", b"\xff"])
def test_an_unknown_encoding_is_a_415_that_names_the_known_ones(name: bytes) -> None:
    with pytest.raises(Rejection, match="gzip, zstd") as caught:
        inflate(b"x", name, LIMIT)
    assert caught.value.status == 415
    assert caught.value.headers == ((b"accept-encoding", b"gzip, zstd"),)
