"""Threads that ask SQLite, and the binding of a question to them.

SQLite blocks its caller, so every question runs in a thread of a pool; each thread has a connection of its own. Which
pool answers which question is a table: the `Ask` attributes of `SqliteUnit` and `SqliteStore`.
"""

from __future__ import annotations

import asyncio
import enum
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

import apsw

from towerlog.errors import StorageFailed, StoreMoved
from towerlog.store.columns.order import in_order
from towerlog.store.damage import Damages
from towerlog.store.sqlite.connections.failures import is_final, moved, storage_failed, text_damaged
from towerlog.store.trouble import Trouble
from towerlog.threads import started_threads

P = ParamSpec("P")
T = TypeVar("T")
P_ask = ParamSpec("P_ask")
T_ask = TypeVar("T_ask")


def file_id(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to now; None where to none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def of_one_file(path: Path, opener: Callable[[], apsw.Connection]) -> Callable[[], apsw.Connection]:
    """Opens connections to the file that the path leads to now, and to no other. They raise StoreMoved.

    A thread opens its connection at its first question: one that did so while the file was moved away would ask another
    file for good.
    """
    known = file_id(path)

    def opened() -> apsw.Connection:
        if file_id(path) != known:
            raise StoreMoved(moved(path), retry_after=1)
        connection = opener()
        if file_id(path) != known:
            connection.close()
            raise StoreMoved(moved(path), retry_after=1)
        return connection

    return opened


class Pool:
    """A pool of threads, each with its own connection."""

    writes = False

    def __init__(
        self, count: int, opener: Callable[[], apsw.Connection], name: str, damages: Damages, trouble: Trouble
    ) -> None:
        """`damages` is told when the disk or SQLite fails a question, `trouble` when it fails a write for good."""
        self._damages = damages
        self._trouble = trouble
        self._local = threading.local()
        self._opener = opener
        self._opened: list[apsw.Connection] = []
        self._threads = started_threads(count, name)

    def connection(self) -> apsw.Connection:
        """The calling thread's own connection, opened at its first use."""
        found: apsw.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._opener()
            self._opened.append(found)
        return found

    def submit(
        self, question: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Begins to ask a question in one of the threads. Storage errors leave as StorageFailed.

        Where the threads write, it fails after the first final failure.
        """

        def ask() -> T:
            connection: apsw.Connection | None = None
            # Here, not before: what was queued behind the failure must not run either.
            if self.writes and self._trouble.final is not None:
                raise self._trouble.refusal(self._trouble.final)
            try:
                connection = self.connection()
                if connection.in_transaction:  # the question before had no memory to roll its own back
                    connection.execute("ROLLBACK")
                answer = question(connection, *args, **kwargs)
            except apsw.Error as error:
                failed = storage_failed(error, connection)
                self._damages.note_lack(failed)
                if is_final(error, 0 if connection is None else connection.system_errno):
                    # In this thread, so that whatever waits for it finds the flag set.
                    self._trouble.end(failed)
                elif failed.fatal:
                    self._damages.note_failure(error)
                raise failed from error
            except UnicodeDecodeError as error:
                self._damages.note_failure(error)
                raise text_damaged(error) from error
            except StorageFailed as failed:
                self._damages.note_lack(failed)
                if failed.fatal and self.writes:
                    self._trouble.end(failed)
                raise
            # A sync that failed beside this one may have taken the pages of this one with it.
            if self.writes and self._trouble.final is not None:
                raise self._trouble.refusal(self._trouble.final)
            return answer

        return asyncio.get_running_loop().run_in_executor(self._threads, ask)

    async def call(
        self, question: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Asks a question and waits for the answer, as `submit`."""
        return await self.submit(question, *args, **kwargs)

    def close(self) -> None:
        """Waits for what runs, then closes every connection."""
        self._threads.shutdown(wait=True)
        for connection in self._opened:
            connection.close()


class Writing(Pool):
    """A pool whose threads write: once a write has failed for good, it does nothing more."""

    writes = True


class Locked:
    """A pool whose questions also wait for a lock, and hold it until they are answered."""

    def __init__(self, pool: Pool, lock: asyncio.Lock) -> None:
        self._pool = pool
        self._lock = lock

    async def call(
        self, question: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `Pool.call`."""
        async with self._lock:
            return await self._pool.call(question, *args, **kwargs)


class Where(enum.Enum):
    """Who answers a question."""

    READERS = "a reading thread: sees committed rows, beside the writer"
    KEYS = "the reading thread that answers nothing else: long questions must not delay authentication"
    WRITER = "the writing thread: in the order of its commits"
    BETWEEN_UNITS = "the writing thread while no unit is open: changes what a plan may have read"


class HasPools(Protocol):
    """What has an `Ask` among its attributes."""

    def pool(self, where: Where) -> Pool | Locked:
        """The threads of this kind."""
        ...


class HasClock(HasPools, Protocol):
    """What has an `AskInTime` among its attributes."""

    @property
    def steady_ms(self) -> Callable[[], int]:
        """Tells the steady time."""
        ...


class Ask(Generic[P_ask, T_ask]):
    """A method made of a function `(connection, …) -> answer`: the same arguments without the connection, awaited."""

    def __init__(
        self, function: Callable[Concatenate[apsw.Connection, P_ask], T_ask], where: Where = Where.READERS
    ) -> None:
        self.function = function
        self.where = where

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.function = in_order(name, self.function)

    @overload
    def __get__(self, asked: None, owner: type[object]) -> Self: ...
    @overload
    def __get__(self, asked: HasPools, owner: type[object]) -> Callable[P_ask, Coroutine[Any, Any, T_ask]]: ...
    def __get__(
        self, asked: HasPools | None, owner: type[object]
    ) -> Self | Callable[P_ask, Coroutine[Any, Any, T_ask]]:
        if asked is None:
            return self
        call, function = asked.pool(self.where).call, self.function

        def ask(*args: P_ask.args, **kwargs: P_ask.kwargs) -> Coroutine[Any, Any, T_ask]:
            return call(function, *args, **kwargs)

        return ask


class AskInTime(Generic[P_ask, T_ask]):
    """The same of a function `(connection, steady time, …) -> answer`, which gives up when it takes too long."""

    def __init__(self, function: Callable[Concatenate[apsw.Connection, Callable[[], int], P_ask], T_ask]) -> None:
        self.function = function

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.function = in_order(name, self.function)

    @overload
    def __get__(self, asked: None, owner: type[object]) -> Self: ...
    @overload
    def __get__(self, asked: HasClock, owner: type[object]) -> Callable[P_ask, Coroutine[Any, Any, T_ask]]: ...
    def __get__(
        self, asked: HasClock | None, owner: type[object]
    ) -> Self | Callable[P_ask, Coroutine[Any, Any, T_ask]]:
        if asked is None:
            return self
        call, function, steady_ms = asked.pool(Where.READERS).call, self.function, asked.steady_ms

        def ask(*args: P_ask.args, **kwargs: P_ask.kwargs) -> Coroutine[Any, Any, T_ask]:
            return call(function, steady_ms, *args, **kwargs)

        return ask
