"""The schema: whatever is an organisation's begins with it, so that the tables can be spread over machines."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from tests.support.backends import PostgresBackend
from tests.support.factories import event, identity, run_changes, run_row
from tests.support.fakes import FakeClock, SeededIds
from tests.support.postgres import cluster
from towerlog.errors import SchemaMismatch
from towerlog.store.migrate import Migration, load_migrations
from towerlog.store.postgres import schema
from towerlog.store.postgres.schema import LAST_MONTH, following, month_bounds, month_of
from towerlog.store.postgres.store import PostgresStore, open_store
from towerlog.store.values import Kind

ON_EVERY_NODE = {"meta", "migration", "org", "removed_org", "credential"}
"""Small tables that are not of one organisation: what is looked up before the organisation is known."""
TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    " ORDER BY relname"
)
INDEXES = (
    "SELECT pg_class.relname, (SELECT attname FROM pg_attribute WHERE attrelid = indrelid AND attnum = indkey[0])"
    " FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'public'::regnamespace"
)


def name(backend: PostgresBackend) -> str:
    return backend.location.partition("@/")[2].partition("?")[0]


async def with_events(store: PostgresStore) -> None:
    """So that there is a month."""
    org = (await store.org_create(*identity(1))).org
    async with store.begin() as unit:
        await unit.commit(run_changes(run_row(org=org), [event(1, 1, org=org)]))


async def test_every_key_and_every_index_begins_with_the_organisation(
    backend: PostgresBackend, store: PostgresStore
) -> None:
    await with_events(store)
    tables = [row[0] for row in cluster().sql(TABLES, name(backend))]
    assert {"event", "place", "run", "lane", "credential"} < set(tables)
    assert sum(one.startswith("event_") for one in tables) >= 2, "this month's, and the next one's"
    led = [(table, column) for table, column in cluster().sql(INDEXES, name(backend)) if table not in ON_EVERY_NODE]
    assert {column for _, column in led} == {"org"}, led
    assert {table for table, _ in led} == set(tables) - ON_EVERY_NODE, "every table has a key"


async def test_nothing_is_counted_or_checked_over_all_organisations(
    backend: PostgresBackend, store: PostgresStore
) -> None:
    await with_events(store)
    assert cluster().sql("SELECT relname FROM pg_class WHERE relkind = 'S'", name(backend)) == []
    assert cluster().sql("SELECT conname FROM pg_constraint WHERE contype IN ('f', 't')", name(backend)) == []
    assert cluster().sql("SELECT tgname FROM pg_trigger", name(backend)) == []


def statements(kind: str) -> str:
    """The statements of the page that are of a kind."""
    page = (Path(__file__).parents[3] / "docs" / "operate" / "scale.md").read_text()
    return page.partition(f"<!-- {kind} -->")[2].partition("```sql")[2].partition("```")[0]


async def test_the_page_spreads_every_table(backend: PostgresBackend, store: PostgresStore) -> None:
    """Those that are on every node, and all others by their organisation."""
    everywhere, distributed = (re.findall(r"'(\w+)'", statements(kind)) for kind in ("every-node", "distributed"))
    distributed = [one for one in distributed if one != "org"]
    assert sorted(everywhere) == sorted(ON_EVERY_NODE)
    assert len(set(distributed)) == len(distributed) - 1, "but for the table that the others lie with"
    tables = {row[0] for row in cluster().sql(TABLES, name(backend)) if not row[0].startswith("event_")}
    assert set(distributed) == tables - ON_EVERY_NODE


async def test_a_node_goes_on_while_the_schema_grows(
    backend: PostgresBackend, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version before on the next one's schema: new columns, tables and indexes are nothing to it."""
    org = (await store.org_create(*identity(1))).org

    async def use(number: int) -> None:
        row = run_row(number, org=org)
        async with store.begin() as unit:
            await unit.load({Kind.COUNTERS: [org], Kind.RUN: [row.run], Kind.BUDGETS: [org]}, 0)
            await unit.commit(run_changes(row, [event(number, 1, org=org, run=number)]))
        async with store.begin() as unit:
            assert await unit.lanes_expired(0, 10) == []
        assert len(await store.events(org, row.run, 0, 10)) == 1
        assert len((await store.rows(org)).runs) == number
        assert await store.run(org, row.run_id) == row
        await store.stock()

    await use(1)
    tables = [row[0] for row in cluster().sql(TABLES, name(backend)) if not row[0].startswith("event_")]
    grown = "; ".join(f"ALTER TABLE {table} ADD COLUMN later text" for table in tables)
    known = load_migrations("postgres")
    more = Migration(len(known) + 1, "later", f"{grown}; CREATE TABLE later (org bigint PRIMARY KEY)")
    with monkeypatch.context() as newer:
        newer.setattr(schema, "load_migrations", lambda _: [*known, more])
        await (await open_store(backend.location, FakeClock(), SeededIds())).close()
    for number in range(2, 12):
        await use(number)


async def test_the_tables_of_another_program_are_left_alone() -> None:
    database = cluster().fresh_name()
    cluster().create(database)
    cluster().sql("CREATE TABLE theirs (id integer)", database)
    with pytest.raises(SchemaMismatch, match="another program"):
        await open_store(cluster().url(database), FakeClock(), SeededIds())
    assert cluster().sql(TABLES, database) == [["theirs"]]


async def test_several_may_open_a_new_database_at_once() -> None:
    import anyio

    database = cluster().fresh_name()
    cluster().create(database)
    stores: list[PostgresStore] = []

    async def open_one() -> None:
        stores.append(await open_store(cluster().url(database), FakeClock(), SeededIds()))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(open_one)
    assert len({store.epoch for store in stores}) == 1
    for store in stores:
        await store.close()


def ms(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000


def test_a_month_begins_and_ends_where_the_calendar_says() -> None:
    assert month_of(ms(2026, 12, 31)) == (2026, 11)
    assert month_bounds((2026, 11)) == (str(ms(2026, 12, 1)), str(ms(2027, 1, 1)))
    assert month_of(ms(2027, 1, 1)) == following((2026, 11)) == (2027, 0)
    assert month_of(2**62) == following(LAST_MONTH) == LAST_MONTH
    assert month_bounds(LAST_MONTH)[1] == "MAXVALUE"


async def test_events_of_any_time_find_their_month(store: PostgresStore) -> None:
    """Also of a clock that is wrong by centuries."""
    org = (await store.org_create(*identity(1))).org
    times = [ms(1971, 2, 3), ms(2026, 11, 30), ms(2026, 12, 1), ms(2399, 1, 1), 2**55]
    events = [event(n, n, org=org, recorded_at=at) for n, at in enumerate(times, 1)]
    async with store.begin() as unit:
        await unit.commit(run_changes(run_row(org=org), events))
    assert [one.recorded_at for one in await store.events(org, run_row(org=org).run, 0, 10)] == times


async def test_a_place_is_taken_once_whatever_the_month(store: PostgresStore) -> None:
    from towerlog.errors import StorageFailed

    org = (await store.org_create(*identity(1))).org
    row = run_row(org=org, last_seq=1, last_position=1)
    async with store.begin() as unit:
        await unit.commit(run_changes(row, [event(1, 1, org=org, event_id="a", recorded_at=ms(2026, 1, 5))]))
    for position, seq, event_id in ((1, 2, "b"), (2, 1, "b"), (2, 2, "a")):
        again = event(position, seq, org=org, event_id=event_id, recorded_at=ms(2026, 7, 5))
        with pytest.raises(StorageFailed) as refused:
            async with store.begin() as unit:
                await unit.commit(run_changes(row, [again], before=row))
        assert isinstance(refused.value.__cause__, asyncpg.UniqueViolationError)
    assert [one.position for one in await store.log(org, 0, 10)] == [1]
