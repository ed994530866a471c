"""The questions of `SqliteStore` about organisations, keys and members."""

from __future__ import annotations

import asyncio
from typing import Any

from towerlog.model.removal import RemovedOrg
from towerlog.store.sqlite import reads
from towerlog.store.sqlite.connections.pools import Ask, HasPools, Pool, Where
from towerlog.store.sqlite.people import members as people
from towerlog.store.sqlite.people import organisations, removal


class PeopleAsks(HasPools):
    """A part of the store; see `store/base` for what each method promises."""

    orgs = Ask(reads.orgs)
    org = Ask(reads.org)
    org_create = Ask(organisations.write_org, Where.WRITER)
    org_rename = Ask(organisations.rename_org, Where.WRITER)
    orgs_lost = Ask(organisations.lost_orgs)
    org_put_back = Ask(organisations.put_org_back, Where.WRITER)
    org_holds = Ask(removal.org_holds)
    org_remove = Ask(removal.remove_org, Where.WRITER)
    orgs_removed = Ask(removal.removed_orgs)
    orgs_erasing = Ask(removal.orgs_erasing)
    key_by_digest = Ask(people.caller_by_digest, Where.KEYS)
    keys = Ask(reads.keys)
    key_by_id = Ask(people.key_by_id)
    key_put = Ask(organisations.write_key, Where.WRITER)
    secret = Ask(organisations.keep_secret, Where.WRITER)
    users = Ask(people.users)
    members = Ask(people.members)
    members_named = Ask(people.members_named)
    member_known = Ask(people.member_known)
    link_by_digest = Ask(people.link_by_digest)
    sign_in_links = Ask(people.links)
    sessions = Ask(people.sessions)
    sessions_seen = Ask(people.note_seen, Where.BETWEEN_UNITS)
    signed_out_drop = Ask(people.drop_old, Where.BETWEEN_UNITS)


class RemovingUnit:
    """A part of a unit of work."""

    _writer: Pool
    written: asyncio.Future[Any] | None

    def erase_org(self, org: int, now_ms: int) -> asyncio.Future[tuple[RemovedOrg, int] | None]:
        """A step of the erasure of an organisation."""
        done = self._writer.submit(removal.erase_org_step, org, now_ms)
        self.written = done
        return done
