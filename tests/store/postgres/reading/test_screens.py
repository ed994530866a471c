"""Searches and figures of runs, in PostgreSQL: columns that are worked out of a row say what the row says."""

from __future__ import annotations

import msgspec

from tests.contract.test_leases import lane
from tests.support.factories import event, run_changes, run_row
from tests.support.fakes import START_MS
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.model.usage import Usage, UsageRow
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.values import Changes, RunChange, UsageSpan

of = msgspec.structs.replace


async def put(store: PostgresStore, *rows: RunRow, before: RunRow | None = None) -> None:
    async with store.begin() as unit:
        await unit.commit(Changes(runs={row.run: RunChange(before, row) for row in rows}))


async def found(store: PostgresStore, org: int, **wanted: object) -> list[int]:
    return [row.run for row in await store.runs(org, RunFilter(**wanted), 9, None)]  # type: ignore[arg-type]


async def test_a_duration_is_what_the_row_says(store: PostgresStore, org: int) -> None:
    base = of(run_row(1, org=org), status=Status.COMPLETED, created_at=START_MS)
    told = {"start_told_at": START_MS - 500, "end_told_at": START_MS + 1000}
    rows = [
        of(base, ended_at=START_MS + 40),
        of(base, started_at=START_MS + 10, ended_at=START_MS + 30),
        of(base, started_at=START_MS + 10, ended_at=START_MS + 5),
        of(base, started_at=START_MS, ended_at=START_MS + 7, **told),
        of(base, started_at=START_MS, ended_at=START_MS + 7, start_told_at=START_MS + 9, end_told_at=START_MS),
        of(base, started_at=START_MS, ended_at=START_MS + 3, end_told_at=START_MS + 9),
    ]
    for number, row in enumerate(rows, start=1):
        name = f"a{number}"
        other = run_row(number, org=org)
        await put(store, of(row, run=other.run, run_id=other.run_id, agent=name))
        [one] = await store.run_durations(org, "agent", RunFilter(agent=name), 10) or []
        assert one == (name, 1, *[row.duration_ms()] * 3)


async def test_percentiles_are_of_the_runs_and_groups_in_their_order(store: PostgresStore, org: int) -> None:
    rows = [
        of(
            run_row(number, org=org), agent="a" if number <= 60 else None, created_at=START_MS,
            ended_at=START_MS + number, status=Status.FAILED,
        )
        for number in range(1, 101)
    ]  # fmt: skip
    await put(store, *rows)
    durations = await store.run_durations(org, "agent", RunFilter(), 10)
    assert durations == [("a", 60, 30, 57, 60), (None, 40, 80, 98, 100)]
    assert await store.run_durations(org, "status", RunFilter(), 10) == [("failed", 100, 50, 95, 100)]
    assert await store.run_durations(org, "agent", RunFilter(), 1) == durations[:1]
    facets = await store.run_facets(org, RunFilter())
    assert facets["agent"] == [("a", 60), (None, 40)]
    assert facets["status"] == [("failed", 100)]


async def test_members_of_the_metadata_are_found_by_name_and_value(store: PostgresStore, org: int) -> None:
    text = '{"a.b": "x", "a": {"b": "y"}, "$": 1, "t": true, "e": "\\u00e4\\u0000", "labels": {"gpu": "yes"}}'
    first = of(run_row(1, org=org), metadata=msgspec.Raw(text.encode()), usage=Usage(cost_nanos=5))
    await put(store, first, run_row(2, org=org))
    pairs = {
        ("a.b", "x"): True, ("a.b", "y"): False, ("$", "1"): True, ("a", "y"): False, ("t", "true"): True,
        ("e", "ä\0"): True, ("e", "ä"): False, ("labels", "yes"): False, ("gpu", "yes"): False,
    }  # fmt: skip
    for pair, is_there in pairs.items():
        assert await found(store, org, metadata=(pair,)) == [first.run] * is_there, pair
    assert await found(store, org, labels=(("gpu", "yes"),)) == [first.run]
    assert await found(store, org, labels=(("t", "true"),)) == [first.run]
    assert await found(store, org, labels=(("gpu", "no"),)) == []
    assert await found(store, org, min_cost_nanos=5, max_cost_nanos=5) == [first.run]
    moved = of(first, metadata=msgspec.Raw(b"{}"), usage=Usage(cost_nanos=6))
    await put(store, moved, before=first)
    assert await found(store, org, metadata=(("a.b", "x"),)) == []
    assert await found(store, org, max_cost_nanos=5) == []


async def test_labels_of_a_lane_are_found_one_by_one(store: PostgresStore, org: int) -> None:
    labels = {"gpu": "yes", "zone": "eu", "kind": "x"}
    row = run_row(1, org=org)
    async with store.begin() as unit:
        await unit.commit(Changes(runs={row.run: RunChange(None, row)}, lanes={row.run: lane(org, 1, labels=labels)}))
    for name, value in labels.items():
        assert await found(store, org, labels=((name, value),)) == [row.run]
        assert await found(store, org, labels=((name, value + "x"),)) == []


async def test_who_has_fallen_silent_or_failed_is_found(store: PostgresStore, org: int) -> None:
    silent, ended, failed = (run_row(number, org=org) for number in (1, 2, 3))
    await put(
        store,
        of(silent, silent_at=START_MS),
        of(ended, silent_at=START_MS, ended_at=START_MS + 1),
        of(failed, error="no"),
    )
    assert await found(store, org, silent=True) == [silent.run]
    assert await found(store, org, silent=False) == [failed.run, ended.run]
    assert await found(store, org, has_errors=True) == [failed.run]
    assert await found(store, org, has_errors=False) == [ended.run, silent.run]


async def test_text_with_a_zero_character_is_kept_and_found(store: PostgresStore, org: int) -> None:
    """PostgreSQL has no such text."""
    row = run_row(1, org=org, model="m\0x", agent="a\0")
    changes = run_changes(row, [event(1, 1, org=org, event_id="id\0", agent=5)])
    key = (org, 7, "a\0", "m\0x", "running")
    changes.usage = {key: UsageRow(*key, 1)}
    async with store.begin() as unit:
        await unit.commit(changes)
    assert await store.run(org, row.run_id) == row
    assert await found(store, org, model="m\0x") == await found(store, org, q="A\0") == [row.run]
    assert (await store.run_facets(org, RunFilter()))["model"] == [("m\0x", 1)]
    assert [one.model for one in await store.usage_by(org, "model", UsageSpan(0, 9), 9)] == ["m\0x"]
    assert await store.events(org, row.run, 0, 9) == changes.events
    rows = await store.rows(org)
    assert rows.usage == [changes.usage[key]]
    assert [fault for fault in rows.faults if "run" in fault] == []
