"""The requests in hand on a connection: refused whole or done whole, counted while they wait, one reply at a time."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.http1.hand import Taking, get, linked, post
from tests.support.wait import wait_until_async


@pytest.mark.parametrize("before", [b"", get("/later")], ids=["alone", "behind another"])
async def test_a_body_for_which_there_is_no_room_is_never_taken_for_an_empty_one(before: bytes) -> None:
    """All of it is here, and yet nothing is left of it."""
    app = Taking()
    app.ledger.take_bytes((app.ledger.address("127.0.0.1"), app.ledger.process), 95_000)
    link, transport = linked(app)
    link.data_received(before + post("/orders", b"x" * 150_000))
    for respond in app.open:
        respond(200, [(b"content-length", b"0")], b"")
    await wait_until_async(lambda: len(transport.statuses) == len(app.open) + 1, "its reply")
    assert transport.statuses[-1] == 503
    assert app.done == []
    link.data_received(post("/orders", b"x"))
    await wait_until_async(lambda: transport.statuses[-1:] == [200], "the next")
    link.connection_lost(None)
    assert app.ledger.process.held_bytes == 95_000


# Replies


@pytest.mark.parametrize("way", ["/do", "/task"])
async def test_nothing_is_done_for_a_request_while_the_reply_before_it_is_unread(way: str) -> None:
    """Its reply would be kept, and nobody could count it."""
    app = Taking()
    link, transport = linked(app)
    transport.is_slow = True
    link.data_received(get("/later") + get(way) * 3)
    large = b"x" * 70_000
    app.open[0](200, [(b"content-length", b"%d" % len(large))], large)
    await settled()
    assert app.done == []
    transport.is_slow = False
    transport.take()
    await wait_until_async(lambda: len(app.done) == 3, "the others")
    app.done.clear()
    # The same for one that comes only now, and for its body.
    transport.is_slow = True
    link.data_received(get("/later"))
    await wait_until_async(lambda: len(app.open) == 2, "its turn")
    app.open[1](200, [(b"content-length", b"%d" % len(large))], large)
    link.data_received(post(way, b"y" * 1000))
    await settled()
    assert app.done == []
    assert app.ledger.process.held_bytes == len(transport.unread) + 1000
    transport.take(60_000)
    assert app.ledger.process.held_bytes > 70_000, "it is kept whole until its last byte is taken"
    assert app.done == []
    transport.take()
    await wait_until_async(lambda: bool(app.done), "the last")
    assert app.done == [(way, b"y" * 1000)]
    link.connection_lost(None)
    assert app.ledger.process.is_idle


async def test_what_waits_for_a_reader_who_hangs_up_is_not_done() -> None:
    app = Taking()
    link, transport = linked(app)
    transport.is_slow = True
    link.data_received(get("/later"))
    app.open[0](200, [(b"content-length", b"99999")], b"x" * 99_999)
    link.data_received(post("/do", b"y") + post("/task", b"y"))
    link.connection_lost(None)
    await settled()
    assert app.done == []
    assert app.ledger.process.is_idle


async def test_bodies_that_wait_for_their_turn_are_counted() -> None:
    app = Taking()
    link, _ = linked(app)
    link.data_received(get("/later") + post("/do", b"y" * 1000) * 3)
    assert app.ledger.process.held_bytes == 3000
    app.open[0](200, [(b"content-length", b"0")], b"")
    await wait_until_async(lambda: len(app.done) == 3, "all of them")
    link.connection_lost(None)
    assert app.ledger.process.is_idle


async def settled() -> None:
    """Until all that is ready now has been done, and what that has made ready."""
    for _ in range(10):
        await asyncio.sleep(0)
