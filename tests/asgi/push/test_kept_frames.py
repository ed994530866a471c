"""Frames that wait: for their turn, and for a reader who has first to take the answers to those before them."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.http1.hand import HERE, HandTransport, Taking
from tests.support.pusher import PING, TEXT, frame
from tests.support.wait import wait_until_async
from towerlog.asgi.push.websocket import WebSocket

COUNT = 390
"""About as many short frames as may come at once; more than are begun in a turn."""


class Echo(WebSocket):
    """Says each message back."""

    def __init__(self, app: Taking) -> None:
        super().__init__(asyncio.get_running_loop())
        self.hand, self.heard_texts, self.is_flooded = HandTransport(), list[str](), False
        self.hand.link = self
        self.hand.set_write_buffer_limits(0)
        visit = app.arrivals.visit(HERE)
        visit.enter()
        self.take_over(self.hand, visit, lambda: None)

    def begun(self) -> None: ...

    def hear(self, text: str) -> None:
        self.heard_texts.append(text)
        self.say(text.encode())

    def heard(self) -> None: ...

    def has_room(self) -> None: ...

    def flooded(self) -> None:
        self.is_flooded = True
        self.close_with(1008, "too much")

    def lost(self) -> None: ...


def numbered(count: int) -> bytes:
    return b"".join(frame(TEXT, b"%d" % number) for number in range(count))


async def test_what_waits_for_its_turn_is_heard_in_its_order_and_nothing_is_read_meanwhile() -> None:
    app = Taking()
    one = Echo(app)
    one.data_received(numbered(COUNT))
    assert 0 < len(one.heard_texts) < COUNT
    assert not one.hand.is_reading
    await wait_until_async(lambda: len(one.heard_texts) == COUNT, "all of them to be heard")
    assert one.heard_texts == [str(number) for number in range(COUNT)]
    assert one.hand.is_reading
    one.connection_lost(None)
    assert app.ledger.process.is_idle


async def test_frames_behind_answers_that_are_not_taken_wait_for_the_reader() -> None:
    app = Taking()
    one = Echo(app)
    one.hand.is_slow = True
    # Few enough for one turn.
    said = [str(number).ljust(250) for number in range(80)]
    one.data_received(b"".join(frame(TEXT, text.encode()) for text in said))
    for _ in range(20):
        await asyncio.sleep(0)
    first = len(one.heard_texts)
    assert 0 < first < 10, "what is parsed at a time"
    assert not one.hand.is_reading
    one.hand.is_slow = False
    one.hand.take()
    await wait_until_async(lambda: len(one.heard_texts) == len(said), "the rest to be heard")
    assert one.heard_texts == said
    assert one.hand.is_reading
    one.connection_lost(None)
    assert app.ledger.process.is_idle


@pytest.mark.parametrize("how", ["lost", "ended"])
async def test_what_waits_is_forgotten_with_its_socket(how: str) -> None:
    app = Taking()
    one = Echo(app)
    one.data_received(frame(PING) * COUNT)
    answered = len(one.hand.taken)
    if how == "lost":
        one.connection_lost(None)
    else:
        one.close_with(4200, "x")
        answered = len(one.hand.taken)
        assert one.hand.is_reading, "what still comes is dropped"
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(one.hand.taken) == answered
    one.connection_lost(None)
    assert app.ledger.process.is_idle


async def test_what_there_is_no_room_for_ends_the_socket() -> None:
    app = Taking(max_bytes=4000)
    first, second = Echo(app), Echo(app)
    first.data_received(numbered(COUNT))
    second.data_received(numbered(COUNT))
    assert [one.is_flooded for one in (first, second)] == [False, True]
