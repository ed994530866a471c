"""The binding of a question to the connections that answer it: the `Question` attributes of the store and its parts."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Coroutine
from inspect import Parameter, signature
from itertools import islice
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from towerlog.store.columns.order import awaited_in_order
from towerlog.store.postgres.connections import ALL, Connections, Db, named_orgs

P = ParamSpec("P")
T = TypeVar("T")


_ORG = Parameter("org", Parameter.POSITIONAL_OR_KEYWORD, annotation="int")


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

    async def call(
        self, orgs: str, question: Callable[Concatenate[Db, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `Connections.call`."""

        async def whole(db: Db) -> T:
            async with db.connection.transaction():
                return await question(db, *args, **kwargs)

        if self._lock is None:
            return await self._pool.call(orgs, whole)
        async with self._lock:
            return await self._pool.call(orgs, whole)


class HasConnections(Protocol):
    """What has an `Question` among its attributes."""

    def pool(self, where: Via) -> Connections | Transacting:
        """The connections of this kind."""
        ...


class Question(Generic[P, T]):
    """A method made of a function `(db, …) -> answer`: the same arguments without the connection.

    A function `(db, org, …)` with the number of an organisation sees the rows of that one, any other those of all.
    """

    def __init__(self, function: Callable[Concatenate[Db, P], Awaitable[T]], where: Via = Via.READERS) -> None:
        self.function = function
        self.where = where
        self.is_of_one = next(islice(signature(function).parameters.values(), 1, None), None) == _ORG

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.function = awaited_in_order(name, self.function)

    @overload
    def __get__(self, asked: None, owner: type[object]) -> Self: ...
    @overload
    def __get__(self, asked: HasConnections, owner: type[object]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, asked: HasConnections | None, owner: type[object]) -> Self | Callable[P, Coroutine[Any, Any, T]]:
        if asked is None:
            return self
        call, function = asked.pool(self.where).call, self.function

        is_of_one = self.is_of_one

        def ask(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
            org: Any = (args[0] if args else kwargs["org"]) if is_of_one else None
            return call(ALL if org is None else named_orgs([org]), function, *args, **kwargs)

        return ask
