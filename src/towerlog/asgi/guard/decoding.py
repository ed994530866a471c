"""Decoding of bodies: at once where that is short, else beside the event loop, one body at a time.

A thread of its own, and only one: two that decode would take the interpreter from each other and both from the loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

import msgspec

from towerlog.dialects.base import Call, Endpoint
from towerlog.dialects.repair import Repaired, repair
from towerlog.dialects.structure import check_parts
from towerlog.engine.ingest.prepare import prepared
from towerlog.errors import Malformed, TowerlogError
from towerlog.model.command import Command
from towerlog.model.event import FieldWarning

DECODED_AT_ONCE_BYTES = 256 * 1024
"""Longer bodies are decoded in the thread. The batches of our SDK are no longer than this."""
REPAIRED_AT_ONCE_BYTES = 8 * 1024
"""Longer bodies that have to be repaired are decoded and repaired in the thread."""


class Decoded(msgspec.Struct, frozen=True):
    """What a body says."""

    command: Command
    digest: bytes
    """SHA-256 of the body as it was sent; empty for a body that was decoded at once."""
    warnings: tuple[FieldWarning, ...] = ()
    """What was repaired."""


class Decoding:
    """Decodes the bodies of all requests."""

    def __init__(self) -> None:
        """The thread starts with the first body that needs it."""
        self._thread = ThreadPoolExecutor(1, "towerlog-decode")

    def repaired_at_once(self, endpoint: Endpoint, call: Call, first: Malformed) -> Decoded | None:
        """What a short body says that was no JSON; None: it is for `aside`. Raises what the decoder raises."""
        if endpoint.body == "binary":
            raise first
        return None if len(call.body) > REPAIRED_AT_ONCE_BYTES else _repaired(endpoint, call, first, b"")

    async def aside(self, endpoint: Endpoint, call: Call) -> Decoded | TowerlogError:
        """What a long body says, decoded in the thread; what it is refused with is returned."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _decoded, endpoint, call)

    def close(self) -> None:
        """Waits for what is under way."""
        self._thread.shutdown()


def _decoded(endpoint: Endpoint, call: Call) -> Decoded | TowerlogError:
    try:
        decoded = _read(endpoint, call, hashlib.sha256(call.body).digest())
    except TowerlogError as error:
        # Its frames hold the body, and what it is kept in would hold them.
        error.__context__ = None
        return error.with_traceback(None)
    return msgspec.structs.replace(decoded, command=prepared(decoded.command, call.principal.org))


def _read(endpoint: Endpoint, call: Call, digest: bytes) -> Decoded:
    if endpoint.body == "binary":
        return Decoded(endpoint.decode(call), digest)
    check_parts(call.body)
    try:
        return Decoded(endpoint.decode(call), digest)
    except Malformed as error:
        return _repaired(endpoint, call, error, digest)


def _repaired(endpoint: Endpoint, call: Call, first: Malformed, digest: bytes) -> Decoded:
    """What the body says once it is repaired. Where it is no JSON either, the first error names the place."""
    repaired: Repaired | None = repair(call.body)
    if repaired is None:
        raise first
    try:
        return Decoded(endpoint.decode(msgspec.structs.replace(call, body=repaired.body)), digest, repaired.warnings)
    except Malformed:
        raise first from None
