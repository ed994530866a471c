"""The bus of a NATS server: core NATS, where a message is heard by those who are connected, or not at all.

Messages carry what was committed, so each is signed with the secret of the store: whoever else may publish at the
server is not believed. The server must be as trusted to read them as the database is.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable

import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from towerlog.errors import cause
from towerlog.wake.base import NotSent

MAX_MESSAGE_BYTES = 512 * 1024
"""A server takes 1 MiB unless it is told otherwise."""
CONNECT_S = 5
RETRY_S = 0.2
PING_S = 1
"""How often the server is asked whether it is there; two answers that do not come end the connection."""
SEND_S = 2.0
MAX_WAITING_BYTES = 64 * 1024 * 1024
_SIGNATURE = hashlib.sha256().digest_size

log = structlog.get_logger("towerlog.bus")


class NatsBus:
    """Implements `Bus` by a NATS server."""

    max_bytes = MAX_MESSAGE_BYTES
    attaches = True

    def __init__(self, url: str, subject: str, secret: str) -> None:
        """Not connected yet. `subject` names the store; `secret` is what its nodes alone know."""
        self._url = url
        self._subject = subject
        self._secret = secret.encode()
        self._client: Client | None = None
        self._heard: Callable[[bytes], None] = _nobody
        self._healed: Callable[[], None] = _nothing

    async def open(self, heard: Callable[[bytes], None], healed: Callable[[], None]) -> None:
        """Connects. Raises NotSent."""
        self._heard, self._healed = heard, healed
        try:
            async with asyncio.timeout(CONNECT_S):
                self._client = await nats.connect(
                    self._url,
                    name="towerlog",
                    allow_reconnect=True,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RETRY_S,
                    connect_timeout=2,
                    ping_interval=PING_S,
                    max_outstanding_pings=2,
                    # What waits for a lost server is late and would be told twice: it is refused instead.
                    pending_size=MAX_WAITING_BYTES,
                    error_cb=self._failed,
                    disconnected_cb=self._lost,
                    reconnected_cb=self._back,
                )
                await self._client.subscribe(self._subject, cb=self._take, pending_bytes_limit=MAX_WAITING_BYTES)
                # Until the server has answered, it may not have read yet that this end listens.
                await self._client.flush()
        except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
            await self.close()
            raise NotSent(cause(error)) from error

    async def send(self, message: bytes) -> None:
        """To all who listen. Raises NotSent."""
        client = self._client
        if client is None or not client.is_connected:
            raise NotSent("there is no connection to the NATS server")
        try:
            async with asyncio.timeout(SEND_S):
                await client.publish(self._subject, self._signed(message))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise NotSent(cause(error)) from error

    async def close(self) -> None:
        """Lets go of the connection."""
        if self._client is not None:
            try:
                async with asyncio.timeout(SEND_S):
                    await self._client.close()
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("bus_not_closed", error=cause(error))

    def _signed(self, message: bytes) -> bytes:
        return hmac.digest(self._secret, message, "sha256") + message

    async def _take(self, told: Msg) -> None:
        text = bytes(told.data)
        message = text[_SIGNATURE:]
        if hmac.compare_digest(text[:_SIGNATURE], hmac.digest(self._secret, message, "sha256")):
            self._heard(message)
        else:
            log.warning("unsigned_message", bytes=len(text))

    async def _failed(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            log.warning("bus_is_slow")  # a message was dropped
            self._healed()

    async def _lost(self) -> None:
        log.warning("bus_is_lost")

    async def _back(self) -> None:
        log.info("bus_is_back")
        if self._client is not None:
            try:
                await self._client.flush(CONNECT_S)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("bus_is_lost", error=cause(error))
                return  # it is made anew once more, and then this is tried again
        self._healed()


def _nobody(_message: bytes) -> None:
    """Before anybody listens."""


def _nothing() -> None:
    """The same."""
