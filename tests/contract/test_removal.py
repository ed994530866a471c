"""An organisation that is removed: at once nobody is let in; then all rows of it go, whichever table they are in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.support.backends import Backend
from tests.support.factories import draft, identity, traced
from tests.support.postgres import cluster
from tests.support.rig import DIALECT, Rig, open_rig
from towerlog.engine.audit.outside import organisation_removed
from towerlog.engine.erasure.removal import removed_now
from towerlog.engine.verify import verify_org
from towerlog.errors import Conflict, NotFound
from towerlog.model.audit import SERVER
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.command import Append, Claim, CreateRun
from towerlog.model.event import EventType, History
from towerlog.model.facts import CheckpointFacts, Effects, Erases, Facts
from towerlog.model.principal import SHARD_BITS, Org, Principal
from towerlog.model.removal import CALM_MS, SETTLED_MS, RemovedOrg
from towerlog.model.retention import SetRetention
from towerlog.store.columns import removal

KEPT = {"org", "org_count", "removed_org"}
OF_NOBODY = {"meta", "migration"}
PACKED = {"event": "key", "audit_entry": "key", "agent": "agent"}


@pytest.fixture
async def rig(backend: Backend, tmp_path: Path) -> AsyncIterator[Rig]:
    """An engine on the backend, with its organisation."""
    async with open_rig(tmp_path, backend=backend) as opened:
        yield opened


def asked(backend: Backend, sql: str) -> list[Any]:
    """What the database says, whoever has it open."""
    if backend.location.startswith("postgres"):
        return cluster().sql(sql, backend.location.partition("?")[0].rpartition("/")[2])
    with closing(apsw.Connection(backend.location)) as db:
        db.set_busy_timeout(10_000)
        return list(db.execute(sql))


def columns(backend: Backend) -> dict[str, dict[str, str]]:
    """Tables that hold something of organisations, with the types of their columns."""
    found: dict[str, dict[str, str]] = {}
    if backend.location.startswith("postgres"):
        sql = (
            "SELECT c.relname, a.attname, format_type(a.atttypid, NULL) FROM pg_class c JOIN pg_attribute a ON"
            " a.attrelid = c.oid WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND attnum > 0 ORDER BY 1, attnum"
        )
        for table, column, kind in asked(backend, sql):
            found.setdefault(table, {})[column] = kind
    else:
        for (table,) in asked(
            backend, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ):
            found[table] = {row[1]: row[2] for row in asked(backend, f"PRAGMA table_info({table})")}
    return {table: found[table] for table in sorted(found.keys() - OF_NOBODY)}


def where_is(table: str, of: dict[str, str], org: int) -> str:
    """The rows of an organisation."""
    if "org" in of:
        return f"org = {org}"
    return f"{PACKED.get(table, 'run')} >> {SHARD_BITS} = {org}"


def left(backend: Backend, org: int) -> dict[str, int]:
    """Rows of an organisation by table, without those that stay."""
    counts = [
        f"SELECT '{table}', count(*) FROM {table} WHERE {where_is(table, of, org)}"
        for table, of in columns(backend).items()
        if table not in KEPT
    ]
    return {table: int(count) for table, count in asked(backend, " UNION ALL ".join(counts)) if int(count)}


def fill(backend: Backend, org: int, recorded_at: int) -> None:
    """A row in every table that has none of this organisation yet, so that none is left out of a removal."""
    texts = {
        "text": "'x'",
        "bytea": "'{}'",
        "blob": "CAST('{}' AS BLOB)",
        "boolean": "false",
        "uuid": "gen_random_uuid()",
    }
    has, rows = left(backend, org), []
    for table, of in columns(backend).items():
        if table in KEPT or table in has:
            continue
        values = []
        for column, kind in of.items():
            packed = column == "run" or column == PACKED.get(table)
            whole = org if column == "org" else org << SHARD_BITS | 9 if packed else 987_654
            whole = recorded_at if column == "recorded_at" else whole
            values.append("1" if kind in ("smallint", "integer") else texts.get(kind.lower(), str(whole)))
        rows.append(f"INSERT INTO {table} ({', '.join(of)}) VALUES ({', '.join(values)})")
    asked(backend, "; ".join(rows))
    assert left(backend, org).keys() == columns(backend).keys() - KEPT


async def live(rig: Rig, who: Principal) -> None:
    """A run for workers, one with a history, a budget, a policy."""
    history = History([b'{"content":"hi"}', b'{"content":"there"}'], [b'{"at":1}', b'{"at":2}'])
    asks = CheckpointFacts(0, "waiting_for_approval")
    for name in ("one", "two"):
        began = draft(EventType.RUN_STARTED, traced(name), agent="a", facts=Facts(effects=Effects(is_start=True)))
        facts = Facts(effects=Effects(checkpoint=asks))
        waits = draft(EventType.CHECKPOINT, traced(name), {"step_index": 0}, agent="a", facts=facts, history=history)
        await rig.do(Append(DIALECT, [began, waits]), principal=who)
    await rig.do(CreateRun("thread", agent="a", labels={"gpu": "yes"}), principal=who)
    await rig.do(
        CreateBudget("all", BudgetScope(organisation=True), 10**9, Period.MONTH, BudgetAction.WARN), principal=who
    )
    await rig.do(SetRetention(Erases.EVENTS, 86_400_000, None), principal=who)


async def org_of(rig: Rig, number: int) -> Org:
    found = await rig.store.org(number)
    assert found is not None
    return found


async def remove(rig: Rig, who: Principal) -> RemovedOrg:
    held = await rig.store.org_holds(who.org)
    removed = removed_now(await org_of(rig, who.org), held, rig.clock.now_ms())
    await rig.store.org_remove(removed, [organisation_removed(SERVER, rig.org, removed)])
    return removed


async def step(rig: Rig, org: int, now_ms: int) -> tuple[RemovedOrg, int] | None:
    async with rig.store.begin() as unit:
        return await unit.erase_org(org, now_ms)


async def test_a_removed_one_lets_nobody_in_and_is_in_no_list_but_its_own(rig: Rig) -> None:
    who = await rig.make_org("theirs")
    await live(rig, who)
    key = await rig.store.key_by_id(who.org, who.key_id)
    assert key is not None
    removed = await remove(rig, who)
    assert (removed.held.runs, removed.held.keys, removed.held.members) == (3, 1, 1)
    assert removed.held.events >= 5
    assert [one.org for one in await rig.store.orgs()] == [rig.org]
    assert await rig.store.key_by_digest(key.digest) is None
    assert await rig.store.members_named("theirs", "admin") is None
    assert await rig.store.orgs_removed(9) == await rig.store.orgs_erasing() == [removed]
    assert await rig.store.policies_of(who.org) == ()
    with pytest.raises(NotFound):
        await rig.store.org_remove(removed, [])
    # What was on its way into the store lets nobody in either.
    await rig.store.key_put(key, organisation_removed(SERVER, who.org, removed))
    assert await rig.store.key_by_digest(key.digest) is None


async def test_its_name_may_be_given_again_its_number_and_id_never(rig: Rig) -> None:
    who = await rig.make_org("theirs")
    removed = await remove(rig, who)
    again = await rig.make_org("theirs")
    assert again.org > removed.org
    assert again.org_id != removed.org_id
    org, *others = identity(1, name="more")
    taken = type(org)(0, removed.org_id, "more", 0)
    with pytest.raises(Exception, match=r"(?i)unique"):
        await rig.store.org_create(taken, *others)
    with pytest.raises(Conflict):
        await rig.make_org("theirs")


async def test_all_rows_of_all_tables_go_in_bounded_steps_and_nobody_elses(rig: Rig, backend: Backend) -> None:
    who = await rig.make_org("theirs")
    await live(rig, rig.principal)
    await live(rig, who)
    removed = await remove(rig, who)
    fill(backend, who.org, rig.clock.now_ms())
    ours = left(backend, rig.org)
    at = removed.removed_at
    first = await step(rig, who.org, at)
    assert first is not None
    assert first[1] > 0
    # The log goes when nobody reads it any more.
    while (early := await step(rig, who.org, at)) is not None and early[1]:
        pass
    assert {"event", "message"} <= left(backend, who.org).keys()
    assert not {"run", "lane", "delivery"} & left(backend, who.org).keys()
    while (done := await step(rig, who.org, at + CALM_MS)) is not None and done[1]:
        assert done[1] <= removal.STEP_ROWS + removal.RUNS_AT_ONCE * len(removal.OF_RUN)
    assert done is not None
    assert left(backend, who.org) == {}
    assert done[0].erased_at is None, "something may be on its way"
    # What comes late is found as well.
    fill(backend, who.org, at)
    late = await step(rig, who.org, at + SETTLED_MS)
    assert late is not None
    assert late[1] >= len(columns(backend)) - len(KEPT)
    end = await step(rig, who.org, at + SETTLED_MS)
    assert end is not None
    assert (left(backend, who.org), end[0].erased_at) == ({}, at + SETTLED_MS)
    assert end[0].erased_rows > late[1]
    assert await step(rig, who.org, at + SETTLED_MS) is None
    assert await rig.store.orgs_erasing() == []
    assert await rig.store.orgs_removed(9) == [end[0]]
    assert left(backend, rig.org) == ours
    assert await verify_org(rig.store, rig.org) == 0


async def turn(rig: Rig) -> None:
    """One of all timers."""
    await rig.engine.services.retention.sweep()
    await rig.engine.sweep()


async def test_the_engine_erases_it_by_itself_over_a_restart_while_others_go_on(rig: Rig, backend: Backend) -> None:
    """A timer that comes between the steps sees a run of a removed one whole or not at all."""
    who = await rig.make_org("theirs")
    await live(rig, who)
    await rig.do(Claim("w", 1000), principal=who)
    await remove(rig, who)
    rig.clock.advance(CALM_MS - 1)
    await turn(rig)
    assert {"event", "message"} <= left(backend, who.org).keys()
    rig.engine.forget()
    rig.clock.advance(SETTLED_MS)
    await turn(rig)
    await turn(rig)
    assert left(backend, who.org) == {}
    assert await rig.store.orgs_erasing() == []
    await live(rig, rig.principal)
    assert await verify_org(rig.store, rig.org) == 0
