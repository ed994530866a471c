"""What an error of PostgreSQL means: whether it passes, whether the database is damaged, or what was refused.

A connection that is lost, a server that starts or stops, a lock that is not to be had: these pass, nothing was stored,
and whoever asked is told to come again. A constraint that does not hold is an error of whoever writes, and coming again
does not help.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from towerlog.errors import DiskFull, Overloaded, StorageFailed, cause
from towerlog.store.damage import Damages

PASSING_CLASSES = frozenset({"08", "40", "53", "57"})
"""Classes of SQLSTATE: connection, transaction rolled back, resources, operator's intervention."""
PASSING_STATES = frozenset({"25006", "25P03", "55P03", "55006"})
"""Read-only after a fail-over, idle for too long in a transaction, no lock in time, an object in use."""
FULL = "53100"
DAMAGED_CLASSES = frozenset({"XX", "58", "F0"})
"""Damaged pages, I/O errors of the server, a broken configuration."""
DAMAGED_STATES = frozenset({"XX001", "XX002"})
"""A damaged page, a damaged index: the transaction was rolled back, and what needs other pages can be written."""
RETRY_AFTER_S = 1

# The last is what the driver says where it is told of the end of a connection just as it begins to use it.
DRIVER_ERRORS = (
    asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, asyncpg.exceptions.InternalClientError,
)  # fmt: skip
"""What the driver raises."""


def storage_error(error: BaseException) -> StorageFailed | Overloaded:
    """The error as ours. `fatal` of a `StorageFailed` says that the database itself may be damaged."""
    state = str(getattr(error, "sqlstate", None) or "")
    words = cause(error)
    if state == FULL:
        return DiskFull("the disk of the database server is full; nothing was stored", retry_after=RETRY_AFTER_S)
    if is_passing(error):
        return Overloaded(f"The database cannot be used at the moment ({words}).", retry_after=RETRY_AFTER_S)
    failed = StorageFailed(words, retry_after=RETRY_AFTER_S)
    failed.fatal = state[:2] in DAMAGED_CLASSES
    failed.is_damage = state in DAMAGED_STATES
    return failed


def is_passing(error: BaseException) -> bool:
    """Whether the same may succeed a moment later, though nothing about it has changed."""
    # The schema has grown since a statement was prepared: the driver prepares all of them anew.
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return True
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return state[:2] in PASSING_CLASSES or state in PASSING_STATES
    if isinstance(error, asyncpg.DataError | ValueError):  # a value that the driver cannot send
        return False
    # The driver's own errors are about connections: closed, lost, or not to be made.
    return isinstance(error, DRIVER_ERRORS)


@contextmanager
def storage_errors(damages: Damages | None = None) -> Iterator[None]:
    """Errors of the driver leave as ours; one that says that the database is damaged is told to `damages`."""
    try:
        yield
    except DRIVER_ERRORS as error:
        failed = storage_error(error)
        if damages is not None and isinstance(failed, StorageFailed) and failed.fatal:
            damages.note_failure(error if isinstance(error, Exception) else Exception(str(error)))
        raise failed from error
