"""Organisations and keys of an SQLite store, for a command.

Where the writer's place is free, the command takes it, does what any writer does first, and keeps it until `close`.
Beside a running server this is a second connection: SQLite lets it wait for its turn. Must not write anything but
`org`, `user`, `api_key`, `sign_in_link`, an operator's word about the clock, and the audit of what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import apsw
import msgspec

from towerlog.errors import SchemaMismatch, StoreLocked
from towerlog.model.audit import AuditEntry
from towerlog.model.key import Key
from towerlog.model.member import SignInLink
from towerlog.model.principal import Org, User
from towerlog.model.removal import OrgHolds, RemovedOrg
from towerlog.store.columns import people
from towerlog.store.lock import WriterLock, may_write_beside
from towerlog.store.sqlite import lookups, reads
from towerlog.store.sqlite.audit import entries
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.failures import is_final, named, storage_failed, text_damaged
from towerlog.store.sqlite.connections.transaction import transaction
from towerlog.store.sqlite.erasure import policies
from towerlog.store.sqlite.people import members, organisations, removal
from towerlog.store.sqlite.upkeep import matching_files, start

KEYS_PAGE = 500


class SqliteIdentities:
    """Reads and writes of organisations, users and keys. Made by `open_identities`; storage errors: StorageFailed."""

    def __init__(self, connection: apsw.Connection, lock: WriterLock | None) -> None:
        """`lock` is the writer's place, where this process holds it."""
        self._db = connection
        self._lock = lock
        self._has_failed = False

    @property
    def is_alone(self) -> bool:
        """True when no other process can write this store now."""
        return self._lock is not None

    def close(self) -> None:
        """Lets go of the file and of the writer's place. Raises StorageFailed."""
        try:
            if self._lock is not None and not self._has_failed:
                with self._storage_errors():
                    matching_files.settle_log(self._db)
        finally:
            self._db.close()
            if self._lock is not None:
                self._lock.close()

    def begin(self, token: str) -> None:
        """What a writer does first."""
        assert self._lock is not None
        with self._storage_errors():
            start.begin(self._db, self._lock, token)

    async def orgs(self) -> list[Org]:
        """All organisations, oldest first."""
        with self._storage_errors():
            return reads.orgs(self._db)

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
        with self._written():
            return organisations.write_org(self._db, org, user, key, told, link, also, most)

    async def org_holds(self, org: int) -> OrgHolds:
        """What an organisation holds."""
        with self._storage_errors():
            return removal.org_holds(self._db, org)

    async def org_remove(self, removed: RemovedOrg, told: Iterable[AuditEntry]) -> None:
        """Nobody is let in any more."""
        with self._written():
            removal.remove_org(self._db, removed, told)

    async def orgs_removed(self, limit: int) -> list[RemovedOrg]:
        """Those that were removed last."""
        with self._storage_errors():
            return removal.removed_orgs(self._db, limit)

    def first_user(self, org: int) -> User:
        """The user that the organisation was made with."""
        sql = f"SELECT {people.USER_COLUMNS} FROM user WHERE org = ? ORDER BY number LIMIT 1"
        with self._storage_errors():
            return people.user_value(next(iter(self._db.execute(sql, (org,)))))

    def members(self, org: int) -> tuple[User, ...]:
        """Members that are not removed, oldest first."""
        with self._storage_errors():
            return members.members_of(self._db, org)

    def link_put(self, link: SignInLink, told: AuditEntry) -> None:
        """Writes a new link."""
        with self._written():
            members.write_links(self._db, [link])
            entries.write(self._db, [told])

    def clock_confirm(self, confirm: str, told: Iterable[AuditEntry]) -> None:
        """Writes an operator's word about the wall clock."""
        with self._written():
            policies.age_confirm(self._db, confirm)
            entries.write(self._db, told)

    def keys(self, org: int) -> Iterator[Key]:
        """All keys of an organisation, newest first, a page at a time."""
        before: str | None = None
        while True:
            with self._storage_errors():
                page = reads.keys(self._db, org, KEYS_PAGE, before)
            yield from page
            if len(page) < KEYS_PAGE:
                return
            before = page[-1].key_id

    def key_put(self, key: Key, told: AuditEntry) -> None:
        """Writes a new key."""
        with self._written():
            organisations.write_key(self._db, key, told)

    def key_revoke(self, org: int, key_id: str, now_ms: int, told: Callable[[Key, Key], AuditEntry]) -> Key | None:
        """The key, revoked now or before; None when this organisation has no such key."""
        with self._written():
            key = lookups.key(self._db, org, key_id)
            if key is not None and key.revoked_at is None:
                before, key = key, msgspec.structs.replace(key, revoked_at=now_ms)
                organisations.write_key(self._db, key, told(before, key))
        return key

    @contextmanager
    def _written(self) -> Iterator[None]:
        """One transaction that waits for its turn to write; one that begins with reading could not wait for it."""
        with self._storage_errors(), transaction(self._db):
            yield

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Storage errors as ours. One that is final is noted: nothing more is written here, not at the close either."""
        with named(Path(self._db.filename)):
            try:
                yield
            except apsw.BusyError as error:
                raise StoreLocked("the store is busy: another process holds its write lock") from error
            except apsw.Error as error:
                self._has_failed = self._has_failed or is_final(error, self._db.system_errno)
                raise storage_failed(error, self._db) from error
            except UnicodeDecodeError as error:
                raise text_damaged(error) from error


async def open_identities(path: Path, token: str) -> SqliteIdentities:
    """Opens the database at `path`, beside its server or as its writer; then it is made or migrated if need be.

    `token` names this opening. Raises StoreLocked when another process holds it and does not get it ready, and what
    the start of a writer raises: SchemaMismatch for a newer schema, or beside a server any other than this version's,
    StoreTorn, StorageFailed, OSError.
    """
    files.check_library()
    found = await start.in_turn(partial(_place_or_connection, path))
    return _as_writer(found, token) if isinstance(found, WriterLock) else SqliteIdentities(found, None)


def _place_or_connection(path: Path) -> WriterLock | apsw.Connection:
    """The writer's place, else a connection beside its holder. Raises StoreLocked for one that is not ready."""
    try:
        return start.take_place(path)
    except StoreLocked:
        beside = _beside_server(path)
        if beside is None:
            words = f"{path} is held by another towerlog process, which is not ready yet"
            raise StoreLocked(words) from None
        return beside


def _beside_server(path: Path) -> apsw.Connection | None:
    """A connection beside a server that has done what a writer does first, and made the first organisation.

    Raises SchemaMismatch where the schema is not this version's, or has more in it: it will not be another one as long
    as that server serves it.
    """
    log = files.log_of(path)
    if not may_write_beside(log):
        return None
    db = files.open_connection(path)
    try:
        files.check_schema(db)
        # Asked once more: this connection sees the log as the server does only if that was there before it. Where it
        # was not, the log may hold what has never come to the disk, and nothing may be written behind that.
        if reads.orgs(db) and may_write_beside(log):
            return db
    except SchemaMismatch as mismatch:
        if may_write_beside(log):  # else its server has ended, and another may be bringing the schema up to date
            db.close()
            raise SchemaMismatch(f"{path} is held by its server, and {mismatch}") from None
    except (apsw.Error, UnicodeDecodeError) as error:
        failed = storage_failed(error, db) if isinstance(error, apsw.Error) else text_damaged(error)
        db.close()
        with named(path):
            raise failed from error
    db.close()
    return None


def _as_writer(lock: WriterLock, token: str) -> SqliteIdentities:
    start.prepare(lock)
    try:
        db = files.open_connection(lock.path)
    except BaseException:
        lock.close()
        raise
    identities = SqliteIdentities(db, lock)
    try:
        identities.begin(token)
    except BaseException:
        db.close()
        lock.close()
        raise
    return identities
