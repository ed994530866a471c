"""Projection rows: they commit with their events, the newest change of a row wins, sums add up, a rebuild agrees."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, event, identity, run_changes, run_row, traced
from tests.support.fakes import FakeClock, SeededIds
from tests.support.lookups import looked_up
from tests.support.rig import QuietEngine
from tests.support.tables import table
from towerlog.engine import bootstrap
from towerlog.engine.verify import rebuild_org, verify_org
from towerlog.errors import StorageFailed
from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, History
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.principal import Counters, Principal, Scope, shard_key
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import MAX_SUM, Usage, UsageReport, UsageRow
from towerlog.store.base import Store
from towerlog.store.lookup_keys import Family, Parent
from towerlog.store.values import MAX_STATES, Changes, Kind, RunChange, UsageSpan


async def commit(store: Store, changes: Changes) -> None:
    async with store.begin() as unit:
        await unit.commit(changes)


async def test_rows_commit_with_their_events(store: Store, org: int) -> None:
    """A reader never sees an event without its row, nor a row without its event."""
    rounds = 40

    async def write() -> None:
        before: RunRow | None = None
        for n in range(1, rounds + 1):
            after = run_row(org=org, last_seq=n, last_position=n)
            await commit(store, run_changes(after, [event(n, n, org=org)], before=before))
            before = after

    writing = asyncio.create_task(write())
    seen = 0
    while seen < rounds:
        first = await store.run(org, run_row(org=org).run_id)
        events = len(await store.events(org, run_row(org=org).run, 0, 1000))
        second = await store.run(org, run_row(org=org).run_id)
        # The row before the look and the row after it bracket what the look saw.
        assert (0 if first is None else first.last_seq) <= events <= (0 if second is None else second.last_seq)
        seen = events
    await writing


async def test_the_newest_change_of_a_row_is_what_is_read(store: Store, org: int) -> None:
    row = run_row(org=org, thread_id="t")
    agent = AgentRow(shard_key(org, 1), org, "id", "name", 5)
    thread = ThreadRow(org, "t", 5)
    await commit(
        store,
        Changes(
            runs={row.run: RunChange(None, row)},
            threads={(org, "t"): thread},
            agents={agent.agent: agent},
            counters={org: Counters(0, 1, 1)},
        ),
    )
    moved = msgspec.structs.replace(row, status=Status.COMPLETED, agent="name", model="m", parent_key="trace:x")
    later = msgspec.structs.replace(moved, last_seq=9)
    for before, after in ((row, moved), (moved, later)):
        await commit(
            store,
            Changes(
                runs={row.run: RunChange(before, after)},
                threads={(org, "t"): msgspec.structs.replace(thread, title="new")},
                agents={agent.agent: msgspec.structs.replace(agent, event_count=3)},
            ),
        )
    assert await store.run(org, row.run_id) == later
    found = await store.thread(org, "t")
    assert found is not None
    assert found.title == "new"
    known = await store.agent(org, "id")
    assert known is not None
    assert known.event_count == 3
    async with store.begin() as unit:
        assert await looked_up(unit, Kind.THREAD, (org, "t"), (org, "no")) == {(org, "t"): found}
        assert await looked_up(unit, Kind.AGENT, (org, "name"), (org, "no")) == {(org, "name"): known}
        assert await looked_up(unit, Kind.RUN, row.run, 5) == {row.run: later}


async def test_usage_increments_add_up_and_unknown_stays_unknown(store: Store, org: int) -> None:
    key = (org, 7, "a", "m", "running")
    increments = (
        UsageRow(*key, 1, 1, 0, Usage(input_tokens=5)),
        UsageRow(*key, 2, 0, 0, Usage(input_tokens=None, cost_nanos=3)),
        UsageRow(*key, 1, 0, 1, Usage(input_tokens=2, cost_nanos=-1)),
    )
    for increment in increments:
        await commit(store, Changes(usage={key: increment}))
    [cell] = (await store.rows(org)).usage
    assert cell == UsageRow(*key, 4, 1, 1, Usage(input_tokens=7, cost_nanos=2))
    assert cell.usage.output_tokens is None


@pytest.mark.every_value
@table("number, change", enumerate([1, -1, -(2**62)]))
async def test_a_sum_that_does_not_fit_stays_unknown_whatever_comes(store: Store, number: int, change: int) -> None:
    org = (await store.org_create(*identity(number, name=str(change)))).org
    key = (org, 7, "a", "m", "running")
    for nanos in (2**62, 2**62, change):
        await commit(store, Changes(usage={key: UsageRow(*key, 1, 0, 0, Usage(cost_nanos=nanos))}))
    [cell] = (await store.rows(org)).usage
    assert cell.usage.cost_nanos == MAX_SUM


async def test_usage_hours_begin_inclusive_and_end_exclusive(store: Store, org: int) -> None:
    cells = [UsageRow(org, hour, agent, "m", "running", 1) for hour in (5, 6, 7) for agent in ("a", "b")]
    await commit(store, Changes(usage={(org, c.hour, c.agent, c.model, c.status): c for c in cells}))

    async def hours(since: int, until: int, **fields: Any) -> list[tuple[int, int]]:
        found = await store.usage_by(org, "hour", UsageSpan(since, until, **fields), 10)
        return [(total.hour, total.events) for total in found]

    assert await hours(5, 7) == [(5, 2), (6, 2)]
    assert await hours(6, 8, agent="b") == [(6, 1), (7, 1)]
    assert await hours(6, 8, agent="b", model="other") == []
    assert await hours(5, 8, after=5) == [(6, 2), (7, 2)]


async def test_usage_is_added_up_by_hour_agent_or_model(store: Store, org: int) -> None:
    figures = [Usage(cost_nanos=MAX_SUM), Usage(cost_nanos=MAX_SUM, input_tokens=3), Usage(output_tokens=-(2**40))]
    keys = [(5, "a", "m"), (5, "b", "n"), (6, "a", "n")]
    cells = {
        (org, *key, status): UsageRow(org, *key, status, 2, 1, 0, usage)
        for key, usage in zip(keys, figures, strict=True)
        for status in ("running", "failed")
    }
    await commit(store, Changes(usage=cells))
    found = {by: await store.usage_by(org, by, UsageSpan(0, 10), 10) for by in ("hour", "agent", "model")}
    low = Usage(output_tokens=-(2**41))
    assert found["hour"] == [
        UsageRow(org, 5, "", "", "", 8, 4, 0, Usage(cost_nanos=MAX_SUM, input_tokens=6)),
        UsageRow(org, 6, "", "", "", 4, 2, 0, low),
    ]
    assert found["agent"] == [
        UsageRow(org, 0, "a", "", "", 8, 4, 0, msgspec.structs.replace(low, cost_nanos=MAX_SUM)),
        UsageRow(org, 0, "b", "", "", 4, 2, 0, Usage(cost_nanos=MAX_SUM, input_tokens=6)),
    ]
    assert [(total.model, total.events) for total in found["model"]] == [("m", 4), ("n", 8)]
    assert await store.usage_by(org, "model", UsageSpan(0, 10, after="m"), 1) == [found["model"][1]]


def _checkpoint(org: int, run: int, step: int, **fields: object) -> CheckpointRow:
    row = CheckpointRow(org, run, "a", step, "t", "completed", 1, step, "", 0, True, "", 5, 5)
    return msgspec.structs.replace(row, **fields)


async def test_the_state_of_a_run_is_its_highest_step(store: Store, org: int) -> None:
    run, empty = shard_key(org, 1), shard_key(org, 2)
    rows = [
        _checkpoint(org, run, 0, initial=True, position=99),
        _checkpoint(org, run, 3),
        _checkpoint(org, run, 3, agent="b", position=77),
        _checkpoint(org, empty, 0, initial=True, agent="c"),
    ]
    assert await store.checkpoint_latest_of_run(org, run) is None
    await commit(store, Changes(checkpoints={(row.run, row.agent, row.step_index): row for row in rows}))
    assert await store.checkpoint_latest_of_run(org, run) == rows[2]
    assert await store.checkpoint_latest_of_run(org, empty) == rows[3], "an initial one counts where there is no other"
    assert await store.checkpoints_at(org, [(run, "b", 3), (run, "b", 4), (run, "a", 3)]) == [rows[2], rows[1]]


async def test_the_runs_of_a_thread_that_have_a_state_are_found(store: Store, org: int) -> None:
    """The newest, and the open ones behind them; children are marked, and never crowd out all others."""
    own = run_row(2, org=org, thread_id="t", trace_id="own", status=Status.COMPLETED)
    opened = run_row(1, org=org, thread_id="t", trace_id="open")
    many = [
        run_row(n, org=org, thread_id="t", trace_id=f"c{n}", parent_key="trace:own", status=Status.COMPLETED)
        for n in range(3, 3 + 2 * MAX_STATES)
    ]
    started = run_row(999, org=org, thread_id="t", trace_id="own")
    elsewhere = run_row(1000, org=org, thread_id="elsewhere", trace_id="own")
    rows = [own, opened, *many, started, elsewhere]
    states = [_checkpoint(org, row.run, 1, thread_id=row.thread_id, initial=row is started) for row in rows]
    thread = ThreadRow(org, "t", 5, open_runs=(opened.run, started.run))
    await commit(
        store,
        Changes(
            runs={row.run: RunChange(None, row) for row in rows},
            threads={(org, "t"): thread},
            checkpoints={(row.run, row.agent, row.step_index): row for row in states},
            counters={org: Counters(0, 1000, 0)},
        ),
    )
    found = await store.thread_states(org, "t", False)
    assert [state.row.run for state in found] == sorted([state.row.run for state in found], reverse=True)
    marked = {state.row.run: state.is_child for state in found}
    assert (marked[own.run], marked[opened.run], marked[many[-1].run]) == (False, False, True)
    assert started.run not in marked
    assert [state.row for state in await store.thread_states(org, "t", True)] == [started]
    assert await store.thread_states(org, "none", False) == []
    assert await store.run_of_trace(org, "t", "own") == own, "one that only began gives way"
    assert await store.run_of_trace(org, "t", "c5") == many[2]
    assert await store.run_of_trace(org, "elsewhere", "own") == elsewhere
    assert await store.run_of_trace(org, "elsewhere", "c5") is None


async def test_a_decision_finds_what_waits_for_it(store: Store, org: int) -> None:
    run = run_row(org=org, trace_id="tr")
    waiting = [_checkpoint(org, run.run, n, status="waiting_for_approval", position=9 - n) for n in range(3)]
    decided = _checkpoint(org, run.run, 3, status="approved")
    ended = run_row(2, org=org, status=Status.COMPLETED)
    moot = _checkpoint(org, ended.run, 0, status="waiting_for_approval", position=0)
    rows = {(row.run, row.agent, row.step_index): row for row in (*waiting, decided, moot)}
    await commit(store, Changes(runs={row.run: RunChange(None, row) for row in (run, ended)}, checkpoints=rows))
    async with store.begin() as unit:
        assert await looked_up(unit, Kind.DECISION, at := (org, "tr", 1)) == {at: [waiting[1]]}
        keys = [(run.run, "a", 3), (run.run, "b", 3)]
        assert await looked_up(unit, Kind.CHECKPOINT, *keys) == {keys[0]: decided}


async def test_descendants_come_level_by_level_and_loops_end(store: Store, org: int) -> None:
    root = run_row(1, org=org)
    child = run_row(2, org=org, parent_key=f"run:{root.run_id}")
    ended = run_row(3, org=org, parent_key=f"trace:{root.trace_id}", status=Status.COMPLETED)
    grandchild = run_row(4, org=org, parent_key=f"trace:{ended.trace_id}")
    looped = msgspec.structs.replace(root, parent_key=f"run:{grandchild.run_id}")
    rows = {row.run: RunChange(None, row) for row in (looped, child, ended, grandchild)}
    await commit(store, Changes(runs=rows, counters={org: Counters(0, 4, 0)}))
    async with store.begin() as unit:
        parents = [Parent(row.run, org, row.run_id, row.thread_id, row.trace_id, "") for row in (looped, child)]
        families = [*[Family(parent, False) for parent in parents], Family(parents[0], True, True)]
        found = await looked_up(unit, Kind.FAMILY, *families)
    assert [found[one] for one in families] == [[child, grandchild], [], [child, ended, grandchild]]
    assert await store.run_children(org, looped, 100) == [child, ended]
    unknown = [run_row(8, org=org, parent_key="trace:none"), run_row(9, org=org, parent_key="run:none")]
    parent_ids = await store.run_ids_of_parents(org, [child, grandchild, run_row(7, org=org), *unknown])
    assert parent_ids == {child.run: root.run_id, grandchild.run: ended.run_id}


async def test_runs_that_are_being_cancelled_are_found_by_when_it_was_asked(store: Store, org: int) -> None:
    asked = run_row(1, org=org, status=Status.CANCELLING, cancel_requested_at=100)
    later = run_row(2, org=org, status=Status.CANCELLING, cancel_requested_at=200)
    ended = run_row(3, org=org, status=Status.CANCELLED, cancel_requested_at=50)
    await commit(store, Changes(runs={row.run: RunChange(None, row) for row in (asked, later, ended)}))
    async with store.begin() as unit:
        assert await unit.runs_cancelling((-1, 0), 10) == [asked, later]
        assert await unit.runs_cancelling((-1, 0), 1) == [asked]
        assert await unit.runs_cancelling((100, asked.run), 10) == [later]
        assert await unit.runs_cancelling((100, asked.run - 1), 10) == [asked, later]


async def test_unheard_runs_are_found_by_their_last_minute(store: Store, org: int, other: int) -> None:
    """Only those that nothing but their own words keeps alive; those whose silence means nothing new, apart."""
    old = run_row(1, org=org, seen_at=100)
    older = run_row(1, org=other, seen_at=90)
    fresh = run_row(2, org=org, seen_at=300)
    noted = run_row(3, org=org, seen_at=80, silent_at=200)
    implicit = run_row(4, org=org, seen_at=70, implicit=True)
    beating = run_row(5, org=org, seen_at=100, implicit=True, sends_heartbeats=True)
    others = [
        run_row(6, org=org, seen_at=1, status=Status.WAITING),
        run_row(7, org=org, seen_at=1, lease_epoch=1),
        run_row(8, org=org, seen_at=1, idle=True),
        run_row(9, org=org, seen_at=1, status=Status.LOST),
    ]
    rows = (old, older, fresh, noted, implicit, beating, *others)
    await commit(store, Changes(runs={row.run: RunChange(None, row) for row in rows}))
    async with store.begin() as unit:
        assert await unit.runs_silent(False, 100, (-1, 0), 10) == [older, old, beating]
        assert await unit.runs_silent(False, 99, (-1, 0), 10) == [older]
        assert await unit.runs_silent(False, 100, (90, older.run), 1) == [old]
        assert await unit.runs_silent(False, 100, (100, old.run), 10) == [beating]
        assert await unit.runs_silent(True, 100, (-1, 0), 10) == [implicit, noted]


@pytest.mark.parametrize(
    "changed", ["status", "seen_at", "silent_at", "lease_epoch", "idle", "implicit", "sends_heartbeats"]
)
async def test_what_a_run_is_watched_by_follows_its_row(store: Store, org: int, changed: str) -> None:
    value: dict[str, object] = {
        "status": Status.PAUSED, "seen_at": 500, "silent_at": 9, "lease_epoch": 1, "idle": True,
        "implicit": True, "sends_heartbeats": True,
    }  # fmt: skip
    before = run_row(1, org=org, seen_at=100, implicit=changed == "sends_heartbeats")
    await commit(store, Changes(runs={before.run: RunChange(None, before)}))
    moved = msgspec.structs.replace(before, **{changed: value[changed]})
    await commit(store, Changes(runs={before.run: RunChange(before, moved)}))
    async with store.begin() as unit:
        found = [[row.run for row in await unit.runs_silent(noted, 100, (-1, 0), 10)] for noted in (False, True)]
    owed = [[], [before.run]] if changed in ("silent_at", "implicit") else [[], []]
    assert found == ([[before.run], []] if changed == "sends_heartbeats" else owed)


def story() -> list[list[Draft]]:
    """A little of everything that moves a projection, in four groups."""
    one, two = traced("one", "t"), traced("two", "t")
    total = UsageReport(Usage(input_tokens=10, cost_nanos=5))
    delta = UsageReport(Usage(output_tokens=3), "delta")
    state = Facts(
        effects=Effects(checkpoint=CheckpointFacts(0, "waiting_for_approval"), report=total, status=Status.WAITING)
    )
    history = History([b'{"role":"user","content":"hi"}'], None)
    return [
        [
            draft(EventType.RUN_STARTED, one, agent="a", facts=Facts(effects=Effects(is_start=True, model="m1"))),
            draft(EventType.MODEL_CALL, one, agent="b", facts=Facts(effects=Effects(report=delta, model="m2"))),
            draft(EventType.TOOL_CALL, one, {"tool": "sh"}, facts=Facts(tool="sh")),
        ],
        [
            draft(EventType.CHECKPOINT, one, {"step_index": 0}, agent="a", facts=state, history=history),
            draft(EventType.STEP, two, agent="a"),
            draft(EventType.RUN_FAILED, two, agent="a", facts=Facts(error="no")),
        ],
        [
            draft(EventType.RUN_COMPLETED, two, agent="a", facts=Facts(effects=Effects(recovered=True))),
            draft(EventType.MODEL_CALL, one, agent="b", facts=Facts(effects=Effects(report=delta))),
            draft(EventType.RUN_COMPLETED, one, agent="a"),
        ],
        [
            draft(EventType.RUN_FAILED, one, agent="a", facts=Facts(error="late")),
            draft(
                EventType.RUN_STARTED,
                two,
                agent="a",
                facts=Facts(effects=Effects(is_start=True, metadata=msgspec.Raw(b'{"x":1}'))),
            ),
        ],
    ]


async def test_rebuild_equals_incremental(store: Store, clock: FakeClock, ids: SeededIds) -> None:
    minted = await bootstrap.create_org(store, clock, ids, "default")
    org = minted.org.org
    principal = Principal(org, minted.org.org_id, minted.key.user_id, minted.key.key_id, frozenset(Scope))
    engine = QuietEngine(store, clock, ids)
    await engine.start()
    for group in story():
        clock.advance(1_800_000)
        await engine.execute(principal, Append("steps", list(group)), "steps")
    await engine.stop()
    complaints: list[str] = []
    assert await verify_org(store, org, complaints.append) == 0, complaints
    before = await store.rows(org)
    assert await rebuild_org(store, org) == 11
    after = await store.rows(org)
    for name in ("runs", "threads", "agents", "usage", "checkpoints"):
        ours, theirs = (sorted(map(msgspec.json.encode, getattr(rows, name))) for rows in (before, after))
        assert ours, name
        assert ours == theirs, name


async def test_a_run_that_moves_takes_its_checkpoints_along(store: Store, org: int, other: int) -> None:
    """Stored ones and those of the same commit; the thread that is left may be made anew with it."""
    row, theirs = run_row(1, org=org, thread_id="t"), run_row(1, org=other, thread_id="t")
    for one in (row, theirs):
        held = _checkpoint(one.org, one.run, 1)
        thread = ThreadRow(one.org, "t", 5)
        await commit(
            store,
            Changes(
                runs={one.run: RunChange(None, one)},
                threads={(one.org, "t"): thread},
                checkpoints={(one.run, "a", 1): held},
            ),
        )
    after = msgspec.structs.replace(row, thread_id="named", last_seq=2)
    fresh, remade = run_row(2, org=org, thread_id="t"), ThreadRow(org, "t", 9, run_count=1)
    await commit(
        store,
        Changes(
            runs={row.run: RunChange(row, after), fresh.run: RunChange(None, fresh)},
            left_threads={(org, "t")},
            threads={(org, "named"): ThreadRow(org, "named", 9), (org, "t"): remade},
            checkpoints={(row.run, "a", 2): _checkpoint(org, row.run, 2, thread_id="named")},
            moved={row.run: row},
            counters={org: Counters(0, 2, 0)},
        ),
    )
    assert await store.run(org, row.run_id) == after
    assert [one.run for one in await store.runs(org, RunFilter(thread_id="named"), 9, None)] == [row.run]
    assert [one.run for one in await store.runs(org, RunFilter(thread_id="t"), 9, None)] == [fresh.run]
    found = await store.checkpoints(org, row.run, 9, None)
    assert [(one.step_index, one.thread_id) for one in found] == [(1, "named"), (2, "named")]
    assert [state.row.run for state in await store.thread_states(org, "named", False)] == [row.run]
    assert await store.thread_states(org, "t", False) == []
    assert [one.thread_id for one in await store.threads(org, 9, None)] == ["t", "named"]
    assert await store.thread(org, "t") == remade
    assert (await store.rows(org)).faults == []
    assert [one.run for one in await store.runs(other, RunFilter(thread_id="t"), 9, None)] == [theirs.run]
    assert await store.thread(other, "t") == ThreadRow(other, "t", 5)


async def test_a_rebuild_touches_no_other_organisation(store: Store, org: int, other: int) -> None:
    row, theirs = run_row(1, org=org), run_row(1, org=other)
    for one in (row, theirs):
        await commit(store, Changes(runs={one.run: RunChange(None, one)}))
    await commit(store, Changes(replaces=org))
    assert await store.run(org, row.run_id) is None
    assert await store.run(other, theirs.run_id) == theirs


async def test_trimming_a_run_keeps_the_seq_of_what_is_left(store: Store, org: int, other: int) -> None:
    row = run_row(org=org, last_seq=5, last_position=5)
    await commit(store, run_changes(row, [event(n, n, org=org) for n in range(1, 6)]))
    await store.run_trim(other, row.run, 5)
    assert len(await store.events(org, row.run, 0, 10)) == 5, "not theirs to trim"
    await store.run_trim(org, row.run, 4)
    assert [one.seq for one in await store.events(org, row.run, 0, 10, known_last=5)] == [4, 5]
    await store.run_trim(org, row.run, 3)
    assert [one.seq for one in await store.events(org, row.run, 0, 10, known_last=5)] == [4, 5], "below it is nothing"
    assert await store.run(org, row.run_id) == row


async def test_a_run_has_one_number_and_one_id(store: Store, org: int, tmp_path: Path) -> None:
    row = run_row(1, org=org)
    await commit(store, Changes(runs={row.run: RunChange(None, row)}))
    twin = msgspec.structs.replace(run_row(2, org=org), run_id=row.run_id)
    for again in (row, twin):
        with pytest.raises(StorageFailed):
            await commit(store, Changes(runs={again.run: RunChange(None, again)}))


async def test_a_child_hangs_below_the_one_run_that_is_named_its_parent(store: Store, org: int) -> None:
    """A trace that began anew has several runs: parent and children must agree about which is meant."""
    first = run_row(1, org=org, thread_id="t", trace_id="x", status=Status.COMPLETED)
    again = run_row(2, org=org, thread_id="t", trace_id="x")
    elsewhere = run_row(3, org=org, thread_id="u", trace_id="x")
    near = run_row(4, org=org, thread_id="t", parent_key="trace:x")
    far = run_row(5, org=org, thread_id="v", parent_key="trace:x")
    rows = (first, again, elsewhere, near, far)
    await commit(store, Changes(runs={row.run: RunChange(None, row) for row in rows}))
    parents = await store.run_ids_of_parents(org, rows)
    assert parents == {near.run: again.run_id, far.run: elsewhere.run_id}
    children = {row.run_id: await store.run_children(org, row, 10) for row in (first, again, elsewhere)}
    assert children == {first.run_id: [], again.run_id: [near], elsewhere.run_id: [far]}


async def test_a_child_finds_its_parent_by_its_senders_name(store: Store, org: int, other: int) -> None:
    """Whichever of the two came first."""
    child = run_row(1, org=org, parent_key="foreign:sdk:k")
    parent = run_row(2, org=org, foreign_id="sdk:k")
    nameless = run_row(3, org=org)
    theirs = run_row(1, org=other, foreign_id="sdk:k")
    for rows in ((child, parent, nameless), (theirs,)):
        await commit(store, Changes(runs={row.run: RunChange(None, row) for row in rows}))
    orphan = run_row(4, org=org, parent_key="foreign:sdk:l")
    assert await store.run_ids_of_parents(org, [child, orphan]) == {child.run: parent.run_id}
    found = {row.run_id: await store.run_children(row.org, row, 10) for row in (parent, nameless, theirs)}
    assert found == {parent.run_id: [child], nameless.run_id: [], theirs.run_id: []}
    listed = await store.runs(org, RunFilter(parent_run_id=parent.run_id), 10, None)
    assert listed == [child]


async def test_a_run_is_no_child_of_its_own(store: Store, org: int) -> None:
    alone = run_row(1, org=org, thread_id="t", trace_id="x", parent_key="trace:x")
    await commit(store, Changes(runs={alone.run: RunChange(None, alone)}))
    assert await store.run_ids_of_parents(org, [alone]) == {}
    assert await store.run_children(org, alone, 10) == []


async def test_a_run_of_its_parents_trace_hangs_below_another_run_of_it(store: Store, org: int) -> None:
    parent = run_row(1, org=org, thread_id="t", trace_id="x")
    near = run_row(2, org=org, thread_id="t", trace_id="x", parent_key="trace:x")
    far = run_row(3, org=org, thread_id="u", trace_id="x", parent_key="trace:x")
    rows = (parent, near, far)
    await commit(store, Changes(runs={row.run: RunChange(None, row) for row in rows}))
    parents = await store.run_ids_of_parents(org, rows)
    below = {row.run: [child.run for child in await store.run_children(org, row, 10)] for row in rows}
    named = {child: parent_run for parent_run, children in below.items() for child in children}
    ids = {row.run_id: row.run for row in rows}
    assert named == {child: ids[run_id] for child, run_id in parents.items()}, "both ways must agree"
    assert parents[near.run] == parent.run_id
