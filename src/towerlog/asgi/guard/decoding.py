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
from towerlog.dialects.structure import MAX_ESCAPES, MAX_STRING_BYTES, check_parts, long_strings
from towerlog.engine.ingest.prepare import prepared
from towerlog.errors import Malformed, TooLarge, TowerlogError
from towerlog.model.command import Append, Command, Report
from towerlog.model.event import Draft, EventType, FieldWarning, Item, Refusal

DECODED_AT_ONCE_BYTES = 256 * 1024
"""Longer bodies are decoded in the thread. The batches of our SDK are no longer than this."""
MARK_BYTES = 1100
"""What stands for a string that is too long while the rest of its body is decoded."""
_TOO_LONG = f"has a string of more than {MAX_STRING_BYTES} bytes, or of more than {MAX_ESCAPES} escapes"
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
    too_long = long_strings(call.body)
    if too_long:
        return _without(endpoint, call, too_long, digest)
    return _whole(endpoint, call, digest)


def _whole(endpoint: Endpoint, call: Call, digest: bytes) -> Decoded:
    try:
        return Decoded(endpoint.decode(call), digest)
    except Malformed as error:
        return _repaired(endpoint, call, error, digest)


def _without(endpoint: Endpoint, call: Call, too_long: list[tuple[int, int]], digest: bytes) -> Decoded:
    """The events of a body whose strings are not too long; the others are refused, each by itself.

    A mark stands in the place of each such string while the rest is decoded. Raises TooLarge where one is in no event.
    """
    refused = TooLarge(f"body: {_TOO_LONG}", field="body")
    if not endpoint.ingests:
        raise refused
    # Nobody can send the digest of a body in that body. Too long for an id, a label, or to be said back.
    marks = [f"{number}-{digest.hex()}".encode().ljust(MARK_BYTES, b"-") for number in range(len(too_long))]
    parts, at = [], 0
    for (start, end), mark in zip(too_long, marks, strict=True):
        parts += [call.body[at:start], b'"', mark, b'"']
        at = end
    parts.append(call.body[at:])
    try:
        decoded = _whole(endpoint, msgspec.structs.replace(call, body=b"".join(parts)), digest)
    except TowerlogError as error:
        # Its places would be those of another body, and its words must not show a mark.
        if isinstance(error, Malformed) or digest.hex() in error.message:
            raise refused from None
        raise
    return msgspec.structs.replace(decoded, command=_marked_refused(decoded.command, marks, refused))


def _marked_refused(command: Command, marks: list[bytes], refused: TooLarge) -> Command:
    """The command with a refusal for each draft that holds a mark. Raises `refused` where that is not all of it."""
    if not isinstance(command, Append | Report) or (isinstance(command, Append) and not command.is_batch):
        raise refused
    if isinstance(command, Report) and any(len(text or "") >= MARK_BYTES for text in (command.phase, command.log_line)):
        raise refused
    items: list[Item] = []
    unseen = set(marks)
    for item in command.items:
        held = {mark for mark in marks if isinstance(item, Draft) and _holds(item, mark)}
        if held and isinstance(item, Draft) and item.type is EventType.LANE_REPORT:
            raise refused  # what a report says beside its events
        unseen -= held
        items.append(Refusal(TooLarge.code, f"event: {_TOO_LONG}") if held else item)
    # What is in an event that is refused for something else is not looked for: nothing of that is kept.
    if unseen and not any(isinstance(item, Refusal) for item in command.items):
        raise refused
    wanted = {index for index, item in enumerate(items) if not isinstance(item, Refusal)}
    warnings = tuple(one for one in command.warnings if one.index is None or one.index in wanted)
    return msgspec.structs.replace(command, items=items, warnings=warnings)


def _holds(draft: Draft, mark: bytes) -> bool:
    history = draft.history
    if mark in draft.data or history is None:
        return mark in draft.data
    return any(mark in text for text in (*history.messages, *(history.meta or ())))


def _repaired(endpoint: Endpoint, call: Call, first: Malformed, digest: bytes) -> Decoded:
    """What the body says once it is repaired. Where it is no JSON either, the first error names the place."""
    repaired: Repaired | None = repair(call.body)
    if repaired is None:
        raise first
    try:
        return Decoded(endpoint.decode(msgspec.structs.replace(call, body=repaired.body)), digest, repaired.warnings)
    except Malformed:
        raise first from None
