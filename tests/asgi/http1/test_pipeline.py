"""The requests in hand on a connection: refused whole or done whole, counted while they wait, one reply at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.asgi.conversation import ADMIN_KEY
from tests.asgi.http1.hand import HERE, Taking, get, linked, post
from tests.support.wait import wait_until_async
from towerlog.asgi.app import App
from towerlog.asgi.http1 import phases


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


SWITCH = get("/later").replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")


@pytest.mark.parametrize("size", [200, 90_000], ids=["short", "long"])
async def test_what_comes_behind_a_request_to_switch_is_counted(size: int) -> None:
    app = Taking()
    link, _ = linked(app)
    link.data_received(get("/later") + SWITCH + b"y" * size)
    assert [share.held_bytes for share in (app.ledger.address("127.0.0.1"), app.ledger.process)] == [size] * 2
    app.open[0](200, [(b"content-length", b"0")], b"")
    await settled()
    assert app.ledger.process.held_bytes == size, "it waits for the next reply"
    link.connection_lost(None)
    assert app.ledger.process.is_idle


@pytest.mark.parametrize("size", [200, 90_000], ids=["short", "long"])
async def test_where_there_is_no_room_for_it_the_connection_ends(size: int) -> None:
    app = Taking()
    app.ledger.take_bytes((app.ledger.address("127.0.0.1"), app.ledger.process), 99_900)
    link, transport = linked(app)
    link.data_received(SWITCH + b"y" * size)
    assert transport.has_ended
    link.connection_lost(None)
    assert app.ledger.process.held_bytes == 99_900


async def test_whoever_takes_the_connection_over_counts_it_no_more() -> None:
    app = Taking()
    link, transport = linked(app)
    link.data_received(SWITCH + b"y" * 200)
    heir = Heir()
    assert link.switch(app.open[0].args[0], [], heir)
    assert (heir.heard, heir.held_bytes) == (b"y" * 200, 0)
    assert transport.statuses == [101]
    heir.visit.leave()
    assert app.ledger.process.is_idle


class Heir:
    """Takes a connection over."""

    is_idle = False

    def take_over(self, transport: Any, visit: Any, left: Any) -> None:
        self.visit = visit

    def data_received(self, data: bytes) -> None:
        self.heard, self.held_bytes = data, self.visit.ledger.process.held_bytes


async def test_a_body_is_counted_while_its_key_is_looked_up(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its address and for those without a key; then for its key."""
    assert app._service is not None
    go_on, seen, real = asyncio.Event(), [], app._service._auth.authenticate

    async def slow(*given: Any) -> Any:
        seen.append(app.arrivals.ledger.process.held_bytes)
        await go_on.wait()
        return await real(*given)

    monkeypatch.setattr(app._service._auth, "authenticate", slow)
    link, transport = linked(app)
    body = b'{"event_type":"step","sdk_run_id":"r","payload":{"x":"%b"}}' % (b"y" * 20_000)
    key = f"Authorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\n".encode()
    link.data_received(post("/api/ingest", body).replace(b"Host:", key + b"Host:"))
    await wait_until_async(lambda: bool(seen), "the look-up")
    ledger = app.arrivals.ledger
    assert seen == [len(body)]
    assert [share.held_bytes for share in (ledger.address(HERE[0]), ledger.unknown)] == [len(body)] * 2
    go_on.set()
    await wait_until_async(lambda: transport.statuses == [200], "its reply")
    [account] = ledger.accounts.values()
    assert not any(share.held_bytes for share in (ledger.address(HERE[0]), ledger.unknown, *account.shares))
    link.connection_lost(None)
    assert ledger.process.is_idle


async def settled() -> None:
    """Until all that is ready now has been done, and what that has made ready."""
    for _ in range(10):
        await asyncio.sleep(0)


# Deadlines


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "HEAD_DEADLINE_S", 0.05)
    monkeypatch.setattr(phases, "BODY_DEADLINE_S", 0.05)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("cut", [10, -5], ids=["in its head", "in its body"])
async def test_what_is_not_read_while_others_are_served_is_not_late(cut: int) -> None:
    """Two requests are answered late; the third came in two packets, of which the second is not read meanwhile."""
    app = Taking()
    link, transport = linked(app)
    last = post("/do", b"y" * 10)
    link.data_received(get("/later") + get("/task") + last[:cut])
    assert not transport.is_reading
    await passed(0.2)
    assert not transport.taken
    # With its turn: from then on it can be late, and who looks now and then may look too late on a busy machine.
    transport.when_reading = lambda: link.data_received(last[cut:])
    app.open[0](200, [(b"content-length", b"0")], b"")
    await wait_until_async(lambda: len(app.done) == 2, "both")
    assert app.done == [("/task", b""), ("/do", b"y" * 10)]
    assert transport.statuses == [200, 200, 200]
    link.connection_lost(None)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(("cut", "status"), [(10, 408), (-5, 503)], ids=["in its head", "in its body"])
async def test_from_its_turn_on_it_can_be_late(cut: int, status: int) -> None:
    app = Taking()
    link, transport = linked(app)
    link.data_received(get("/later") + get("/task") + post("/do", b"y" * 10)[:cut])
    app.open[0](200, [(b"content-length", b"0")], b"")
    await wait_until_async(lambda: len(transport.statuses) == 3, "a refusal")
    assert transport.statuses == [200, 200, status]
    link.connection_lost(None)
    assert app.ledger.process.is_idle


@pytest.mark.usefixtures("_impatient")
async def test_the_time_of_a_body_stands_still_while_nothing_is_read_and_does_not_begin_anew() -> None:
    app = Taking()
    link, transport = linked(app)
    link.data_received(get("/later") + get("/do"))
    body = post("/task", b"y" * 1_000_000)
    app.open[0](200, [(b"content-length", b"0")], b"")
    await wait_until_async(lambda: transport.is_reading, "its turn")
    sent = 0
    while len(transport.statuses) < 3 and sent < 500_000:
        # As soon as what has come is asked for, so much that reading is paused again.
        if transport.is_reading:
            link.data_received(body[sent : sent + 70_000])
            sent += 70_000
        await passed(0.02)
    assert transport.statuses == [200, 200, 503]
    link.connection_lost(None)


async def passed(seconds: float) -> None:
    """Until so much time of the loop has passed."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    await wait_until_async(lambda: loop.time() >= ends_at, "the time")


# Sizes


@pytest.mark.parametrize("shift", range(-80, 80, 5))
async def test_where_packets_end_does_not_matter(shift: int) -> None:
    """A good request after a large body, cut at every place around the end of its head, with as many bytes before it
    as are parsed at a time; its chunks bring as much that is no body as they may.
    """
    step = phases.STEP_BYTES
    large = b"x" * 70_000
    lines = b"1\r\ny\r\n" * 5000
    head = b"POST /do HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for body, rest in ((post("/do", b"y" * 10), b""), (head, lines + b"0\r\n\r\n")):
        app = Taking(4_000_000)
        link, transport = linked(app)
        whole = post("/do", large) + body
        cut = len(whole) - len(head) // 2 + shift
        link.data_received(whole[: max(0, cut - step)])
        link.data_received(whole[max(0, cut - step) : cut])
        link.data_received(whole[cut:])
        for at in range(0, len(rest), 500):
            await wait_until_async(lambda link=transport: link.is_reading, "the turn of the next packet")
            link.data_received(rest[at : at + 500])
        await wait_until_async(lambda link=transport: len(link.statuses) == 2, "both replies")
        assert transport.statuses == [200, 200]
        link.connection_lost(None)
