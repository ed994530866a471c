"""Appending: order, density, all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import msgspec
import pytest

from tests.contract.test_audit import ALL, entry
from tests.contract.test_members import member, session
from tests.store.sqlite.alerts.test_alerts import alert, delivery, delivery_body, rule
from tests.store.sqlite.approvals.test_approvals import approval
from tests.store.sqlite.money.test_budgets import budget
from tests.support.factories import chained, event, run_changes, run_row
from tests.support.lookups import looked_up
from towerlog.errors import Damaged, StorageFailed
from towerlog.model.agent import AgentRow
from towerlog.model.alert import WindowCount
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.budget import Reservation
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import Event, EventType
from towerlog.model.facts import Effects, Erases, Facts
from towerlog.model.key import Key
from towerlog.model.lane import Lane, QueueState
from towerlog.model.member import SignInLink
from towerlog.model.names import message_name, metas_name, prefix_names
from towerlog.model.price import PriceRow, Rates
from towerlog.model.principal import Counters, shard_key
from towerlog.model.retention import Erasing, RetentionPolicy
from towerlog.model.run import Status
from towerlog.model.run_text import RunText
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import Usage, UsageRow
from towerlog.store.base import Store
from towerlog.store.content import HistoryNode, Message, MetaList
from towerlog.store.values import (
    MAX_QUARANTINED,
    MAX_QUARANTINED_BYTES,
    Changes,
    Kind,
    Quarantined,
    RunChange,
    StoredReply,
    UsageSpan,
)

APPENDERS = 12
ROUNDS = 5


async def append_next(store: Store, org: int, run: int) -> int:
    """One event more in a run, by whoever comes; its position."""
    async with store.begin() as unit:
        numbers: Counters = (await looked_up(unit, Kind.COUNTERS, org))[org]
        before = (await looked_up(unit, Kind.RUN, shard_key(org, run))).get(shard_key(org, run))
        position, seq = numbers.position + 1, 1 if before is None else before.last_seq + 1
        after = msgspec.structs.replace(before or run_row(run, org=org), last_seq=seq, last_position=position)
        changes = run_changes(after, [event(position, seq, org=org, run=run)], before=before)
        changes.counters = {org: Counters(position, max(numbers.runs, run), numbers.agents)}
        await unit.commit(changes)
    return position


async def test_positions_rise_by_commit_order(store: Store, org: int, other: int) -> None:
    acknowledged: list[int] = []

    async def append(run: int) -> None:
        for _ in range(ROUNDS):
            acknowledged.append(await append_next(store, org, run))
            await append_next(store, other, run)

    await asyncio.gather(*(append(run) for run in range(1, APPENDERS + 1)))
    everything = list(range(1, APPENDERS * ROUNDS + 1))
    assert acknowledged == everything
    for one in (org, other):
        assert [stored.position for stored in await store.log(one, 0, 1000)] == everything


async def test_concurrent_appends_never_show_a_gap_that_fills_later(store: Store, org: int) -> None:
    appending = asyncio.gather(
        *(append_next(store, org, run) for run in range(1, APPENDERS + 1) for _ in range(ROUNDS))
    )
    seen: list[int] = []
    looks = 0
    while len(seen) < APPENDERS * ROUNDS:
        positions = [stored.position for stored in await store.log(org, 0, 1000)]
        assert positions == list(range(1, len(positions) + 1)), "a reader saw a hole"
        assert len(positions) >= len(seen), "what was seen is gone"
        seen, looks = positions, looks + 1
    await appending
    assert looks > 1


async def test_seq_is_dense_per_run(store: Store, org: int) -> None:
    runs = (1, 2, 3)
    await asyncio.gather(*(append_next(store, org, run) for _ in range(ROUNDS) for run in runs for _ in range(2)))
    for run in runs:
        events = await store.events(org, shard_key(org, run), 0, 1000)
        assert [stored.seq for stored in events] == list(range(1, 2 * ROUNDS + 1))
        assert [stored.position for stored in events] == sorted(stored.position for stored in events)


async def commit(store: Store, changes: Changes) -> None:
    async with store.begin() as unit:
        await unit.commit(changes)


async def test_a_place_is_taken_once(store: Store, org: int) -> None:
    row = run_row(org=org, last_seq=1, last_position=1)
    await commit(store, run_changes(row, [event(1, 1, org=org)]))
    for position, seq in ((1, 2), (2, 1)):
        with pytest.raises(StorageFailed):
            await commit(store, run_changes(row, [event(position, seq, org=org)], before=row))
    assert [(stored.position, stored.seq) for stored in await store.log(org, 0, 10)] == [(1, 1)]


async def test_an_event_id_appends_once(store: Store, org: int) -> None:
    row, second = run_row(1, org=org), run_row(2, org=org)
    await commit(store, run_changes(row, [event(1, 1, org=org, event_id="a")]))
    await commit(store, run_changes(second, [event(2, 1, org=org, run=2, event_id="a")]))
    with pytest.raises(StorageFailed):
        await commit(store, run_changes(row, [event(3, 2, org=org, event_id="a")], before=row))
    async with store.begin() as unit:
        found = await looked_up(unit, Kind.EVENT_ID, (row.run, "a"), (second.run, "a"), (row.run, "b"))
    assert {key: stored.position for key, stored in found.items()} == {(row.run, "a"): 1, (second.run, "a"): 2}


MESSAGE, METAS = message_name(b"{}"), metas_name(b"[{}]")
NODE = prefix_names([MESSAGE])[0]


def everything(org: int, *, poison: bool) -> Changes:
    """One row of every kind; the last event, when poisoned, takes a place that is taken."""
    row = run_row(2, org=org, thread_id="new", last_seq=2, last_position=3)
    events = [event(2, 1, org=org, run=2), event(3, 1 if poison else 2, org=org, run=2)]
    return Changes(
        events=chained(events),
        runs={row.run: RunChange(None, row)},
        threads={(org, "new"): ThreadRow(org, "new", 5)},
        agents={shard_key(org, 1): AgentRow(shard_key(org, 1), org, "agent-id", "agent", 5)},
        usage={(org, 7, "agent", "", "running"): UsageRow(org, 7, "agent", "", "running", 1, usage=Usage(1))},
        checkpoints={(row.run, "agent", 0): checkpoint(org, row.run)},
        lanes={row.run: Lane(row.run, org, QueueState.QUEUED, "agent", 5)},
        messages=[Message(org, MESSAGE, b"{}")],
        nodes=[HistoryNode(org, NODE, b"", MESSAGE, 1)],
        metas=[MetaList(org, METAS, b"", b"[{}]")],
        quarantined=[Quarantined(org, row.run, 5, "w", 1, "step", None, b"{}")],
        replies=[StoredReply(org, "route\nkey", b"digest", 200, b"{}", 5)],
        keys=[Key(org, "new-key", "user", "name", (), b"new-digest", "tl_", 5)],
        counters={org: Counters(3, 2, 1)},
        approvals={(row.run, 2): approval(org, row.run, 2)},
        spent_links={(org, "nonce"): 100},
        budgets={(org, "b1"): budget(org, 1)},
        budget_pauses={(org, "b1", row.run): True},
        reservations={(org, "r"): Reservation(org, "r", row.run, 5, 1000, 2000)},
        retention={(org, Erases.EVENTS): RetentionPolicy(org, Erases.EVENTS, 60_000)},
        erasing=[Erasing(row.run, org, Erases.EVENTS, 2)],
        prices={(org, "p"): PriceRow(org, "p", 1, "m", Rates(), 0)},
        alert_rules={(org, "r1"): rule(org, 1)},
        alerts={(org, "a1"): alert(org, "a1")},
        alert_windows={(org, "r1", 5): WindowCount(1, 1, 1)},
        deliveries={(org, "d1"): delivery(org, "d1")},
        delivery_bodies={(org, "b1"): delivery_body(org, "b1", (AlertChannel(ChannelType.IN_APP),))},
        audit=[entry(org, "new")],
        users={(org, (ada := member(org, 7, "Ada")).user_id): ada},
        sessions=[session(ada, 1)],
        texts={row.run: RunText(row.run, org, about="poppy", anew=True)},
        sign_in_links={(org, b"link"): SignInLink(org, "link-1", b"link", ada.user_id, 5, 100)},
    )


OF_OTHERS = {
    "ended": "takes rows of `approvals` away",
    "sessions_over": "takes rows of `sessions` away",
    "renewed": "says how rows of `lanes` are written",
    "spreads": "of a cancel, beside its run",
    "moved": "takes rows of `checkpoints` to another thread, see `test_rows`",
    "left_threads": "takes rows of `threads` away, see `test_rows`",
    "reply_bodies": "of `replies`",
    "personas": "written as keys are, see `test_registry`",
    "routes": "written as keys are, see `test_registry`",
    "replaces": "a rebuild, see `test_rows`",
}
"""Members of `Changes` that are no kind of row, or are shown elsewhere."""


def test_everything_is_all_that_a_commit_may_change() -> None:
    empty, full = Changes(), everything(1, poison=False)
    same = {name for name in Changes.__struct_fields__ if getattr(empty, name) == getattr(full, name)}
    assert same == set(OF_OTHERS)


def checkpoint(org: int, run: int) -> CheckpointRow:
    """A checkpoint that waits."""
    status = "waiting_for_approval"
    return CheckpointRow(org, run, "agent", 0, "new", status, 1, 2, NODE.hex(), 1, True, "d", 5, 5)


async def kept(content: Awaitable[list[bytes]]) -> bool:
    """Whether content is there: what is not is refused."""
    try:
        return bool(await content)
    except Damaged:
        return False


async def rows_found(store: Store, org: int) -> dict[str, bool]:
    """Of each kind of row in `everything`, whether it is there."""
    run = shard_key(org, 2)
    async with store.begin() as unit:
        return {
            "events": bool(await store.events(org, run, 0, 10)),
            "runs": await store.run(org, run_row(2, org=org).run_id) is not None,
            "threads": await store.thread(org, "new") is not None,
            "agents": await store.agent(org, "agent-id") is not None,
            "usage": bool(await store.usage_by(org, "hour", UsageSpan(0, 10), 10)),
            "checkpoints": bool(await store.checkpoints(org, run, 10, None)),
            "lanes": await store.lane(org, run) is not None,
            "messages and nodes": await kept(store.history(org, NODE, 1)),
            "metas": await kept(store.metas(org, METAS)),
            "nodes": await looked_up(unit, Kind.NODES, nodes := (org, (NODE,))) == {nodes: 1},
            "quarantined": bool(await store.quarantined(org, run, 10, 0)),
            "replies": bool(await looked_up(unit, Kind.REPLY, (org, "route\nkey"))),
            "keys": bool(await looked_up(unit, Kind.KEY, (org, "new-key"))),
            "counters": (await looked_up(unit, Kind.COUNTERS, org))[org].position == 3,
            "approvals": await store.approval(org, run, 2) is not None,
            "spent links": bool(await looked_up(unit, Kind.SPENT_LINK, (org, "nonce"))),
            "budgets": await store.budget(org, "b1") is not None,
            "reservations": bool(await looked_up(unit, Kind.RESERVATION, (org, "r"))),
            "prices": await store.price(org, "p") is not None,
            "alert rules": await store.alert_rule(org, "r1") is not None,
            "alerts": await store.alert(org, "a1") is not None,
            "alert windows": (await unit.alert_window(org, "r1", 0)).runs > 0,
            "deliveries": await store.delivery(org, "d1") is not None,
            "delivery_bodies": org in await store.bodies_waiting(org - 1, 1),
            "texts": bool((await store.rows(org)).texts),
            "users": any(user.name == "Ada" for user in await store.members(org, 10, None)),
            "sessions": await store.key_by_digest(b"session 1") is not None,
            "sign-in links": bool(await looked_up(unit, Kind.SIGN_IN_LINK, (org, b"link"))),
            "audit": any(row.entry.object_id == "new" for row in (await store.audit(org, ALL, 100, None))[0]),
        }


async def test_a_failed_batch_leaves_nothing(store: Store, org: int) -> None:
    row = run_row(org=org, last_seq=1, last_position=1)
    await commit(store, run_changes(row, [event(1, 1, org=org)]))
    with pytest.raises(StorageFailed):
        await commit(store, everything(org, poison=True))
    assert set((await rows_found(store, org)).values()) == {False}
    assert [stored.position for stored in await store.log(org, 0, 10)] == [1]
    # The store goes on: the same without the poison is all there.
    await commit(store, everything(org, poison=False))
    assert set((await rows_found(store, org)).values()) == {True}


async def test_a_unit_that_does_not_commit_leaves_nothing(store: Store, org: int) -> None:
    class Abandoned(Exception):
        """The planner gave up."""

    async def give_up() -> None:
        async with store.begin() as unit:
            await looked_up(unit, Kind.COUNTERS, org)
            raise Abandoned

    with pytest.raises(Abandoned):
        await give_up()
    assert await append_next(store, org, 1) == 1


async def test_one_unit_at_a_time(store: Store, org: int) -> None:
    inside = 0

    async def look() -> None:
        nonlocal inside
        async with store.begin() as unit:
            inside += 1
            assert inside == 1, "two units were open at once"
            await looked_up(unit, Kind.COUNTERS, org)
            inside -= 1

    await asyncio.gather(*(look() for _ in range(8)))


async def test_a_commit_is_whole_or_nothing_when_its_caller_goes(store: Store, org: int) -> None:
    for turns in range(4):
        before = len(await store.log(org, 0, 100))
        appending = asyncio.create_task(append_next(store, org, 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        appending.cancel()
        await asyncio.wait([appending])
        async with store.begin() as unit:  # behind whatever the commit still does
            position = (await looked_up(unit, Kind.COUNTERS, org))[org].position
        stored = await store.log(org, 0, 100)
        assert len(stored) - before in (0, 1)
        assert [one.position for one in stored] == list(range(1, position + 1))
        assert [one.seq for one in await store.events(org, shard_key(org, 1), 0, 100)] == list(range(1, position + 1))


async def test_a_trim_waits_for_the_unit_that_is_open(store: Store, org: int) -> None:
    for _ in range(3):
        await append_next(store, org, 1)
    run = shard_key(org, 1)
    async with store.begin() as unit:
        trimming = asyncio.create_task(store.run_trim(org, run, 3))
        for _ in range(3):
            assert await looked_up(unit, Kind.EVENT_ID) == {}
            assert len(await store.events(org, run, 0, 10)) == 3
        assert not trimming.done()
    await trimming
    assert [one.seq for one in await store.events(org, run, 0, 10)] == [3]


BODIES = [
    b"{}",
    b'{"text":"\\u0000 NUL and \\ud83d\\ude00 and a lone \\ud800"}',
    '{"text":"ünïcode 𝄞"}'.encode(),
    b'{"b":1,"a":2,"b":3}',
    b'{"n":123456789012345678901234567890,"f":1e400,"z":-0.0}',
    b'{"big":"' + b"x" * 100_000 + b'"}',
    b'{"noise":"' + bytes(33 + n * 7919 % 90 for n in range(5000)).replace(b"\\", b"/").replace(b'"', b"'") + b'"}',
]


async def test_what_goes_in_comes_out(store: Store, org: int) -> None:
    row = run_row(org=org)
    facts = Facts(name="own", error="e\0", effects=Effects(status=Status.PAUSED, metadata=msgspec.Raw(b'{"k":[1]}')))
    sent: list[Event] = []
    for number, body in enumerate(BODIES, start=1):
        sent.append(
            event(
                number,
                number,
                org=org,
                type=list(EventType)[number],
                data=body,
                facts=facts,
                facts_json=msgspec.json.encode(facts),
                dialect="steps",
                occurred_at=number,
                event_id=f"id ünï {number}",
                agent=shard_key(org, 4),
                late=number % 2 == 0,
                future=number % 3 == 0,
            )
        )
    changes = run_changes(row, sent)
    sent = changes.events
    await commit(store, changes)
    back = await store.events(org, row.run, 0, 100)
    assert [msgspec.structs.replace(one, facts=facts) for one in back] == sent
    assert [msgspec.json.encode(one.facts) for one in back] == [msgspec.json.encode(facts)] * len(sent)
    assert await store.log(org, 0, 100) == back
    assert await store.events_at(org, row.run, [2, 99]) == {2: back[1]}


async def test_what_is_quarantined_is_kept_once_and_never_without_a_bound(store: Store, org: int) -> None:
    row = run_row(1, org=org)
    item = Quarantined(org, row.run, 5, "w", 1, "step", None, b"{}")
    changes = run_changes(row, [event(1, 1, org=org)])
    changes.quarantined = [
        item,
        msgspec.structs.replace(item, recorded_at=9),
        msgspec.structs.replace(item, data=b"[]"),
    ]
    async with store.begin() as unit:
        await unit.commit(changes)
    kept = await store.quarantined(org, row.run, 10, 0)
    assert [(number, one.data) for number, one in kept] == [(1, b"{}"), (2, b"[]")]
    async with store.begin() as unit:
        await unit.commit(Changes(quarantined=[Quarantined(org, row.run + 1, 5, "w", 1, "step", None, b"{}")]))
    assert [number for number, _ in await store.quarantined(org, row.run + 1, 10, 0)] == [1], "the run's own numbers"
    flood = [msgspec.structs.replace(item, event_id=str(n)) for n in range(MAX_QUARANTINED + 5)]
    async with store.begin() as unit:
        await unit.commit(Changes(quarantined=flood))
    assert len(await store.quarantined(org, row.run, 2 * MAX_QUARANTINED, 0)) == MAX_QUARANTINED
    result = msgspec.structs.replace(item, key_id="another", data=b'{"result":1}')
    async with store.begin() as unit:
        await unit.commit(Changes(quarantined=[result]))
    [(_, kept_last)] = await store.quarantined(org, row.run, 10, MAX_QUARANTINED)
    assert kept_last == result, "one key does not take the room of another"


async def test_what_is_quarantined_has_a_bound_in_bytes(store: Store, org: int) -> None:
    row, size = run_row(1, org=org), MAX_QUARANTINED_BYTES // 8
    changes = run_changes(row, [event(1, 1, org=org)])
    changes.quarantined = [
        Quarantined(org, row.run, 5, "w", 1, "step", None, b'"%d%s"' % (n, b"x" * size)) for n in range(12)
    ]
    async with store.begin() as unit:
        await unit.commit(changes)
    kept: list[int] = []
    while more := await store.quarantined(org, row.run, 100, kept[-1] if kept else 0):
        kept += [number for number, _ in more]
    # As it is stored, which may take more than it was.
    assert 4 <= len(kept) <= 8, "and what is beyond it is left out"
