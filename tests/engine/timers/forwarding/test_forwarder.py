"""The forwarder on a real store: whose turn it is, what is left of a log, what is tried again and what is given up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.egress.receivers import OK, Connection, outside, receiving
from tests.support.factories import draft
from tests.support.rig import Rig, open_rig
from tests.support.wait import wait_until_async
from towerlog.egress.collector import Collector
from towerlog.engine.timers.forwarding import forwarder as forwarding
from towerlog.engine.timers.forwarding.deliveries import MAX_ATTEMPTS, Deliveries
from towerlog.engine.timers.forwarding.forwarder import MAX_AT_WORK, STRETCH_EVENTS, Forwarder
from towerlog.model.command import Append
from towerlog.model.event import EventType, Item
from towerlog.model.facts import Erases
from towerlog.model.principal import Principal


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as rig:
        yield rig


class Taken:
    """What a receiver has read."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.statuses: list[int] = []
        """Of the next answers; then all is taken."""
        self.answers_after: asyncio.Event | None = None

    async def answer(self, connection: Connection) -> None:
        await connection.read_request()
        if self.answers_after is not None:
            await self.answers_after.wait()
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.requests.append(ExportTraceServiceRequest.FromString(connection.body))
        await connection.say(OK if status == 200 else b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    def names(self) -> list[str]:
        return [
            span.name
            for request in self.requests
            for one in request.resource_spans
            for scope in one.scope_spans
            for span in scope.spans
        ]


class Looks:
    """Looks of a forwarder at the store, the second of which ends when all that was under way then is done."""

    def __init__(self, read: Callable[[int, int], Awaitable[list[tuple[int, int, int]]]]) -> None:
        self._read = read
        self.count = 0
        self.has_read_twice = asyncio.Event()

    async def read(self, after: int, limit: int) -> list[tuple[int, int, int]]:
        found = await self._read(after, limit)
        self.count += 1
        if self.count == 2:
            self.has_read_twice.set()
            await wait_until_async(lambda: not any(map(is_a_stretch, asyncio.all_tasks())), "the first stretch")
        return found


def is_a_stretch(task: asyncio.Task[Any]) -> bool:
    return task.get_name() == "towerlog-forwarding"


@contextlib.asynccontextmanager
async def forwarding_from(rig: Rig, taken: Taken, may_send: Callable[[], bool] = lambda: True) -> AsyncIterator[Any]:
    async with receiving(taken.answer) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/v1/traces"
        collector = outside(forward_otlp_url=url).collector
        assert isinstance(collector, Collector)
        deliveries = Deliveries(collector, rig.clock, may_send, (0,))
        forwarder = Forwarder(rig.store, deliveries, may_send, 0.01)
        task = asyncio.create_task(forwarder.run())
        try:
            yield forwarder
        finally:
            forwarder.stop()
            await task


async def begin(rig: Rig) -> None:
    """As a start with the setting on an empty log."""
    await rig.store.forwarding_begin()


def run(thread: str, steps: int = 1, *, ends: bool = True) -> list[Item]:
    told = [draft(EventType.RUN_STARTED, thread, {"name": thread})]
    told += [draft(EventType.STEP, thread, {"name": f"{thread}-{number}"}) for number in range(steps)]
    return [*told, draft(EventType.RUN_COMPLETED, thread, {"name": thread})] if ends else list(told)


async def append(rig: Rig, who: Principal, *items: Item) -> None:
    for begin in range(0, len(items), 500):
        await rig.do(Append("steps", list(items[begin : begin + 500])), principal=who)


async def settled(rig: Rig) -> None:
    """All of the log was looked at. It may take as long as more and more of it is."""
    waiting = await rig.store.forwarding_waits(-1, 10)

    async def goes_on() -> bool:
        return bool(await rig.store.forwarding_waits(-1, 10) != waiting)

    while waiting:
        await wait_until_async(goes_on, "more of the log to be forwarded")
        waiting = await rig.store.forwarding_waits(-1, 10)


async def test_a_run_over_many_stretches_is_sent_once(rig: Rig) -> None:
    """With the stretch in which it ends; and the others of each stretch with theirs."""
    await begin(rig)
    await append(rig, rig.principal, *run("long", 2 * STRETCH_EVENTS, ends=False))
    await append(rig, rig.principal, *run("short"), *run("long", 1)[1:])
    taken = Taken()
    async with forwarding_from(rig, taken):
        await settled(rig)
    names = taken.names()
    assert len(names) == len(set(names) | {"long-0"}) + 1  # `long-0` was told twice
    assert {"short", "long", "short-0", f"long-{2 * STRETCH_EVENTS - 1}"} <= set(names)


async def test_an_organisation_with_much_to_forward_leaves_turns_to_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "MAX_REQUEST_RUNS", 20)
    await begin(rig)
    others = [await rig.make_org(f"other{number}") for number in range(2 * MAX_AT_WORK)]
    for number in range(6 * STRETCH_EVENTS // 300):
        await append(rig, rig.principal, *[one for run_no in range(100) for one in run(f"much-{number}-{run_no}")])
    for number, other in enumerate(others):
        await append(rig, other, *run(f"few{number}"))
    taken = Taken()
    async with forwarding_from(rig, taken):
        await settled(rig)
    names = taken.names()
    assert len(names) == 2 * (20 * 100 + len(others))
    last = max(names.index(f"few{number}") for number in range(len(others)))
    assert last < 2 * len(names) // 3, "the others waited for all that one has"


async def test_who_is_done_while_the_store_is_read_is_not_begun_again_where_it_was(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(rig)
    await append(rig, rig.principal, *run("once"))
    looks = Looks(rig.store.forwarding_waits)
    monkeypatch.setattr(rig.store, "forwarding_waits", looks.read)
    taken = Taken()
    taken.answers_after = looks.has_read_twice
    async with forwarding_from(rig, taken):
        await wait_until_async(lambda: looks.count >= 4, "two looks after the late one")
    assert taken.names() == ["once-0", "once"]


async def test_what_is_erased_is_not_sent_and_holds_nobody_up(rig: Rig) -> None:
    await begin(rig)
    await append(rig, rig.principal, *run("gone", 5))
    [gone] = await rig.store.runs_held(rig.org, Erases.EVENTS, rig.clock.now_ms() + 1, 10)
    await rig.store.run_trim(rig.org, gone.run, 5)
    await append(rig, rig.principal, *run("there"))
    assert await rig.store.runs_touched(rig.org, 0, 5) is None
    taken = Taken()
    async with forwarding_from(rig, taken):
        await settled(rig)
        assert set(taken.names()) == {"there", "there-0", "gone-3", "gone-4", "gone"}
    assert len(taken.names()) == 5


async def test_a_status_that_says_nothing_is_tried_a_while_and_given_up(rig: Rig) -> None:
    await begin(rig)
    taken = Taken()
    taken.statuses = [500] * (MAX_ATTEMPTS - 1)
    await append(rig, rig.principal, *run("a"))
    async with forwarding_from(rig, taken) as forwarder:
        await settled(rig)
        assert forwarder.figures() == {
            "spans_forwarded": 2,
            "spans_refused": 0,
            "forwarding_failures": MAX_ATTEMPTS - 1,
            "forwarding_behind": forwarder.behind,
        }
        taken.statuses = [500] * MAX_ATTEMPTS
        await append(rig, rig.principal, *run("b"))
        await settled(rig)
        assert forwarder.deliveries.refused == 2
        await append(rig, rig.principal, *run("c"))
        await settled(rig)
    assert sorted(taken.names()) == ["a", "a-0", "c", "c-0"]


async def test_who_does_not_lead_forwards_nothing(rig: Rig) -> None:
    """And who loses the lead with a request on its way sends none after it; the next one sends it again."""
    leads = False
    taken = Taken()
    await begin(rig)
    await append(rig, rig.principal, *run("a"))

    def may_send() -> bool:
        return leads

    async with forwarding_from(rig, taken, may_send) as forwarder:
        leads, taken.statuses = True, [503] * 10_000
        await wait_until_async(lambda: forwarder.deliveries.failures > 3, "attempts")
        leads = False
        await wait_until_async(lambda: not forwarder._at_work, "an end of it")
        assert await rig.store.forwarding_waits(-1, 10)
        taken.statuses, leads = [], True
        await settled(rig)
    assert sorted(taken.names()) == ["a", "a-0"]
