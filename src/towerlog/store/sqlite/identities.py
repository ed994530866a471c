"""Organisations and keys of an SQLite store, beside the process that writes its runs.

The writer's place is taken only where there is something to make or to migrate, and then until `close`. Otherwise this
is a second connection: SQLite lets it wait for its turn. Must not write anything but `org`, `user` and `api_key`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from towerlog.errors import SchemaMismatch, StoreLocked
from towerlog.model.key import Key
from towerlog.model.principal import Org, User
from towerlog.store.lock import WriterLock
from towerlog.store.sqlite import connection as files
from towerlog.store.sqlite import lookups, reads
from towerlog.store.sqlite import write as writes
from towerlog.store.sqlite.upkeep import whole
from towerlog.store.sqlite.upkeep.failures import storage_failed

KEYS_PAGE = 500
SETTLE_TRIES = 100
SETTLE_PAUSE_S = 0.05
"""How often, and how long apart, to look again while another process is making the store."""


class SqliteIdentities:
    """Reads and writes of organisations, users and keys. Made by `open_identities`; storage errors: StorageFailed."""

    def __init__(self, connection: apsw.Connection, lock: WriterLock | None) -> None:
        """`lock` is the writer's place, where this process holds it."""
        self._db = connection
        self._lock = lock

    @property
    def is_alone(self) -> bool:
        """True when no other process can write this store now."""
        return self._lock is not None

    def close(self) -> None:
        """Lets go of the file and of the writer's place."""
        if whole.needs_log(self._db):
            # Nobody but the store's writer may empty its log, also when that was killed and this is the last to close.
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    async def orgs(self) -> list[Org]:
        """All organisations, oldest first."""
        with _storage_errors():
            return reads.orgs(self._db)

    async def org_create(self, org: Org, user: User, key: Key) -> Org:
        """A new organisation with its first user and key; its number is given here."""
        with _storage_errors():
            return writes.write_org(self._db, org, user, key)

    def first_user(self, org: int) -> User:
        """The user that the organisation was made with."""
        sql = (
            "SELECT org, user_id, name, email, created_at FROM user WHERE org = ? ORDER BY created_at, user_id LIMIT 1"
        )
        with _storage_errors():
            return User(*next(iter(self._db.execute(sql, (org,)))))

    def keys(self, org: int) -> Iterator[Key]:
        """All keys of an organisation, newest first, a page at a time."""
        before: str | None = None
        while True:
            with _storage_errors():
                page = reads.keys(self._db, org, KEYS_PAGE, before)
            yield from page
            if len(page) < KEYS_PAGE:
                return
            before = page[-1].key_id

    def key_put(self, key: Key) -> None:
        """Writes a new key."""
        with _storage_errors():
            writes.write_key(self._db, key)

    def key_revoke(self, org: int, key_id: str, now_ms: int) -> Key | None:
        """The key, revoked now or before; None when this organisation has no such key."""
        with _storage_errors():
            # Immediate: a transaction that begins with reading could not wait for its turn to write.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                key = lookups.key(self._db, org, key_id)
                if key is not None and key.revoked_at is None:
                    key = msgspec.structs.replace(key, revoked_at=now_ms)
                    writes.write_key(self._db, key)
            finally:
                self._db.execute("COMMIT")
        return key


async def open_identities(path: Path, fresh_epoch: str) -> SqliteIdentities:
    """Opens the database at `path`; makes or migrates it when it needs that and nobody else holds it.

    Raises StoreLocked when another process holds it and does not get it ready, SchemaMismatch for a newer schema.
    """
    files.check_library()
    whole.check_whole(path)
    for _ in range(SETTLE_TRIES):
        if _is_ready(path):
            return SqliteIdentities(files.open_connection(path), None)
        try:
            lock = files.prepare_files(path)
        except StoreLocked:
            # Its holder has just begun: the schema and the first organisation are there in a moment.
            await asyncio.sleep(SETTLE_PAUSE_S)
            continue
        return _made(path, lock, fresh_epoch)
    raise StoreLocked(f"{path} is held by another towerlog process, of another version or not ready yet")


def _is_ready(path: Path) -> bool:
    """Whether the schema is this version's and the first organisation is there."""
    if not path.exists() or not path.stat().st_size:
        return False
    with _storage_errors():
        db = files.open_connection(path, read_only=True)
        try:
            files.check_schema(db)
            return bool(reads.orgs(db))
        except SchemaMismatch:
            return False
        finally:
            db.close()


def _made(path: Path, lock: WriterLock, fresh_epoch: str) -> SqliteIdentities:
    try:
        with _storage_errors():
            db = files.open_connection(path)
            files.migrate(db)
            files.ensure_epoch(db, fresh_epoch)
            lock.note_made()
        return SqliteIdentities(db, lock)
    except BaseException:
        lock.close()
        raise


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except apsw.BusyError as error:
        raise StoreLocked("the store is busy: another process holds its write lock") from error
    except apsw.Error as error:
        raise storage_failed(error, None) from error
