"""The second wall: whatever a statement asks for, it sees the rows of the organisations that it is about."""

from __future__ import annotations

import inspect
from pathlib import Path

import asyncpg
import pytest

from tests.store.postgres.conftest import Node
from tests.support.backends import PostgresBackend
from tests.support.factories import event, run_changes, run_row
from tests.support.postgres import cluster
from towerlog.store.postgres import connections, parts
from towerlog.store.postgres.connections import ALL, Db, named_orgs
from towerlog.store.postgres.questions import Question, Via
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.postgres.upkeep.roles import ROLE
from towerlog.store.values import Kind

NOT_HELD_APART = {"credential", "meta", "migration"}
"""Looked at before the organisation is known, and nobody's."""
OF_ALL = {
    "orgs", "org", "org_create", "org_rename", "org_remove", "orgs_removed", "orgs_erasing",
    "key_by_digest", "key_put", "secret", "members_named", "link_by_digest",
    "sessions_seen", "signed_out_drop", "reservations", "spent_links_drop", "alert_rules_timed", "alerts_unwatched",
    "deliveries_waiting", "bodies_waiting", "deliveries_due", "alerts_drop", "policies_all", "erasing_next",
    "content_end", "gives_back", "age_kept", "age_keep", "age_confirmed", "wipe", "structure_faults", "stock",
    "replies_drop",
    "forwarding_begin", "forwarding_waits", "unwiped", "wiped", "orgs_lost", "org_put_back",
}  # fmt: skip
"""Questions that see the rows of every organisation: they begin with a secret, or are timers' or the operator's."""


async def filled(store: PostgresStore, orgs: list[int]) -> None:
    """A run with an event in each."""
    for org in orgs:
        async with store.begin() as unit:
            await unit.load({Kind.COUNTERS: [org]}, 0)
            await unit.commit(run_changes(run_row(org=org), [event(1, 1, org=org)]))


async def test_without_an_organisation_nothing_is_seen(
    store: PostgresStore, org: int, other: int, backend: PostgresBackend
) -> None:
    await filled(store, [org, other])
    connection = await connections.connect(backend.location, {"role": ROLE})
    try:
        tables = [
            row[0]
            for row in await connection.fetch(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
                " AND NOT relispartition"
            )
        ]
        assert len(tables) > 30
        month = await connection.fetchval("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' LIMIT 1")
        for table in set(tables) - NOT_HELD_APART:
            await connection.execute("RESET towerlog.orgs")
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
            await connection.execute("SET towerlog.orgs TO ''")
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
        for table in ("run", "place", "event", "org", "api_key", "audit_entry"):
            await connection.execute(f"SET towerlog.orgs TO '{other}'")
            assert await connection.fetch(f"SELECT DISTINCT org FROM {table}") == [(other,)], table
            await connection.execute("SET towerlog.orgs TO '*'")
            assert len(await connection.fetch(f"SELECT DISTINCT org FROM {table}")) == 2, table
        await connection.execute(f"SET towerlog.orgs TO '{other}'")
        assert await connection.execute(f"UPDATE run SET names = 'x' WHERE org = {org}") == "UPDATE 0"
        assert await connection.execute(f"DELETE FROM place WHERE org = {org}") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute(f"INSERT INTO trim VALUES ({org}, 1, 1, '')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("ALTER TABLE run DISABLE ROW LEVEL SECURITY")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT * FROM {month}")
    finally:
        await connection.close()


async def test_a_question_that_forgets_its_organisation_sees_its_own_alone(
    store: PostgresStore, org: int, other: int
) -> None:
    await filled(store, [org, other])

    async def forgetful(db: Db) -> list[int]:
        return [row[0] for row in await db.rows("SELECT org FROM run ORDER BY org")]

    for where in (Via.READERS, Via.KEYS, Via.WRITER, Via.BETWEEN_UNITS):
        for _ in range(8):  # each connection, and more than once
            assert await store.pool(where).call(named_orgs([other]), forgetful) == [other]
            assert await store.pool(where).call(named_orgs([org]), forgetful) == [org]
            assert await store.pool(where).call(ALL, forgetful) == [org, other]


async def test_a_unit_sees_the_organisations_that_it_has_locked(store: PostgresStore, org: int, other: int) -> None:
    await filled(store, [org, other])
    async with store.begin() as unit:
        await unit.load({Kind.COUNTERS: [other]}, 0)
        assert await unit._db.rows("SELECT org FROM run") == [(other,)]
        await unit.load({Kind.COUNTERS: [org]}, 0)
        assert len(await unit._db.rows("SELECT org FROM run")) == 2
    async with store.begin() as unit:
        await unit.load({}, 0)
        assert await unit._db.rows("SELECT org FROM run") == [], "what one unit saw, the next does not"


def test_who_sees_all_organisations_is_known_by_name() -> None:
    """A question that is not about one organisation has to be meant so."""
    rooms = (parts.LogQuestions, parts.PeopleQuestions, parts.StateQuestions, parts.UpkeepQuestions)
    found = {name: one for room in rooms for name, one in vars(room).items() if isinstance(one, Question)}
    assert {name for name, one in found.items() if not one.is_of_one} == OF_ALL
    for name in OF_ALL & set(found):
        first = list(inspect.signature(found[name].function).parameters)[1:2]
        assert first != ["org"] or name in {"org_create", "org_rename"}, name


async def test_a_user_that_may_not_make_roles_goes_on_without(tmp_path: Path, node: Node) -> None:
    """And with the role once somebody has made it."""
    name = cluster().fresh_name()
    cluster().create(name)
    cluster().sql("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN")
    cluster().sql(f"ALTER DATABASE {name} OWNER TO plain")
    cluster().sql("ALTER SCHEMA public OWNER TO plain", name)
    url = cluster().url(name).replace("towerlog@", "plain@")
    backend = PostgresBackend(url)
    from tests.support.fakes import FakeClock, SeededIds

    without = await backend.open(FakeClock(), SeededIds())
    assert not without.pool(Via.READERS).is_held_apart  # type: ignore[union-attr]
    assert await without.orgs() == []
    await without.close()
    cluster().sql(f"GRANT {ROLE} TO plain")
    held = await backend.open(FakeClock(), SeededIds())
    assert held.pool(Via.READERS).is_held_apart  # type: ignore[union-attr]
    await held.close()
