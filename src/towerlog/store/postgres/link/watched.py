"""Connections that notice when the other side has gone silent.

A peer that dies without a word (no FIN, no RST), or a server that stands still, leaves a question without an answer for
as long as the operating system likes. A question may also just take long. So what has no answer for `SILENT_S` is asked
about on another connection: whether its session is at work there. Where it is not, or where no answer comes, the
connection is closed, which fails the question as any lost connection does, and with it go those of the same pools that
have said nothing either.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import asyncpg
import structlog

from towerlog.errors import StorageFailed

SILENT_S = 2.0
"""How long an answer may take before its session is looked for; and how long after it it is looked for again."""
LOOK_S = 2.5
"""How long looking may take."""
UNDER_WAY_S = 0.5
"""How long an answer may take from the server, once the session has nothing more to do."""
CLOSE_S = 2.0
"""How long the server may take to say farewell."""
_STATE = "SELECT pg_backend_pid(), (SELECT coalesce(state, 'active') FROM pg_stat_activity WHERE pid = {pid})"
_STARTS = "57P03"
_LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

_log = structlog.get_logger("towerlog.store")


class Line:
    """What the connections of one address have in common: if one has gone silent, others may have."""

    def __init__(self, url: str) -> None:
        """Holds no connection yet. `url`: that of the database, for looking."""
        self.url = url
        self.connections: WeakSet[WatchedConnection] = WeakSet()

    async def is_at_work(self, address: Any, pid: int) -> bool:
        """Whether the server there has a session of this number that is not idle; True where it does not tell."""
        host, port = address if isinstance(address, tuple) else _socket(address)
        try:
            async with asyncio.timeout(LOOK_S):
                asking = await asyncpg.connect(
                    self.url,
                    host=host,
                    port=port,
                    timeout=LOOK_S,
                    server_settings={"application_name": "look"},
                )
                try:
                    is_numbered = asking.get_server_pid()
                    own, state = await asking.fetchrow(_STATE.format(pid=int(pid)))
                finally:
                    asking.terminate()
                # Behind a pooler the numbers are not the server's.
                is_idle = state is None or str(state).startswith("idle")
                return not is_idle or bool(own != is_numbered)
        except _LOST:
            return False
        except asyncpg.PostgresError as error:
            # It answers, be it that it has no room. One that starts has no sessions.
            return bool(error.sqlstate != _STARTS)

    def begin_to_listen(self) -> None:
        """From now on it counts who says something."""
        for one in list(self.connections):
            one.is_heard = False

    def give_up(self) -> None:
        """Closes all that have said nothing since: they are made anew when they are needed. Those with a question are
        looked for on their own."""
        for one in list(self.connections):
            if not (one.is_closed() or one.is_heard or one.is_asking):
                one.terminate()


class WatchedConnection(asyncpg.Connection):  # type: ignore[misc]  # without types
    """A connection whose questions end when the other side is gone, however that has come about."""

    line: Line | None = None
    is_heard = False
    """Whether it has said something since it was listened for."""
    is_asking = False

    def join(self, line: Line) -> None:
        """From now on it is watched. Raises StorageFailed for a driver that does not tell where it is connected to."""
        if not isinstance(getattr(self, "_addr", None), tuple | str):
            raise StorageFailed(
                f"asyncpg {asyncpg.__version__} does not tell the address of a connection in the way that this version"
                " of Towerlog expects; install a version that towerlog names in its dependencies"
            )
        self.line = line
        line.connections.add(self)

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        if self.line is None:
            yield
            return
        loop = asyncio.get_running_loop()
        looking: list[asyncio.Task[None]] = []
        timer = loop.call_later(SILENT_S, lambda: looking.append(loop.create_task(self._look())))
        self.is_asking = True
        try:
            yield
        finally:
            self.is_asking = False
            timer.cancel()
            for task in looking:
                task.cancel()
            self.is_heard = not self.is_closed()

    async def _look(self) -> None:
        line = self.line
        assert line is not None
        line.begin_to_listen()
        try:
            while await line.is_at_work(self._addr, self.get_server_pid()):  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(SILENT_S)
        except Exception:  # whatever it is, the question must not wait for good
            _log.exception("the session of a question could not be looked for")
        await asyncio.sleep(UNDER_WAY_S)
        _log.warning("the database does not answer; the connection is closed")
        self.terminate()
        line.give_up()

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        """As the driver's."""
        with self._watching():
            return await super().execute(query, *args, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        """As the driver's."""
        with self._watching():
            return await super().executemany(command, args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """As the driver's."""
        with self._watching():
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """As the driver's."""
        with self._watching():
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """As the driver's."""
        with self._watching():
            return await super().fetchval(query, *args, **options)

    async def copy_records_to_table(self, table_name: str, **options: Any) -> Any:
        """As the driver's."""
        with self._watching():
            return await super().copy_records_to_table(table_name, **options)

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # the driver's
        """Says farewell; where that is not answered the connection ends without it."""
        with contextlib.suppress(TimeoutError):
            await super().close(timeout=CLOSE_S if timeout is None else timeout)


def _socket(path: str) -> tuple[str, int]:
    """The folder and the number of a socket by its path, `FOLDER/.s.PGSQL.NUMBER`."""
    place = Path(path)
    return str(place.parent), int(place.name.rpartition(".")[2])
