"""Frames as the standard has them."""

from __future__ import annotations

import pytest

from towerlog.sdk.wire.sse import Frame, FrameReader


@pytest.mark.parametrize(
    ("lines", "frames"),
    [
        ([b"data: a", b""], [Frame("message", "a", None)]),
        ([b"data:a", b"data:  b", b""], [Frame("message", "a\n b", None)]),
        ([b"event: gap", b"data: {}", b"id: 7", b""], [Frame("gap", "{}", "7")]),
        ([b"event: gap", b"", b"data: x", b""], [Frame("message", "x", None)]),
        ([b": ping", b"", b"unknown: x", b"retry: 1", b""], []),
        ([b"id: 7", b"data: a", b"", b"data: b", b""], [Frame("message", "a", "7"), Frame("message", "b", None)]),
        ([b"id: 7\0", b"data: a", b""], [Frame("message", "a", None)]),
        ([b"data", b""], [Frame("message", "", None)]),
        ([b"data: cut off"], []),
    ],
)
def test_lines_become_frames(lines, frames) -> None:
    reader = FrameReader()
    assert [frame for line in lines if (frame := reader.feed(line)) is not None] == frames
