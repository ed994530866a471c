"""Followers over connections that break and logs that were replaced: each event once and in order."""

from __future__ import annotations

import threading

import pytest

from tests.sdk.talker import CLOSE, HANG, frame, headers_of, reply, stream, talking
from towerlog.sdk.api import cursors
from towerlog.sdk.api.async_follow import async_follow
from towerlog.sdk.api.cursors import AgentCursor, RunCursor
from towerlog.sdk.api.follow import follow
from towerlog.sdk.api.shapes import Gap, RunEvent
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.connection import Signal
from towerlog.sdk.wire.errors import ApiError, BadAnswer, Unreachable
from towerlog.sdk.wire.http import Http

EPOCH = {"X-Log-Epoch": "e1"}
END = reply(204, b"")
OVER = b'event: end\ndata: {"status":"completed","last_seq":9}\n\n'
"""The control frame after the last event of a run."""


@pytest.fixture(autouse=True)
def eager(monkeypatch) -> None:
    """Pauses of nearly nothing: nothing here depends on their length."""
    monkeypatch.setattr(cursors, "MAX_PAUSE_S", 0.001)


def seen(found) -> list[object]:
    """Seqs, and gaps as what they say."""
    return [event.seq if isinstance(event, RunEvent) else event.reason or event.oldest_seq for event in found]


async def both_ways(*replies: bytes | None, after_seq: int = 0) -> tuple[list[object], list[str]]:
    """What a follower sees, the same with and without asyncio, and with which cursors it came."""
    asked: list[list[str]] = []
    got: list[list[object]] = []
    with talking(*replies) as talker:
        got.append(seen(follow(Http(talker.url), RunCursor("r", after_seq))))
        asked.append([headers_of(head)["last-event-id"] for head, _ in talker.requests])
    with talking(*replies) as talker:
        found = [event async for event in async_follow(AsyncHttp(talker.url), RunCursor("r", after_seq))]
        got.append(seen(found))
        asked.append([headers_of(head)["last-event-id"] for head, _ in talker.requests])
    assert got[0] == got[1]
    assert asked[0] == asked[1]
    return got[0], asked[0]


async def test_a_run_that_ends_is_followed_to_its_end() -> None:
    got, asked = await both_ways(stream(frame(1), frame(2, "run.completed"), OVER))
    assert got == [1, 2]
    assert asked == ["0"]


async def test_a_follower_goes_on_where_it_was_cut_off_with_the_name_of_the_log() -> None:
    cut = frame(3)
    got, asked = await both_ways(
        stream(frame(1), frame(2), cut[:10], headers=EPOCH, whole=False),
        None,
        reply(503, b"{}"),
        stream(frame(3), headers=EPOCH),
        stream(frame(4, "run.failed"), OVER, headers=EPOCH),
    )
    assert got == [1, 2, 3, 4]
    assert asked == ["0", "e1-2", "e1-2", "e1-2", "e1-3"]


async def test_what_is_sent_again_is_not_seen_again() -> None:
    got, _ = await both_ways(
        stream(frame(1), frame(2), whole=False), stream(frame(1), frame(2), frame(3, "run.cancelled"), OVER)
    )
    assert got == [1, 2, 3]


async def test_nothing_left_is_the_end() -> None:
    got, _ = await both_ways(END, after_seq=7)
    assert got == []
    got, _ = await both_ways(stream(frame(1, "run.completed"), whole=False), END)
    assert got == [1]


async def test_a_late_event_behind_the_end_is_seen_too() -> None:
    got, _ = await both_ways(stream(frame(1, "run.failed"), frame(2), OVER))
    assert got == [1, 2]


async def test_only_the_control_frame_is_the_end() -> None:
    got, asked = await both_ways(stream(frame(1, "run.completed")), stream(frame(2), OVER))
    assert got == [1, 2], "a body that ends, on a connection without chunks, may have been cut"
    assert asked == ["0", "1"]


async def test_a_hole_that_the_server_tells_of_is_a_gap() -> None:
    gap = b'event: gap\ndata: {"requested":0,"oldest_seq":8,"missing":7}\n\n'
    got, asked = await both_ways(stream(gap, frame(8), whole=False), stream(frame(9, "run.completed"), OVER))
    assert got == [8, 8, 9]
    assert asked == ["0", "8"]


async def test_a_hole_that_the_server_does_not_tell_of_is_no_answer() -> None:
    with talking(stream(frame(1), frame(3))) as talker, pytest.raises(BadAnswer, match="from seq 1 to 3"):
        list(follow(Http(talker.url), RunCursor("r", 0)))


async def test_another_log_is_told_from_its_beginning() -> None:
    gap = b'event: gap\ndata: {"reason":"another log"}\n\n'
    other = {"X-Log-Epoch": "e2"}
    got, asked = await both_ways(
        stream(frame(1), frame(2), headers=EPOCH, whole=False),
        stream(gap, frame(1), headers=other, whole=False),
        stream(frame(2, "run.completed"), OVER, headers=other),
    )
    assert got == [1, 2, "another log", 1, 2]
    assert asked == ["0", "e1-2", "e2-1"]


async def test_the_first_connection_to_another_log_may_break_before_it_says_so() -> None:
    gap = b'event: gap\ndata: {"reason":"another log"}\n\n'
    other = {"X-Log-Epoch": "e2"}
    got, asked = await both_ways(
        stream(frame(1), headers=EPOCH, whole=False),
        stream(headers=other, whole=False),
        stream(gap, frame(1, "run.completed"), OVER, headers=other),
    )
    assert got == [1, "another log", 1]
    assert asked == ["0", "e1-1", "e1-1"]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_ends_it(status) -> None:
    with talking(stream(frame(1), whole=False), reply(status, b'{"code":"c","message":"m"}')) as talker:
        http, got = Http(talker.url), []
        with pytest.raises(ApiError) as caught:
            got.extend(follow(http, RunCursor("r", 0)))
        assert caught.value.status == status
        assert len(talker.requests) == 2


async def test_an_answer_that_is_no_stream_ends_it() -> None:
    with talking(reply(200, b"{}")) as talker, pytest.raises(BadAnswer, match="not a stream"):
        list(follow(Http(talker.url), RunCursor("r", 0)))
    broken = stream(b"data: {\n\n")
    with talking(broken) as talker, pytest.raises(BadAnswer, match="not JSON"):
        list(follow(Http(talker.url), RunCursor("r", 0)))


async def test_a_server_that_stays_away_is_given_up(held_port) -> None:
    url = held_port.url
    with pytest.raises(Unreachable):
        list(follow(Http(url), RunCursor("r", 0), patience_s=0.05))
    with pytest.raises(Unreachable):
        await anext(async_follow(AsyncHttp(url), RunCursor("r", 0), patience_s=0.05))


def test_a_server_that_is_away_at_first_is_waited_for_as_long_as_later() -> None:
    now = 0.0
    reconnects = cursors.Reconnects(300.0, lambda: now)
    now = 299.0
    reconnects.failed(Unreachable("away"))
    now = 300.0
    with pytest.raises(Unreachable, match="away"):
        reconnects.failed(Unreachable("away"))


def test_a_silent_stream_counts_as_contact() -> None:
    # Patience runs from the moment in which the stream broke, not from the last event.
    now = 0.0
    reconnects = cursors.Reconnects(10.0, lambda: now)
    reconnects.received()
    now = 1000.0
    reconnects.received()
    now = 1009.0
    reconnects.failed(Unreachable("away"))
    now = 1010.0
    with pytest.raises(Unreachable, match="away"):
        reconnects.failed(Unreachable("away"))


async def test_streams_without_anything_in_them_are_given_up() -> None:
    empty = [stream()] * 1000
    with talking(*empty) as talker, pytest.raises(Unreachable, match=r"before anything came|closed the connection"):
        list(follow(Http(talker.url), RunCursor("r", 0), patience_s=0.2))
    with talking(*empty) as talker, pytest.raises(Unreachable, match=r"before anything came|closed the connection"):
        await anext(async_follow(AsyncHttp(talker.url), RunCursor("r", 0), patience_s=0.2))


def test_a_stream_that_was_quiet_for_a_while_counts_as_contact() -> None:
    now = 0.0
    reconnects = cursors.Reconnects(10.0, lambda: now)
    for _ in range(5):
        reconnects.opened()
        now += cursors.QUIET_S + 10.0
        reconnects.ended()
    reconnects.opened()
    now += 9.0 - cursors.QUIET_S
    reconnects.failed(Unreachable("away"))
    for _ in range(2):
        reconnects.opened()
        now += cursors.QUIET_S / 2
        reconnects.ended()
    now += 10.0
    reconnects.opened()
    with pytest.raises(Unreachable, match=r"before anything came|closed the connection"):
        reconnects.ended()


def test_closing_ends_a_follower_in_another_thread() -> None:
    with talking(stream(frame(1), whole=False).removesuffix(CLOSE) + HANG) as talker:
        http, closed, got = Http(talker.url), Signal(), []
        first = threading.Event()

        def read() -> None:
            for event in follow(http, RunCursor("r", 0), closed=closed):
                got.append(event)
                first.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert first.wait(60)
        closed.set()
        http.close()
        reader.join(60)
        assert not reader.is_alive()
        assert seen(got) == [1]


def test_an_agents_feed_goes_on_by_its_cursor() -> None:
    def event(number: int) -> bytes:
        text = f'{{"id":"x{number}","timestamp":"t","type":"file_read"}}'
        return f"id: e1-{number}\ndata: {text}\n\n".encode()

    gap = b'event: gap\ndata: {"reason":"another log"}\n\n'
    with talking(
        stream(event(4), event(9), whole=False), stream(b"event: end\ndata: bye\n\n"), stream(gap, event(11))
    ) as talker:
        found = follow(Http(talker.url), AgentCursor("a/1", 5, None), patience_s=5)
        got = [next(found) for _ in range(4)]
        found.close()  # type: ignore[attr-defined]
        assert [one.raw.get("id") if not isinstance(one, Gap) else one.reason for one in got] == [
            "x4",
            "x9",
            "another log",
            "x11",
        ]
        paths = [head.split(" ")[1] for head, _ in talker.requests]
        assert set(paths) == {"/agents/a%2F1/events?follow=true&tail=5"}
        cursors = [headers_of(head).get("last-event-id") for head, _ in talker.requests]
        assert cursors == [None, "e1-9", "e1-9"]
