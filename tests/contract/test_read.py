"""Reading: after is exclusive, pages keep the order, filters say what a full scan says, organisations are apart."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.factories import event, identity, run_changes, run_row
from tests.support.fakes import START_MS
from tests.support.lookups import looked_up
from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import EventType, RunByForeignId, RunById, RunByTrace
from towerlog.model.key import Key
from towerlog.model.lane import Lane, QueueState
from towerlog.model.names import message_name, metas_name, prefix_names
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.principal import Counters, shard_key
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import UsageRow
from towerlog.store.base import Store
from towerlog.store.content import HistoryNode, Message, MetaList
from towerlog.store.lookup_keys import Claimant, Family, Parent
from towerlog.store.values import Changes, Kind, Quarantined, RunChange, StoredReply, UsageSpan

EVENTS = 23
PAGES = (1, 2, 7, EVENTS, 1000)


async def commit(store: Store, changes: Changes) -> None:
    async with store.begin() as unit:
        await unit.commit(changes)


async def fill(store: Store, org: int) -> RunRow:
    """One run with many events, every third in the feed of agent 1; many of everything else that has pages."""
    row = run_row(1, org=org, last_seq=EVENTS, last_position=EVENTS)
    agent = shard_key(org, 1)
    kinds = (EventType.STEP, EventType.TOOL_CALL, EventType.LANE_REPORT)
    events = [event(n, n, org=org, type=kinds[n % 3], agent=agent) for n in range(1, EVENTS + 1)]
    more = {shard_key(org, n): RunChange(None, run_row(n, org=org)) for n in range(2, EVENTS + 1)}
    changes = run_changes(row, events)
    changes.counters = {org: Counters(EVENTS, EVENTS, EVENTS)}
    changes.runs |= more
    # Two of each time: what was made in one moment has an order too.
    changes.threads = {(org, f"t{n:02}"): ThreadRow(org, f"t{n:02}", START_MS + n // 2) for n in range(EVENTS)}
    names = {shard_key(org, n): f"agent {n:02}" for n in range(1, EVENTS + 1)}
    changes.agents = {n: AgentRow(n, org, f"id-{n}", name, 5) for n, name in names.items()}
    changes.keys = [
        Key(org, f"key-{n:02}", "u", "n", (), b"digest %d %d" % (org, n), "tl_", START_MS + n // 2)
        for n in range(EVENTS)
    ]
    changes.checkpoints = {(row.run, f"a{n % 2}", n // 2): _checkpoint(org, row.run, n) for n in range(EVENTS)}
    changes.quarantined = [Quarantined(org, row.run, 5, "w", n, "step", None, b"{}") for n in range(EVENTS)]
    await commit(store, changes)
    return row


def _checkpoint(org: int, run: int, n: int) -> CheckpointRow:
    return CheckpointRow(org, run, f"a{n % 2}", n // 2, "t", "completed", 1, n, "", 0, True, "", 5, 5)


Ask = Callable[[Any, int], Awaitable[list[Any]]]


def listings(store: Store, org: int, run: int) -> dict[str, tuple[Any, Ask, Callable[[Any], Any]]]:
    """Every list with pages: where it begins, how a page is asked for, and the cursor of an entry."""
    agent = shard_key(org, 1)
    wanted = RunFilter()
    return {
        "events": (0, lambda after, n: store.events(org, run, after, n), lambda e: e.seq),
        "log": (0, lambda after, n: store.log(org, after, n), lambda e: e.position),
        "feed": (0, lambda after, n: store.feed(org, agent, n, after), lambda e: e.position),
        "runs": (None, lambda before, n: store.runs(org, wanted, n, before), lambda row: row.run),
        "threads": (None, lambda before, n: store.threads(org, n, before), lambda row: row.thread_id),
        "agents": (None, lambda after, n: store.agents(org, n, after, None), lambda row: row.name),
        "keys": (None, lambda before, n: store.keys(org, n, before), lambda key: key.key_id),
        "checkpoints": (
            None,
            lambda after, n: store.checkpoints(org, run, n, after),
            lambda row: (row.step_index, row.agent),
        ),
        "quarantined": (0, lambda after, n: store.quarantined(org, run, n, after), lambda pair: pair[0]),
    }


LISTS = ("events", "log", "feed", "runs", "threads", "agents", "keys", "checkpoints", "quarantined")
NEWEST_FIRST = {"runs", "threads", "keys"}


@pytest.mark.parametrize("name", LISTS)
async def test_after_is_exclusive(store: Store, org: int, other: int, name: str) -> None:
    row = await fill(store, org)
    await fill(store, other)
    begin, ask, cursor_of = listings(store, org, row.run)[name]
    everything = await ask(begin, 1000)
    assert len(everything) >= EVENTS // 3
    for index, entry in enumerate(everything):
        assert await ask(cursor_of(entry), 1000) == everything[index + 1 :]


@pytest.mark.parametrize("name", LISTS)
async def test_a_page_never_splits_order(store: Store, org: int, name: str) -> None:
    row = await fill(store, org)
    begin, ask, cursor_of = listings(store, org, row.run)[name]
    everything = await ask(begin, 1000)
    cursors = [cursor_of(entry) for entry in everything]
    assert len(set(cursors)) == len(cursors)
    if name not in ("threads", "keys"):  # those are ordered by their time first
        assert cursors == sorted(cursors, reverse=name in NEWEST_FIRST)
    for size in PAGES:
        paged: list[Any] = []
        cursor = begin
        while page := await ask(cursor, size):
            assert len(page) <= size
            paged += page
            cursor = cursor_of(page[-1])
        assert paged == everything


async def test_threads_and_keys_are_newest_first(store: Store, org: int) -> None:
    await fill(store, org)
    for found in (await store.threads(org, 100, None), await store.keys(org, 100, None)):
        times = [entry.created_at for entry in found]
        assert times == sorted(times, reverse=True)


async def test_a_cursor_beyond_the_end_finds_nothing(store: Store, org: int) -> None:
    row = await fill(store, org)
    for beyond in (EVENTS, EVENTS + 1, 2**62, 2**80):
        assert await store.events(org, row.run, beyond, 10) == []
        assert await store.log(org, beyond, 10) == []
        assert await store.feed(org, shard_key(org, 1), 10, beyond) == []
        assert await store.quarantined(org, row.run, 10, beyond) == []


async def test_the_newest_of_a_feed_come_oldest_first(store: Store, org: int) -> None:
    await fill(store, org)
    agent = shard_key(org, 1)
    everything = await store.feed(org, agent, 1000, 0)
    assert {one.type for one in everything} == {EventType.TOOL_CALL}
    assert await store.feed(org, agent, 3, None) == everything[-3:]
    assert await store.feed(org, agent, 1000, None) == everything


async def test_types_are_a_filter_of_a_run(store: Store, org: int) -> None:
    row = await fill(store, org)
    everything = await store.events(org, row.run, 0, 1000)
    steps = await store.events(org, row.run, 4, 1000, ["step"])
    assert steps == [one for one in everything if one.type is EventType.STEP and one.seq > 4]
    assert await store.events(org, row.run, 0, 1000, []) == []


NAMES = ("alpha", "Beta", "ÉCOLE", "école", "100%", "a_b", "ΑΒΓ", "'; --")


def random_run(chance: random.Random, n: int, org: int) -> RunRow:
    """A run whose every searchable field is drawn. No run calls itself its parent."""
    trace = chance.randrange(5)
    parent = (trace + chance.randrange(1, 5)) % 5
    return run_row(
        n,
        org=org,
        thread_id=chance.choice(NAMES) + str(chance.randrange(4)),
        trace_id=f"trace-{trace}",
        foreign_id=chance.choice([None, f"steps:{chance.choice(NAMES)}"]),
        status=chance.choice(list(Status)),
        agent=chance.choice([None, *NAMES]),
        model=chance.choice([None, "m1", "m2"]),
        persona_id=chance.choice([None, "p"]),
        parent_key=chance.choice([None, f"trace:trace-{parent}", f"run:{run_row(3 if n != 3 else 4, org=org).run_id}"]),
        created_at=START_MS + chance.randrange(50),
    )


def random_filter(chance: random.Random, org: int) -> RunFilter:
    """Some conditions."""

    def maybe(value: Any) -> Any:
        return value if chance.random() < 0.3 else None

    name = chance.choice(NAMES)
    parent = run_row(chance.choice([3, 4, 999, *range(60, 81)]), org=org)
    return RunFilter(
        statuses=maybe(tuple(chance.sample(list(Status), chance.randrange(4)))),
        agent=maybe(name),
        thread_id=maybe(chance.choice(NAMES) + str(chance.randrange(4))),
        model=maybe("m1"),
        persona_id=maybe("p"),
        parent_run_id=maybe(parent.run_id),
        since=maybe(START_MS + chance.randrange(50)),
        until=maybe(START_MS + chance.randrange(50)),
        q=maybe(chance.choice([name, name.upper(), name.lower(), name[1:], "trace-1", "STEPS:", "nowhere"])),
    )


def parent_of(row: RunRow, everything: list[RunRow]) -> str | None:
    """A trace names the newest of its runs before the child in the child's own thread, else the first after it; where
    that thread has none, the same anywhere."""
    kind, _, name = (row.parent_key or "").partition(":")
    if kind != "trace":
        return name or None
    named = [other for other in everything if other.trace_id == name and other.run != row.run]
    near = [other for other in named if other.thread_id == row.thread_id] or named
    before = [other for other in near if other.run < row.run]
    return (before[-1] if before else near[0]).run_id if near else None


def matches(row: RunRow, wanted: RunFilter, everything: list[RunRow]) -> bool:
    """What a filter means, said once more without a database."""
    for field in ("agent", "thread_id", "model", "persona_id"):
        value = getattr(wanted, field)
        if value is not None and getattr(row, field) != value:
            return False
    if wanted.statuses is not None and row.status not in wanted.statuses:
        return False
    if wanted.since is not None and row.created_at < wanted.since:
        return False
    if wanted.until is not None and row.created_at >= wanted.until:
        return False
    if wanted.parent_run_id is not None and wanted.parent_run_id != parent_of(row, everything):
        return False
    texts = (row.run_id, row.thread_id, row.trace_id, row.foreign_id or "", row.agent or "")
    return wanted.q is None or any(wanted.q.lower() in text.lower() for text in texts)


async def test_filters_agree_with_a_full_scan(store: Store, org: int, other: int) -> None:
    chance = random.Random(1)
    rows = [random_run(chance, n, org) for n in range(1, 81)]
    theirs = [random_run(chance, n, other) for n in range(1, 41)]
    for owner, owned in ((org, rows), (other, theirs)):
        changes = {row.run: RunChange(None, row) for row in owned}
        await commit(store, Changes(runs=changes, counters={owner: Counters(0, len(owned), 0)}))
    hits = 0
    for _ in range(400):
        wanted = random_filter(chance, org)
        before = chance.choice([None, rows[chance.randrange(80)].run])
        limit = chance.choice([3, 1000])
        expected = [row for row in reversed(rows) if matches(row, wanted, rows) and row.run < (before or 2**63)]
        found = await store.runs(org, wanted, limit, before)
        assert [row.run for row in found] == [row.run for row in expected[:limit]], wanted
        hits += bool(found)
    assert hits > 100
    parents = await store.run_ids_of_parents(org, rows)
    for row in rows:
        assert parents.get(row.run) == parent_of(row, rows), row


async def test_a_row_of_another_organisation_is_absent(store: Store, org: int, other: int) -> None:
    theirs = await fill_whole(store, other)
    run, agent, thread = theirs.run, shard_key(other, 1), theirs.thread_id
    absent: dict[str, Any] = {
        "run": await store.run(org, theirs.run_id),
        "runs": await store.runs(org, RunFilter(), 10, None),
        "run ids": await store.run_ids_beginning(org, theirs.run_id[:8], 10),
        "runs by thread": await store.runs(org, RunFilter(thread_id=thread), 10, None),
        "runs by number": await store.runs_by_number(org, [run]),
        "parents": await store.run_ids_of_parents(
            org,
            [run_row(n, parent_key=name) for n, name in ((8, f"run:{theirs.run_id}"), (9, f"trace:{theirs.trace_id}"))],
        ),
        "children": await store.run_children(org, theirs, 10),
        "thread": await store.thread(org, thread),
        "threads": await store.threads(org, 10, None),
        "events": await store.events(org, run, 0, 10),
        "events at": await store.events_at(org, run, [1]),
        "feed": await store.feed(org, agent, 10, None),
        "feed after": await store.feed(org, agent, 10, 0),
        "log": await store.log(org, 0, 10),
        "quarantined": await store.quarantined(org, run, 10, 0),
        "agent": await store.agent(org, f"agent-id-{other}"),
        "agents": await store.agents(org, 10, None, None),
        "agent by name": await store.agents(org, 10, None, "agent"),
        "usage": await store.usage_by(org, "hour", UsageSpan(0, 2**40), 10),
        "thread states": await store.thread_states(org, thread, False),
        "thread states of starts": await store.thread_states(org, thread, True),
        "run of a trace": await store.run_of_trace(org, thread, theirs.trace_id),
        "checkpoints at": await store.checkpoints_at(org, [(run, "agent", 0)]),
        "checkpoint of run": await store.checkpoint_latest_of_run(org, run),
        "checkpoints": await store.checkpoints(org, run, 10, None),
        "approvals": await store.approvals(org, 10, 0, None, None),
        "lane": await store.lane(org, run),
        "lanes of runs": await store.lanes_of(org, [run]),
        "agents by number": await store.agents_by_number(org, [agent]),
        "runs with events": [] if (found := await store.runs_touched(org, 0, 10)) is None else found,
        "lanes": await store.lanes(org, 10),
        "lanes held": await store.lanes_held(org, 10),
        "persona": await store.persona(org, "persona", "1"),
        "personas": await store.personas(org, 10, None),
        "route": await store.route(org, "route"),
        "routes": await store.routes(org, 10, None),
        "users": await store.users(org, [identity(2)[1].user_id]),
        "keys": [key for key in await store.keys(org, 10, None) if key.org != org],
    }
    assert {name: found for name, found in absent.items() if found} == {}
    assert await store.lane_counts(org) == (0, 0, None)
    async with store.begin() as unit:
        refs = (
            RunById(theirs.run_id),
            RunByForeignId("steps:x", thread),
            RunByForeignId(f"steps:{theirs.run_id}", thread),
            RunByTrace(thread, theirs.trace_id),
        )
        found = await looked_up(unit, Kind.REF, *((one, ref) for one in (org, other) for ref in refs))
        assert found == {(other, ref): theirs for ref in refs}
        planned: dict[Kind, Any] = {
            Kind.FAMILY: Family(
                Parent(theirs.run, org, theirs.run_id, theirs.thread_id, theirs.trace_id, "steps:x"), True
            ),
            Kind.THREAD: (org, thread),
            Kind.THREAD_RUNS: (org, thread, 10),
            Kind.TRACE_RUNS: (org, "steps:x", 10),
            Kind.RESPONSE: (org, "response:a"),
            Kind.AGENT: (org, "agent"),
            Kind.AGENT_ID: (org, f"agent-id-{other}"),
            Kind.DECISION: (org, theirs.trace_id, 0),
            Kind.NODES: (org, (b"n" * 16,)),
            Kind.METAS: (org, (b"l" * 16,)),
            Kind.CLAIMS: Claimant(org, None, (), 10),
            Kind.PERSONA: (org, "persona", ""),
            Kind.ROUTE: (org, "route"),
            Kind.REPLY: (org, "route\nkey"),
            Kind.KEY: (org, identity(2)[2].key_id),
        }
        loaded = await unit.load({kind: [key] for kind, key in planned.items()}, 2**50)
    # Lists and counts are there and empty; single values are left out.
    assert {kind: values for kind, values in loaded.items() if any(values.values())} == {}


async def fill_whole(store: Store, org: int) -> RunRow:
    """One row of every kind."""
    thread = "their thread"
    row = run_row(1, org=org, thread_id=thread, foreign_id="steps:x", last_seq=1, last_position=1, has_lane=True)
    child = run_row(2, org=org, thread_id=thread, parent_key=f"run:{row.run_id}")
    agent = shard_key(org, 1)
    changes = run_changes(row, [event(1, 1, org=org, type=EventType.TOOL_CALL, agent=agent)])
    changes.runs[child.run] = RunChange(None, child)
    changes.threads = {(org, thread): ThreadRow(org, thread, 5, newest_run=child.run, open_runs=(row.run,))}
    changes.agents = {agent: AgentRow(agent, org, f"agent-id-{org}", "agent", 5)}
    changes.usage = {(org, 7, "agent", "", "running"): UsageRow(org, 7, "agent", "", "running", 1)}
    waiting = CheckpointRow(org, row.run, "agent", 0, thread, "waiting_for_approval", 1, 1, "", 0, True, "", 5, 5)
    changes.checkpoints = {(row.run, "agent", 0): waiting}
    changes.personas = [Persona(org, "persona", "1", "agent", 5)]
    changes.routes = [ProviderRoute(org, "route", 1, "p", "m", 5)]
    changes.lanes = {row.run: Lane(row.run, org, QueueState.QUEUED, "agent", 5)}
    message = message_name(b"{}")
    changes.messages = [Message(org, message, b"{}")]
    changes.metas = [MetaList(org, metas_name(b"[{}]"), b"", b"[{}]")]
    changes.nodes = [HistoryNode(org, prefix_names([message])[0], b"", message, 1)]
    changes.quarantined = [Quarantined(org, row.run, 5, "w", 1, "step", None, b"{}")]
    changes.replies = [StoredReply(org, "route\nkey", b"d", 200, b"{}", 5)]
    await commit(store, changes)
    return row


async def test_what_has_changed_since_a_position_is_known_or_said_to_be_unknown(
    store: Store, org: int, other: int
) -> None:
    run = (await fill(store, org)).run
    assert await store.counters(org) == Counters(EVENTS, EVENTS, EVENTS)
    assert await store.counters(other) == Counters()
    assert await store.runs_touched(org, EVENTS - 1, EVENTS) == [run]
    assert await store.runs_touched(org, EVENTS, EVENTS) == []
    await store.run_trim(org, run, 4)
    assert await store.runs_touched(org, 3, EVENTS) == [run]
    assert await store.runs_touched(org, 2, EVENTS) is None


async def test_agents_and_lanes_are_found_by_numbers(store: Store, org: int, other: int) -> None:
    run, agent = (await fill(store, org)).run, shard_key(org, 1)
    await commit(store, Changes(lanes={run: Lane(run, org, QueueState.DONE, "a", 0)}))
    [found] = await store.agents_by_number(org, [agent, shard_key(org, 2**20)])
    assert found.agent == agent
    [lane] = await store.lanes_of(org, [run, run + 1])
    assert (lane.run, lane.state) == (run, QueueState.DONE)
    assert await store.agents_by_number(other, [agent]) == await store.lanes_of(other, [run]) == []
