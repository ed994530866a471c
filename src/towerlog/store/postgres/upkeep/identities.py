"""Organisations and keys of a PostgreSQL store, for a command that is not asynchronous itself.

A command writes beside the servers, as one more process: nothing has to be held. Each call is one transaction, on a
loop in a thread of its own. Must not write anything but organisations, users, keys, links, an operator's word about the
clock, and the audit of these.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from towerlog.model.audit import AuditEntry
from towerlog.model.key import Key
from towerlog.model.member import SignInLink
from towerlog.model.principal import Org, User
from towerlog.model.removal import OrgHolds, RemovedOrg
from towerlog.store.damage import Damages
from towerlog.store.postgres import connections, schema
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.failures import storage_errors
from towerlog.store.postgres.subjects import audit, people, policies
from towerlog.store.postgres.times import OwnTimes
from towerlog.store.postgres.upkeep import removal

T = TypeVar("T")
KEYS_PAGE = 500


class PostgresIdentities:
    """Reads and writes of organisations, users and keys, by `open_identities`. Raises StorageFailed, Overloaded."""

    is_alone = False
    """Another process may always write beside it."""

    def __init__(self) -> None:
        """Not connected yet."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="towerlog-identities", daemon=True)
        self._thread.start()
        self._db: Db | None = None

    def connect(self, url: str, token: str) -> None:
        """Connects, and brings the schema up to date. `token` names the log, where there is none yet.

        Raises SchemaMismatch, StorageFailed, Overloaded.
        """

        async def opened() -> Db:
            connection = await connections.connect(url, connections.WRITING)
            await schema.migrate(connection)
            await schema.refuse_unfinished(connection)
            await schema.ensure_epoch(connection, f"e{token}")
            return Db(connection, Damages(lambda: 0, is_logged=False), OwnTimes())

        self._db = self._wait(opened())

    def close(self) -> None:
        """Lets go of the connection."""
        if self._db is not None:
            self._wait(self._db.connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def orgs(self) -> list[Org]:
        """All organisations, oldest first."""
        return self._ask(people.orgs)

    async def org_create(
        self,
        org: Org,
        user: User,
        key: Key,
        told: AuditEntry,
        link: SignInLink | None = None,
        also: AuditEntry | None = None,
        most: int | None = None,
    ) -> Org:
        """A new organisation with its first user and key; its number is given here."""
        return self._ask(people.write_org, org, user, key, told, link, also, most)

    async def org_holds(self, org: int) -> OrgHolds:
        """What an organisation holds."""
        return self._ask(removal.org_holds, org)

    async def org_remove(self, removed: RemovedOrg, told: Iterable[AuditEntry]) -> None:
        """Nobody is let in any more."""
        self._ask(removal.remove_org, removed, told)

    async def orgs_removed(self, limit: int) -> list[RemovedOrg]:
        """Those that were removed last."""
        return self._ask(removal.removed_orgs, limit)

    def first_user(self, org: int) -> User:
        """The user that the organisation was made with."""
        return self._ask(people.first_user, org)

    def members(self, org: int) -> tuple[User, ...]:
        """Members that are not removed, oldest first."""
        return self._ask(people.members_of, org)

    def link_put(self, link: SignInLink, told: AuditEntry) -> None:
        """Writes a new link."""
        self._ask(people.write_link, link, told)

    def clock_confirm(self, confirm: str, told: Iterable[AuditEntry]) -> None:
        """Writes an operator's word about the wall clock."""
        self._ask(_confirm, confirm, told)

    def keys(self, org: int) -> Iterator[Key]:
        """All keys of an organisation, newest first, a page at a time."""
        before: str | None = None
        while True:
            page = self._ask(people.keys, org, KEYS_PAGE, before)
            yield from page
            if len(page) < KEYS_PAGE:
                return
            before = page[-1].key_id

    def key_put(self, key: Key, told: AuditEntry) -> None:
        """Writes a new key."""
        self._ask(people.write_key, key, told)

    def key_revoke(self, org: int, key_id: str, now_ms: int, told: Callable[[Key, Key], AuditEntry]) -> Key | None:
        """The key, revoked now or before; None when this organisation has no such key."""
        return self._ask(_revoke, org, key_id, now_ms, told)

    def _ask(self, question: Callable[..., Awaitable[T]], *args: Any) -> T:
        db = self._db
        assert db is not None

        async def whole() -> T:
            async with db.connection.transaction():
                return await question(db, *args)

        return self._wait(whole())

    def _wait(self, doing: Coroutine[Any, Any, T]) -> T:
        with storage_errors():
            return asyncio.run_coroutine_threadsafe(doing, self._loop).result()


async def _revoke(db: Db, org: int, key_id: str, now_ms: int, told: Callable[[Key, Key], AuditEntry]) -> Key | None:
    # Who writes the audit of an organisation waits here for whoever else does.
    await db.value("SELECT org FROM org_count WHERE org = $1 FOR UPDATE", org)
    key = await people.key(db, org, key_id)
    if key is not None and key.revoked_at is None:
        before, key = key, msgspec.structs.replace(key, revoked_at=now_ms)
        await people.write_key(db, key, told(before, key))
    return key


async def _confirm(db: Db, confirm: str, told: Iterable[AuditEntry]) -> None:
    await policies.age_confirm(db, confirm)
    await audit.write(db, told)


def open_identities(url: str, token: str) -> PostgresIdentities:
    """Opens the database at `url`, beside its servers. Raises SchemaMismatch, StorageFailed, Overloaded."""
    identities = PostgresIdentities()
    try:
        identities.connect(url, token)
    except BaseException:
        identities.close()
        raise
    return identities
