"""Timing of frames: every marked frame is noted once, wherever the bytes are cut."""

import asyncio

import pytest

from bench.pace import Follower, reply_length

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def frame(number: int) -> bytes:
    data = b'id: %d\ndata: {"seq":%d,"type":"step","data":{"mark":%d,"ts":1}}\n\n' % (number + 2, number + 2, number)
    return b"%x\r\n%b\r\n" % (len(data), data)


def follow(received: bytes, step: int, count: int) -> Follower:
    follower = Follower(b"", count)
    for start in range(0, len(received), step):
        follower.data_received(received[start : start + step])
    return follower


@pytest.mark.anyio
@pytest.mark.parametrize("step", [1, 7, 64, 10_000])
async def test_every_marked_frame_is_noted_once_however_the_stream_is_cut(step: int) -> None:
    received = HEAD + b"c\r\nretry: 1000\n\r\n8\r\n: ping\n\n\r\n" + b"".join(frame(n) for n in range(20))
    follower = follow(received, step, 20)
    assert sorted(follower.seen_ns) == list(range(20))
    assert follower.repeats == 0
    assert follower.complete.is_set()


@pytest.mark.anyio
async def test_a_frame_that_comes_twice_is_counted_as_a_repeat() -> None:
    follower = follow(HEAD + frame(0) + frame(1) + frame(1), 50, 3)
    assert follower.repeats == 1
    assert not follower.complete.is_set()


@pytest.mark.anyio
async def test_a_refused_stream_is_not_taken_for_a_followed_one() -> None:
    follower = follow(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}", 10, 1)
    await asyncio.wait_for(follower.following.wait(), 60)
    assert not follower.head_done


def test_a_reply_is_complete_with_its_head_and_its_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert reply_length(head[:-1]) is None
    assert reply_length(head + b"hel") == len(head) + 5
    assert reply_length(b"HTTP/1.1 204 No Content\r\n\r\n") == 27
