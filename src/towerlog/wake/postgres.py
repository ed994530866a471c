"""The bus of PostgreSQL: NOTIFY after the commit, LISTEN on a connection of its own, made anew when it is lost.

Needs a session: through a pooler that gives a connection away after each transaction nothing is heard.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import asyncpg
import structlog

from towerlog.errors import cause
from towerlog.wake.base import NotSent

CHANNEL = "towerlog"
MAX_PAYLOAD_BYTES = 7900
"""PostgreSQL takes 7,999."""
CONNECT_S = 5.0
ANSWER_S = 2.0
"""How long a message may take, and how long after one the connection is asked whether it is there."""
RETRY_S = 0.25
SETTINGS = {"application_name": "towerlog bus", "synchronous_commit": "off", "statement_timeout": "2000"}
_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

log = structlog.get_logger("towerlog.bus")


class PostgresBus:
    """Implements `Bus` by the database itself."""

    max_bytes = MAX_PAYLOAD_BYTES
    attaches = False

    def __init__(self, url: str) -> None:
        """Not connected yet."""
        self._url = url
        self._connection: Any = None
        self._heard: Callable[[bytes], None] = _nobody
        self._healed: Callable[[], None] = _nothing
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def open(self, heard: Callable[[bytes], None], healed: Callable[[], None]) -> None:
        """Connects. Raises NotSent."""
        self._heard, self._healed = heard, healed
        try:
            await self._connect()
        except _ERRORS as error:
            raise NotSent(cause(error)) from error
        self._task = asyncio.create_task(self._stay(), name="towerlog-bus")

    async def send(self, message: bytes) -> None:
        """To all who listen. Raises NotSent."""
        try:
            await self._ask("SELECT pg_notify($1, $2)", CHANNEL, message.decode())
        except _ERRORS as error:
            self._break_off()  # it is made anew by `_stay`
            raise NotSent(cause(error)) from error

    async def close(self) -> None:
        """Lets go of the connection."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._break_off()

    async def _connect(self) -> None:
        connection = await asyncpg.connect(self._url, server_settings=SETTINGS, timeout=CONNECT_S)
        try:
            async with asyncio.timeout(ANSWER_S):
                await connection.add_listener(CHANNEL, self._take)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    def _take(self, _connection: object, _process: int, _channel: str, payload: str) -> None:
        self._heard(payload.encode())

    async def _stay(self) -> None:
        """Asks again and again whether the connection is there, and makes it anew where it is not."""
        while True:
            await asyncio.sleep(RETRY_S if self._is_lost() else ANSWER_S / 2)
            try:
                if self._is_lost():
                    await self._connect()
                    log.info("bus_is_back")
                    self._healed()
                else:
                    await self._ask("SELECT 1")
            except _ERRORS as error:
                if not self._is_lost():
                    log.warning("bus_is_lost", error=cause(error))
                self._break_off()
            except Exception:  # whatever it is, it must not end what makes the connection anew
                log.exception("bus_failed")
                self._break_off()

    async def _ask(self, statement: str, *values: str) -> None:
        async with self._lock:
            if self._is_lost():
                raise asyncpg.InterfaceError("there is no connection")
            async with asyncio.timeout(ANSWER_S):
                await self._connection.fetchval(statement, *values)

    def _is_lost(self) -> bool:
        return self._connection is None or self._connection.is_closed()

    def _break_off(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*_ERRORS):
                self._connection.terminate()


def _nobody(_message: bytes) -> None:
    """Before anybody listens."""


def _nothing() -> None:
    """The same."""
