"""The inbox in any backend: what is open is listed by organisation, what is due is found, used links are remembered."""

from __future__ import annotations

import pytest

from tests.store.sqlite.approvals.test_approvals import approval
from tests.support.lookups import looked_up
from towerlog.model.approval import ApprovalKind
from towerlog.model.principal import shard_key
from towerlog.store.base import Store
from towerlog.store.values import Changes, Kind

# Organisations are kept apart by each backend.
pytestmark = pytest.mark.every_value


async def put(store: Store, changes: Changes) -> None:
    async with store.begin() as unit:
        await unit.commit(changes)


async def test_each_organisation_has_its_own(store: Store, org: int, other: int) -> None:
    run, theirs = shard_key(org, 1), shard_key(other, 1)
    rows = [approval(org, run, 2), approval(other, theirs, 2), approval(org, run, 3, step_index=4, agent="a")]
    await put(store, Changes(approvals={(row.run, row.seq): row for row in rows}))
    assert await store.approvals(org, 9, 0, None, None) == [rows[0], rows[2]]
    assert await store.approvals(org, 9, rows[0].position, None, None) == [rows[2]]
    assert await store.approvals(org, 9, 0, ApprovalKind.QUESTION, None) == [rows[0]]
    assert await store.approvals(other, 9, 0, None, run) == []
    assert await store.approval(org, run, 2) == rows[0]
    assert await store.approval(other, run, 2) is None
    await put(store, Changes(approvals={(run, 2): None}))
    assert await store.approval(org, run, 2) is None


async def test_what_is_due_is_found_until_it_is_marked(store: Store, org: int) -> None:
    run = shard_key(org, 1)
    rows = [approval(org, run, 2, expires_at=20), approval(org, run, 3, expires_at=10), approval(org, run, 4)]
    rows.append(approval(org, run, 5, expires_at=5, expired=True))
    await put(store, Changes(approvals={(row.run, row.seq): row for row in rows}))
    async with store.begin() as unit:
        assert await unit.approvals_due(0, 9, 5) == []
        assert await unit.approvals_due(0, 20, 5) == [rows[1], rows[0]]
        assert await unit.approvals_due(10, 20, 5) == [rows[0]]
        assert await unit.approvals_due(0, 20, 1) == [rows[1]]


async def test_a_used_link_is_remembered_until_it_would_have_expired(store: Store, org: int, other: int) -> None:
    await put(store, Changes(spent_links={(org, "n"): 100, (org, "m"): 50}))
    async with store.begin() as unit:
        found = await looked_up(unit, Kind.SPENT_LINK, (org, "n"), (other, "n"), (org, "x"))
    assert found == {(org, "n"): 100}
    assert await store.spent_links_drop(60, 10) == 1
    async with store.begin() as unit:
        assert await looked_up(unit, Kind.SPENT_LINK, (org, "n"), (org, "m")) == {(org, "n"): 100}
