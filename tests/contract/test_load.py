"""Loading many rows in one question: the same as each by itself, the absent left out, other organisations' too."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from tests.support.factories import event, identity, run_changes, run_row
from tests.support.lookups import looked_up
from towerlog.engine.plan.plan import encode_facts
from towerlog.model.agent import AgentRow
from towerlog.model.event import EventType, RunByForeignId, RunById, RunByTrace
from towerlog.model.facts import NO_FACTS, Facts, LinkAbove
from towerlog.model.lane import Lane, QueueState
from towerlog.model.principal import shard_key
from towerlog.model.thread import ThreadRow
from towerlog.store.base import Store
from towerlog.store.content import HistoryNode
from towerlog.store.lookup_keys import Claimant, Family, Parent, SpanWay
from towerlog.store.values import Changes, Kind, ReplyBody, StoredReply

NOW_MS = 100


async def fill(store: Store, org: int) -> Changes:
    """Two runs, the second below the first, and what belongs to them."""
    rows = [
        run_row(1, org=org, foreign_id="steps:1", last_seq=2, last_position=2),
        run_row(2, org=org, parent_key="foreign:steps:1", last_seq=1, last_position=3),
    ]
    events = [
        event(1, 1, org=org, event_id="id"),
        event(2, 2, org=org, type=EventType.RUN_STARTED),
        event(3, 1, org=org, run=2),
    ]
    changes = run_changes(rows[0], events[:2])
    changes.events.append(events[2])
    changes.runs |= run_changes(rows[1], events[2:]).runs
    changes.threads = {(org, "thread-1"): ThreadRow(org, "thread-1", 5)}
    changes.agents = {shard_key(org, 1): AgentRow(shard_key(org, 1), org, f"agent-{org}", "a", 5)}
    lanes = [
        Lane(row.run, org, QueueState.QUEUED, "a", 5, {"gpu": "yes"}, queue_position=9 - row.run % 7) for row in rows
    ]
    changes.lanes = {lane.run: lane for lane in lanes}
    changes.nodes = [
        HistoryNode(org, bytes([n]) * 16, bytes([n - 1]) * 16 if n else b"", b"m" * 16, n + 1) for n in range(3)
    ]
    changes.replies = [StoredReply(org, "POST /a\nk", b"d", 0, b"", 5, ids=b"{}")]
    async with store.begin() as unit:
        await unit.commit(changes)
    return changes


async def asked(store: Store, kind: Kind, *keys: Any) -> dict[Any, Any]:
    async with store.begin() as unit:
        return await looked_up(unit, kind, *keys, now_ms=NOW_MS)


async def test_rows_are_found_by_name_and_by_number(store: Store, org: int, other: int) -> None:
    changes = await fill(store, org)
    first, second = (change.after for change in changes.runs.values())
    refs = [RunById(first.run_id), RunByForeignId("steps:1", ""), RunByTrace(first.thread_id, first.trace_id)]
    found = await asked(store, Kind.REF, *((org, ref) for ref in refs), (other, refs[0]), (org, RunById("none")))
    assert found == {(org, ref): first for ref in refs}
    assert await asked(store, Kind.RUN, first.run, second.run, 7) == {first.run: first, second.run: second}
    assert await asked(store, Kind.THREAD, (org, "thread-1"), (other, "thread-1")) == changes.threads
    assert list(await asked(store, Kind.AGENT, (org, "a"), (other, "a"), (org, "b"))) == [(org, "a")]
    assert list(await asked(store, Kind.AGENT_ID, (org, f"agent-{org}"), (other, f"agent-{org}"))) == [
        (org, f"agent-{org}")
    ]
    assert await asked(store, Kind.LANE, first.run, 7) == {first.run: changes.lanes[first.run]}


async def test_events_are_found_by_id_by_seq_and_by_their_start(store: Store, org: int) -> None:
    changes = await fill(store, org)
    run = changes.events[0].run
    assert list(await asked(store, Kind.EVENT_ID, (run, "id"), (run, "none"))) == [(run, "id")]
    assert list(await asked(store, Kind.EVENT, (run, 2), (run, 9))) == [(run, 2)]
    assert {key: one.seq for key, one in (await asked(store, Kind.STARTED, run, run + 1)).items()} == {run: 2}


async def test_the_newest_account_of_a_response_is_found_in_any_run_of_its_organisation(
    store: Store, org: int, other: int
) -> None:
    rows = [run_row(run, org=org, last_seq=run, last_position=position) for run, position in ((1, 1), (2, 3))]
    events = [event(1, 1, org=org, event_id="response:a"), event(2, 1, org=org, run=2, event_id="other:a")]
    events.append(event(3, 2, org=org, run=2, event_id="response:a"))
    changes = run_changes(rows[0], events[:1])
    changes.events += events[1:]
    changes.runs |= run_changes(rows[1], events[1:]).runs
    async with store.begin() as unit:
        await unit.commit(changes)
    keys = [(org, "response:a"), (org, "response:b"), (org, "other:a"), (other, "response:a")]
    found = await asked(store, Kind.RESPONSE, *keys)
    assert {key: (one.position, one.data) for key, one in found.items()} == {(org, "response:a"): (3, b"")}


async def test_a_claim_is_offered_what_it_may_take_in_order_and_no_more(store: Store, org: int, other: int) -> None:
    changes = await fill(store, org)
    labels = (("gpu", "yes"),)
    in_order = sorted(changes.lanes.values(), key=lambda lane: lane.queue_position)
    keys = [Claimant(org, None, labels, 5), Claimant(org, ("a",), labels, 1)]
    nothing = [Claimant(org, None, (), 5), Claimant(org, ("b",), labels, 5), Claimant(other, None, labels, 5)]
    found = await asked(store, Kind.CLAIMS, *keys, *nothing)
    assert [lane for lane, _ in found[keys[0]]] == in_order
    assert [lane for lane, _ in found[keys[1]]] == in_order[:1]
    assert all(row.run == lane.run for lane, row in found[keys[0]])
    assert [found[key] for key in nothing] == [[], [], []]


async def test_a_family_a_prefix_and_a_reply(store: Store, org: int, other: int) -> None:
    changes = await fill(store, org)
    first, second = (change.after for change in changes.runs.values())
    parent = Parent(first.run, org, first.run_id, first.thread_id, first.trace_id, first.foreign_id or "")
    family = Family(parent, False)
    assert await asked(store, Kind.FAMILY, family) == {family: [second]}
    prefixes = tuple(bytes([n]) * 16 for n in range(5))
    assert await asked(store, Kind.NODES, (org, prefixes), (other, prefixes)) == {
        (org, prefixes): 3,
        (other, prefixes): 0,
    }
    assert await asked(store, Kind.COUNTERS, org, other) == {
        org: changes.counters[org],
        other: msgspec.structs.replace(changes.counters[org], position=0, runs=0, agents=0),
    }


async def test_a_reply_is_stored_once_behind_its_ids(store: Store, org: int, other: int) -> None:
    [kept] = (await fill(store, org)).replies
    key = (org, kept.name)
    assert await asked(store, Kind.REPLY, key, (other, kept.name)) == {key: kept}
    for body in (b"first", b"second"):
        async with store.begin() as unit:
            await unit.commit(Changes(reply_bodies=[ReplyBody(org, kept.name, 201, body)]))
    whole = msgspec.structs.replace(kept, status=201, body=b"first")
    assert await asked(store, Kind.REPLY, key) == {key: whole}


async def test_a_user_is_found_in_their_own_organisation(store: Store, org: int, other: int) -> None:
    _, ours, _, _ = identity(1)
    found = await asked(store, Kind.USER, (org, ours.user_id), (other, ours.user_id), (org, "the night shift"))
    assert found == {(org, ours.user_id): msgspec.structs.replace(ours, org=org)}


@pytest.mark.every_value
async def test_the_spans_above_a_span_are_found_at_once(store: Store, org: int, other: int) -> None:
    """Whichever of its ids a span is stored under, in any run of its trace, through what is not stored, and no
    further than is asked for."""
    first, second = (run_row(run, org=org, last_seq=3, last_position=3 * run) for run in (1, 2))
    told: list[tuple[str, int, str | None]] = [
        ("a1", 1, "a0"),
        ("a2.start", 2, "a1"),
        ("a3.call", 1, "a2"),
        ("a4", 2, "a3"),
        ("d1", 1, None),
        ("b1", 1, "b2"),
    ]
    told.append(("b2", 2, "b1"))
    seqs = Counter[int]()
    events = []
    for position, (event_id, run, above) in enumerate(told, 1):
        seqs[run] += 1
        facts = NO_FACTS if above is None else Facts(error='"parent_span_id":"c0"', parent_span_id=above)
        events.append(
            event(
                position,
                seqs[run],
                org=org,
                run=run,
                event_id=event_id,
                facts=facts,
                facts_json=encode_facts(facts) if above else b"",
            )
        )
    by_run = [[one for one in events if one.run == row.run] for row in (first, second)]
    changes = run_changes(first, by_run[0])
    changes.events[:] = events
    changes.runs |= run_changes(second, by_run[1]).runs
    async with store.begin() as unit:
        await unit.commit(changes)
    runs = first.run, second.run
    links = {name: LinkAbove(above, False) for name, _, above in told if "." not in name}
    whole = ["a4", "a3", "a2", "a1", "a0"]
    expected = {
        SpanWay(org, runs, "a4", 99): whole,
        SpanWay(org, runs, "a4", 2): ["a4", "a3"],
        SpanWay(org, runs[:1], "a3", 99): ["a3", "a2"],
        SpanWay(org, runs, "b1", 99): ["b1", "b2"],
        SpanWay(org, runs, "c1", 99): ["c1"],
        SpanWay(org, runs, "d1", 99): ["d1"],
        SpanWay(org, runs, "a2", 99, unstored='{"a0":"b1","a2":"c0"}'): ["a2", "a1", "a0", "b1", "b2"],
        SpanWay(org, runs, "a4", 99, turns='{"a3":"b2"}'): ["a4", "a3", "b2", "b1"],
    }
    for way, spans in expected.items():
        assert await asked(store, Kind.SPAN_WAY, way) == {way: {one: links.get(one) for one in spans}}, way
    others = SpanWay(other, tuple(run_row(run, org=other).run for run in (1, 2)), "a4", 99)
    together = [SpanWay(org, runs, "a2", 2), SpanWay(org, runs, "a4", 5)]
    found = await asked(store, Kind.SPAN_WAY, *together, SpanWay(org, runs, "b1", 9, turns='{"b1":"c0"}'), others)
    assert [found[way].keys() for way in together] == [set(whole), set(whole)]
    assert (len(found), found[others]) == (4, {"a4": None})
