"""The pace: so much is begun in one turn of the event loop and no more, by whose it is and in the order that it came.

Whatever a connection waits for can come for many at the same time: a head, the end of a body, a key that was looked up,
room for more of a reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
import uvloop

from tests.asgi.arrivals import decodes, warm
from tests.asgi.conversation import ADMIN_KEY
from tests.asgi.http1.hand import HandTransport, Taking, get, post
from tests.asgi.http1.hand import linked as linked_stranger
from tests.support.wait import wait_until_async
from towerlog.asgi.app import App
from towerlog.asgi.connection import Connection
from towerlog.asgi.guard.pace import (
    BODY_PART_BYTES,
    COUNTED_FROM,
    LINES_PART,
    MAX_BEGUN,
    MAX_OF_STRANGERS,
    STRANGERS_MS,
    TURN_MS,
    Pace,
)
from towerlog.asgi.http1 import heads, phases

COUNT = MAX_BEGUN * 5 // 2
KEY = f"Authorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\n".encode()


def in_uvloop(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work, 60))


async def turns(done: Callable[[], int], wanted: int) -> list[int]:
    """How much is done in each turn of the loop, until all is; what was done before the first is left out."""
    seen = [done()]
    while seen[-1] < wanted:
        await asyncio.sleep(0)
        seen.append(done())
    return [after - before for before, after in pairwise(seen)]


async def settled() -> None:
    """Until all that is ready has been done, and what that has made ready."""
    for _ in range(20):
        await asyncio.sleep(0)


def linked(app: Any) -> tuple[Connection, HandTransport]:
    """A connection that has shown a key."""
    link, transport = linked_stranger(app)
    link._visit.is_stranger = False
    return link, transport


def leave(links: list[Connection]) -> None:
    for link in links:
        link.connection_lost(None)


@pytest.mark.parametrize("kind", ["taken", "by a task", "with a body"])
def test_what_comes_at_once_is_begun_in_turns(kind: str) -> None:
    path, weight = "/task" if kind == "by a task" else "/do", 4 if kind == "with a body" else 1

    async def run() -> None:
        app = Taking(100_000_000, connections=10_000)
        links = [linked(app)[0] for _ in range(COUNT)]
        for number, link in enumerate(links):
            name = f"{path}?{number}"
            link.data_received(post(name, b"y" * BODY_PART_BYTES * 3) if weight > 1 else get(name))
        at_once = len(app.scopes)
        steps = await turns(lambda: len(app.scopes), COUNT)
        assert max(steps) == at_once == -(-MAX_BEGUN // weight)
        assert [int(scope["query_string"]) for scope in app.scopes] == list(range(COUNT))
        leave(links)
        await asyncio.sleep(0)
        assert app.ledger.process.is_idle

    in_uvloop(run())


def test_strangers_have_a_small_part_of_a_turn_and_no_more() -> None:
    async def run() -> None:
        app = Taking(100_000_000, connections=10_000)
        links = [linked_stranger(app)[0] for _ in range(COUNT)]
        for link in links:
            link.data_received(get("/do"))
        at_once = len(app.done)
        assert max([at_once, *await turns(lambda: len(app.done), COUNT)]) == MAX_OF_STRANGERS
        leave(links)
        assert app.ledger.process.is_idle

    in_uvloop(run())


def test_what_raises_at_its_beginning_keeps_nothing_else_waiting() -> None:
    class Beginning:
        def __init__(self, is_broken: bool) -> None:
            self.is_broken = is_broken

        def begin(self) -> None:
            if self.is_broken:
                raise RuntimeError("a defect of one")
            begun.append(self)

    begun: list[Beginning] = []

    async def run() -> None:
        raised: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, about: raised.append(about["exception"]))
        pace = Pace()
        all_of_them = [Beginning(number < 2) for number in range(6)]
        for one in all_of_them:
            pace.wait(one, "somebody")
        pace.note(loop)
        await wait_until_async(lambda: begun == all_of_them[2:], "the others to begin")
        assert len(raised) == 2

    in_uvloop(run())


def test_who_hangs_up_in_the_line_is_not_served() -> None:
    async def run() -> None:
        app = Taking(100_000_000, connections=10_000)
        links = [linked(app)[0] for _ in range(COUNT)]
        for link in links:
            link.data_received(get("/do"))
        leave(links[MAX_BEGUN:])
        await settled()
        assert len(app.done) == MAX_BEGUN
        leave(links[:MAX_BEGUN])
        assert app.ledger.process.is_idle

    in_uvloop(run())


# The ends of bodies


def ingest(number: int, size: int) -> bytes:
    body = b'{"event_type":"step","sdk_run_id":"r%d","payload":{"x":"%b"}}' % (number, b"y" * size)
    return post("/api/ingest", body).replace(b"Host:", KEY + b"Host:")


async def test_bodies_whose_last_bytes_come_at_once_are_decoded_in_turns(app: App) -> None:
    await warm(app)
    decoded, made = decodes(app, "POST", "/api/ingest"), [linked(app) for _ in range(190)]
    wholes = [ingest(number, 2 * BODY_PART_BYTES) for number in range(len(made))]
    for cut in (slice(None, 1000), slice(1000, -1)):
        for (link, _), whole in zip(made, wholes, strict=True):
            link.data_received(whole[cut])
            await settled()
    assert not decoded
    for (link, _), whole in zip(made, wholes, strict=True):
        link.data_received(whole[-1:])
    # Each is three: itself, and two parts of its body.
    assert max(await turns(lambda: len(decoded), len(made))) <= MAX_BEGUN // 3 + 1
    await wait_until_async(lambda: all(transport.statuses == [200] for _, transport in made), "the replies")
    leave([link for link, _ in made])
    assert app.arrivals.ledger.process.is_idle


async def test_bodies_whose_keys_are_known_at_once_are_decoded_in_turns(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app._service is not None
    go_on, real = asyncio.Event(), app._service._auth.authenticate

    async def slow(*given: Any) -> Any:
        found = await real(*given)
        await go_on.wait()
        return found

    monkeypatch.setattr(app._service._auth, "authenticate", slow)
    monkeypatch.setattr(app._service._auth, "recall", lambda *_: None)
    monkeypatch.setattr(app._gate, "_recall", lambda *_: None)
    decoded, made = decodes(app, "POST", "/api/ingest"), [linked(app) for _ in range(190)]
    for number, (link, _) in enumerate(made):
        link.data_received(ingest(number, 2 * BODY_PART_BYTES))
        await settled()
    go_on.set()
    assert max(await turns(lambda: len(decoded), len(made))) <= MAX_BEGUN // 3 + 1
    leave([link for link, _ in made])


# Readers


def unread(app: Any, count: int) -> list[tuple[Connection, HandTransport]]:
    """Connections with a reply that waits for its reader."""
    made = [linked(app) for _ in range(count)]
    for link, transport in made:
        transport.is_slow = True
        link.data_received(get("/later"))
    return made


def test_requests_whose_readers_have_room_at_once_begin_in_turns() -> None:
    async def run() -> None:
        app = Taking(100_000_000, connections=10_000)
        made = unread(app, MAX_BEGUN)
        await settled()
        made += unread(app, MAX_BEGUN)
        await settled()
        for respond in app.open:
            respond(200, [(b"content-length", b"9999")], b"x" * 9_999)
        for number in range(2):
            for link, _ in made[number * MAX_BEGUN : (number + 1) * MAX_BEGUN]:
                link.data_received(get("/do"))
            await settled()
        assert not app.done
        for _, transport in made:
            transport.is_slow = False
            transport.take()
        at_once = len(app.done)
        assert max([at_once, *await turns(lambda: len(app.done), len(made))]) <= MAX_BEGUN
        leave([link for link, _ in made])
        assert app.ledger.process.is_idle

    in_uvloop(run())


class Pouring(Taking):
    """Sends pieces without an end."""

    def __init__(self) -> None:
        super().__init__(100_000_000, connections=10_000)
        self.sent = 0

    def take(self, scope: Any, body: bytes, respond: Any) -> Any:
        return body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not self.arrivals.ledger.process.is_idle:
            self.sent += 1
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})


def test_streams_whose_readers_have_room_at_once_go_on_in_turns() -> None:
    async def run() -> None:
        app = Pouring()
        made: list[tuple[Connection, HandTransport]] = []
        while len(made) < COUNT:
            made.append(linked(app))
            made[-1][1].is_slow = True
            made[-1][1].set_write_buffer_limits(0)
            made[-1][0].data_received(get("/"))
            await settled()
        before = app.sent
        for _, transport in made:
            transport.take()
        assert max(await turns(lambda: app.sent - before, COUNT)) <= MAX_BEGUN
        leave([link for link, _ in made])
        await settled()
        assert app.ledger.process.is_idle

    in_uvloop(run())


# Packets


def test_packets_that_come_at_once_are_read_in_turns_and_counted_meanwhile() -> None:
    async def run() -> None:
        app = Taking(100_000_000, connections=10_000)
        made = [linked(app) for _ in range(COUNT // 5)]
        packet = b"y" * BODY_PART_BYTES * 4
        for link, transport in made:
            link.data_received(post("/task", packet * 3)[: -3 * len(packet)])
            await settled()
            assert transport.is_reading
        for link, _ in made:
            link.data_received(packet)
        held, received = app.ledger.process.held_bytes, lambda: sum(link._receiving.received_bytes for link, _ in made)
        assert held == len(made) * len(packet), "whether it was looked at or not"
        at_once = received() // len(packet)
        assert COUNTED_FROM // 5 <= at_once <= MAX_BEGUN // 5
        assert [transport.is_reading for _, transport in made] == [n < at_once for n in range(len(made))]
        steps = await turns(received, held)
        assert max(steps) <= len(packet) * MAX_BEGUN // 5
        await settled()
        assert all(transport.is_reading for _, transport in made)
        leave([link for link, _ in made])
        await settled()
        assert app.ledger.process.is_idle

    in_uvloop(run())


def test_a_packet_for_which_there_is_no_room_is_refused() -> None:
    async def run() -> None:
        app = Taking(400_000, connections=1000)
        made = [linked(app) for _ in range(MAX_BEGUN)]
        for link, _ in made:
            link.data_received(get("/later"))
        late = [linked(app) for _ in range(8)]
        for link, _ in late:
            link.data_received(post("/do", b"y" * 30_000))
        await settled()
        # A quarter of all is its address's.
        assert sorted(transport.statuses for _, transport in late) == [[200]] * 3 + [[503]] * 5
        leave([link for link, _ in made + late])
        assert app.ledger.process.is_idle

    in_uvloop(run())


# Whose turn it is


class Waiting:
    """Work that somebody waits with."""

    def __init__(self, begun: list[Any], name: Any, pace: Pace, is_stranger: bool = False) -> None:
        self.begun, self.name, self.pace, self.is_stranger = begun, name, pace, is_stranger

    def begin(self) -> None:
        self.pace.spend(asyncio.get_running_loop(), 0, self.is_stranger)
        self.begun.append(self.name)


def test_a_crowd_puts_off_its_own_and_nobody_else() -> None:
    async def run() -> None:
        pace, begun = Pace(), list[Any]()
        pace.spend(asyncio.get_running_loop(), MAX_BEGUN * BODY_PART_BYTES)
        for number in range(10 * MAX_BEGUN):
            pace.wait(Waiting(begun, number, pace), "the crowd")
        for number in range(3):
            pace.wait(Waiting(begun, f"neighbour {number}", pace), f"neighbour {number}")
        task = asyncio.create_task(pace.turn(0, "a task"))
        await asyncio.sleep(0)
        assert begun[:4] == [0, "neighbour 0", "neighbour 1", "neighbour 2"]
        assert len(begun) <= MAX_BEGUN
        await asyncio.wait_for(task, 60)
        assert len(begun) <= 4 * MAX_BEGUN
        await turns(lambda: len(begun), 10 * MAX_BEGUN + 3)
        assert [one for one in begun if isinstance(one, int)] == list(range(10 * MAX_BEGUN))

    in_uvloop(run())


@pytest.mark.parametrize("addresses", [1, 10 * MAX_BEGUN])
def test_however_many_strangers_put_off_nobody_who_has_shown_a_key(addresses: int) -> None:
    async def run() -> None:
        pace, begun = Pace(), list[Any]()
        pace.spend(asyncio.get_running_loop(), MAX_BEGUN * BODY_PART_BYTES)
        for number in range(10 * MAX_BEGUN):
            pace.wait(Waiting(begun, number, pace, True), f"address {number % addresses}", is_stranger=True)
        for _ in range(MAX_BEGUN):
            pace.wait(Waiting(begun, "neighbour", pace), "an organisation")
        await asyncio.sleep(0)
        assert begun.count("neighbour") == MAX_BEGUN - MAX_OF_STRANGERS
        assert len(begun) == MAX_BEGUN, "and strangers have their part"
        await turns(lambda: len(begun), 11 * MAX_BEGUN)
        assert not pace._whose

    in_uvloop(run())


def test_an_address_puts_off_its_own_strangers_and_no_other() -> None:
    async def run() -> None:
        pace, begun = Pace(), list[Any]()
        pace.spend(asyncio.get_running_loop(), MAX_BEGUN * BODY_PART_BYTES)
        for number in range(10 * MAX_BEGUN):
            pace.wait(Waiting(begun, number, pace, True), "the crowd", is_stranger=True)
        pace.wait(Waiting(begun, "another", pace, True), "another address", is_stranger=True)
        await asyncio.sleep(0)
        assert begun[:2] == [0, "another"]

    in_uvloop(run())


# What strangers send beside a head

CHUNKED = b"POST /task HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
PACKET = 256_000


@pytest.mark.parametrize("form", [b"1\r\na\r\n" * 60_000, b"0\r\n" + b"a:b\r\n" * 60_000], ids=["chunks", "trailers"])
async def test_of_a_body_in_chunks_nothing_is_read_before_it_is_wanted(form: bytes) -> None:
    app = Taking(100_000_000, connections=10_000)
    link, transport = linked_stranger(app)
    link.data_received((CHUNKED + form)[:PACKET])
    assert app.arrivals.pace.left == MAX_BEGUN - 1, "the head is all that was read"
    assert not transport.is_reading
    assert app.ledger.process.held_bytes == PACKET - len(CHUNKED)
    await wait_until_async(lambda: transport.statuses == [400], "the refusal, once the application wanted it")
    assert app.ledger.process.held_bytes == 0
    link.connection_lost(None)


async def test_lines_of_chunks_are_work_and_the_rest_of_a_packet_has_its_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Taking(100_000_000, connections=10_000)
    link, _ = linked(app)
    await settled()
    link.data_received(CHUNKED)
    await settled()
    read, feed = [0], Connection._read

    def counting(self: Connection, data: bytes) -> None:
        read[0] += data.count(b"\n")
        feed(self, data)

    monkeypatch.setattr(Connection, "_read", counting)
    link.data_received(b"6\r\n\n\n\n\n\n\n\r\n" * (PACKET // 11))
    at_once = read[0]
    step = phases.LINES_STEP_BYTES
    assert at_once <= MAX_BEGUN * LINES_PART + step
    assert max(await turns(lambda: read[0], PACKET // 11 * 8)) <= MAX_BEGUN * LINES_PART + step
    link.connection_lost(None)
    await settled()
    assert app.ledger.process.is_idle


async def test_trailers_have_the_number_of_headers() -> None:
    app = Taking(100_000_000, connections=10_000)
    for count, status in ((heads.MAX_HEADERS, 200), (heads.MAX_HEADERS + 1, 400)):
        link, transport = linked(app)
        link.data_received(CHUNKED + b"1\r\na\r\n0\r\n" + b"a:b\r\n" * count + b"\r\n")
        await wait_until_async(lambda: transport.statuses == [status], "the reply")  # noqa: B023
        link.connection_lost(None)


async def test_what_is_dropped_of_strangers_is_read_in_turns() -> None:
    app = Taking(100_000_000, connections=10_000)
    made = [linked_stranger(app) for _ in range(COUNT)]
    for link, transport in made:
        link.data_received(b"nonsense\r\n\r\n")
        await settled()
        assert transport.statuses == [400]
    for link, _ in made:
        link.data_received(b"y" * PACKET)
    reading = sum(transport.is_reading for _, transport in made)
    assert reading <= MAX_OF_STRANGERS
    for _ in range(COUNT):
        await asyncio.sleep(0)
    assert all(transport.is_reading for _, transport in made)
    leave([link for link, _ in made])


async def test_a_task_that_gives_up_leaves_the_line() -> None:
    pace = Pace()
    pace.spend(asyncio.get_running_loop(), MAX_BEGUN * BODY_PART_BYTES)
    waiting = [pace.turn(0, whose) for whose in ("one", "one", "another")]
    for one in waiting:
        one.send(None)
    assert len(pace._whose) == 3
    for one in waiting:
        one.close()
    assert not pace._lines
    assert not pace._whose


# Turns by time


class HandTime:
    """A clock that goes on by the work that is done."""

    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


class Slow(Waiting):
    """A piece of work that takes so many milliseconds."""

    def __init__(
        self, begun: list[Any], name: Any, pace: Pace, time: HandTime, ms: int, is_stranger: bool = False
    ) -> None:
        super().__init__(begun, name, pace, is_stranger)
        self._time, self._ms = time, ms

    def begin(self) -> None:
        super().begin()
        self._time.now_ms += self._ms


def test_a_turn_ends_once_it_has_lasted_long_enough_and_strangers_have_their_part() -> None:
    async def run() -> None:
        time, begun = HandTime(), list[Any]()
        pace = Pace(time)
        pace.spend(asyncio.get_running_loop(), MAX_BEGUN * BODY_PART_BYTES)
        for number in range(MAX_BEGUN):
            pace.wait(Slow(begun, number, pace, time, 2), "the crowd")
            pace.wait(Slow(begun, "stranger", pace, time, 1, True), "an address", is_stranger=True)
        pace.wait(Slow(begun, "neighbour", pace, time, 2), "a neighbour")
        await asyncio.sleep(0)
        assert begun == [0, "neighbour", 1, "stranger"]
        steps = await turns(lambda: len(begun), 2 * MAX_BEGUN + 1)
        assert max(steps) <= TURN_MS + STRANGERS_MS
        assert begun.count("stranger") == MAX_BEGUN
        pace.spend(asyncio.get_running_loop(), 0)
        assert pace.left > 0, "the next turn begins anew"

    in_uvloop(run())


def test_tasks_that_have_their_turn_work_one_after_the_other_and_the_turn_ends_by_what_they_take() -> None:
    async def run() -> None:
        time, worked = HandTime(), list[int]()
        pace = Pace(time)
        pace.spend(asyncio.get_running_loop(), MAX_BEGUN * BODY_PART_BYTES)

        async def work(number: int) -> None:
            await pace.turn(0, "an organisation")
            worked.append(number)
            time.now_ms += TURN_MS + 1

        tasks = [asyncio.create_task(work(number)) for number in range(30)]
        steps = await turns(lambda: len(worked), 30)
        assert max(steps) <= 2, "else all that waited would keep the loop for as long as they take together"
        assert worked == list(range(30))
        await asyncio.gather(*tasks)
        await settled()
        assert pace.left > 0

    in_uvloop(run())


def test_a_turn_in_which_much_was_begun_and_nobody_waits_is_followed_by_another() -> None:
    async def run() -> None:
        time, begun = HandTime(), list[Any]()
        pace = Pace(time)
        pace.spend(asyncio.get_running_loop(), MAX_BEGUN * BODY_PART_BYTES)
        pace.wait(Slow(begun, "one", pace, time, TURN_MS), "somebody")
        await asyncio.sleep(0)
        pace.spend(asyncio.get_running_loop(), MAX_BEGUN * BODY_PART_BYTES)
        await settled()
        assert (begun, pace.left) == (["one"], MAX_BEGUN)

    in_uvloop(run())
