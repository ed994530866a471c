"""The binding of a question to the connections that answer it: the `Question` attributes of the store and its parts."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from towerlog.store.postgres.connections import Connections, Db

P = ParamSpec("P")
T = TypeVar("T")


class Via(enum.Enum):
    """Who answers a question."""

    READERS = "a reading connection: sees what was committed when the statement began"
    KEYS = "the connections that answer nothing else: long questions must not delay authentication"
    WRITER = "a writing connection, in a transaction of its own"
    APART = "a writing connection, in no transaction"
    BETWEEN_UNITS = "as the writer while no unit is open here: changes what a plan may have read"


class Transacting:
    """A pool whose questions are a transaction each, and may also wait for a lock."""

    def __init__(self, pool: Connections, lock: asyncio.Lock | None = None) -> None:
        self._pool = pool
        self._lock = lock

    async def call(self, question: Callable[Concatenate[Db, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Connections.call`."""

        async def whole(db: Db) -> T:
            async with db.connection.transaction():
                return await question(db, *args, **kwargs)

        if self._lock is None:
            return await self._pool.call(whole)
        async with self._lock:
            return await self._pool.call(whole)


class HasConnections(Protocol):
    """What has an `Question` among its attributes."""

    def pool(self, where: Via) -> Connections | Transacting:
        """The connections of this kind."""
        ...


class Question(Generic[P, T]):
    """A method made of a function `(db, …) -> answer`: the same arguments without the connection."""

    def __init__(self, function: Callable[Concatenate[Db, P], Awaitable[T]], where: Via = Via.READERS) -> None:
        self.function = function
        self.where = where

    @overload
    def __get__(self, asked: None, owner: type[object]) -> Self: ...
    @overload
    def __get__(self, asked: HasConnections, owner: type[object]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, asked: HasConnections | None, owner: type[object]) -> Self | Callable[P, Coroutine[Any, Any, T]]:
        if asked is None:
            return self
        call, function = asked.pool(self.where).call, self.function

        def ask(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
            return call(function, *args, **kwargs)

        return ask
