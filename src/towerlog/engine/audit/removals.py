"""Organisations of which an audit tells that they were removed, and of which the row that says so is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from towerlog.engine.audit.chain import is_whole
from towerlog.model.audit import SERVER, Action, AuditEntry, AuditFilter, AuditRow, make_entry
from towerlog.model.principal import Org
from towerlog.model.removal import OrgHolds, RemovedOrg
from towerlog.model.times import format_ms
from towerlog.store.base import Store

ENTRIES_ON_A_PAGE = 200
_REMOVALS = AuditFilter(action=Action.ORGANISATION_REMOVE)


class LostRemoval(NamedTuple):
    """An organisation that is there again, since nothing but an entry says that it was removed."""

    removed: RemovedOrg
    told_in: Org
    """Whose audit tells it."""
    number: int
    """Of the entry."""


async def lost_removals(store: Store) -> list[LostRemoval]:
    """All of them. An audit whose chain does not hold is not believed: whoever can forge it could end any of them."""
    orgs = await store.orgs()
    by_id = {one.org_id: one for one in orgs}
    found: dict[str, LostRemoval] = {}
    for told_in in orgs:
        told = [row async for row in _removals(store, told_in.org) if row.entry.object_id in by_id]
        if told and await is_whole(store, told_in.org):
            for row in told:
                org = by_id[row.entry.object_id]
                found.setdefault(org.org_id, LostRemoval(_removed(org, row.entry), told_in, row.number))
    # Beside a server one may have been removed since they were listed.
    there = {one.org_id for one in await store.orgs()} if found else set()
    return [one for org_id, one in found.items() if org_id in there]


async def remove_again(store: Store, lost: LostRemoval, now_ms: int) -> None:
    """Lets nobody in any more, and begins to erase what is left."""
    removed = lost.removed
    about, state = (
        ("organisation", removed.org_id),
        {"name": removed.name, "removed_at": format_ms(removed.removed_at)},
    )
    told = make_entry(lost.told_in.org, now_ms, SERVER, Action.ROW_RESTORE, about, None, state)
    await store.org_remove(removed, [told])


async def _removals(store: Store, org: int) -> AsyncIterator[AuditRow]:
    before: int | None = None
    while True:
        page, before = await store.audit(org, _REMOVALS, ENTRIES_ON_A_PAGE, before)
        for row in page:
            yield row
        if before is None:
            return


def _removed(org: Org, told: AuditEntry) -> RemovedOrg:
    """As it was when it was removed."""
    was = msgspec.json.decode(told.before)
    held = OrgHolds(was["runs"], was["events"], was["keys"], was["members"])
    return RemovedOrg(org.org, org.org_id, was["name"], org.created_at, told.at, held)
