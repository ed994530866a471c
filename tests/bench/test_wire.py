"""The bench's own reading of HTTP."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.wire import Dechunker, server_timing_ms


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=8), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_a_chunked_body_comes_out_whole_however_it_is_cut(pieces: list[bytes], cuts: list[int]) -> None:
    body = chunked(pieces)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    dechunker = Dechunker()
    out = b"".join(dechunker.feed(body[a:b]) for a, b in pairwise(edges))
    assert out == b"".join(pieces)
    assert dechunker.ended


def test_a_chunk_is_held_back_until_it_is_whole() -> None:
    dechunker = Dechunker()
    assert dechunker.feed(b"5\r\nhel") == b""
    assert dechunker.feed(b"lo\r\n") == b"hello"
    assert not dechunker.ended


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("", None), ("app;dur=3.5", 3.5), ('db;desc="read";dur=1.25, app;dur=2', 3.25), ("miss", None)],
)
def test_server_timing_is_the_sum_of_its_durations_or_nothing(header: str | None, expected: float | None) -> None:
    assert server_timing_ms(header) == expected
