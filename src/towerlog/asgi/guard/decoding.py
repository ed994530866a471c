"""Decoding of bodies: at once where that is short, else beside the event loop, some bodies at a time and in turns.

One that takes seconds is decoded in pieces, between which others are (`shares/threads.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

import msgspec

from towerlog.ambient import Clock
from towerlog.asgi.shares.threads import ThreadTurns
from towerlog.dialects.base import Call, Endpoint, Pause
from towerlog.dialects.fields import TooDeep
from towerlog.dialects.portions import NOT_NOW, Span, found_in, portions, replaced, stand_in
from towerlog.dialects.repair import NOT_A_NUMBER, Repaired, costs_of, repair
from towerlog.dialects.structure import (
    MAX_ESCAPES,
    MAX_PARTS,
    MAX_STRING_BYTES,
    has_too_many_parts,
    is_deeper,
    long_strings,
    parts_of,
)
from towerlog.engine.ingest.prepare import prepared
from towerlog.errors import Malformed, RateLimited, TooLarge, TowerlogError
from towerlog.model.command import Append, Command, Report
from towerlog.model.event import FieldWarning, Refusal, RunByForeignId
from towerlog.model.principal import Scope

_STEERS = frozenset({Scope.CONTROL})
DECODED_AT_ONCE_BYTES = 256 * 1024
"""Longer bodies are decoded in the thread. The batches of our SDK are no longer than this."""
DECODED_AT_ONCE_OBJECTS = 2048
"""Those of more objects as well: a thousand small checkpoints take 70 ms."""
FEW_OBJECTS_BYTES = 64 * 1024
"""Bodies that are no longer than this never have so many that they take long: nobody needs to count them."""
MAX_DECODED = 6
"""Bodies that are decoded at a time, in turns. An organisation has one of them, as `service` asks."""
LARGE_BYTES = 4 * 1024 * 1024
"""Of bodies that are longer, only one is among them: what a body says takes several times its bytes."""
T = TypeVar("T")
_TOO_LONG = f"has a string of more than {MAX_STRING_BYTES} bytes, or of more than {MAX_ESCAPES} escapes"
_TOO_MANY = f"is made of more than {MAX_PARTS} parts"
_TOO_BROKEN = "has too much in it that is no JSON"
_LEVELS_AROUND = 8
"""Levels of an event around what the bound is for, at most."""
SHORT_BYTES = 32 * 1024
SHORT_UNSEEN_BYTES = 8 * 1024
"""Bodies that are no longer than this are decoded at once, whatever they are made of; the second: of endpoints that
look at longer ones themselves, whose smallest items take longest."""
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

    def __init__(self, clock: Clock) -> None:
        """`clock` measures the turns."""
        self._turns = ThreadTurns(MAX_DECODED, "towerlog-decode", clock)
        self._large = asyncio.Semaphore(1)

    def after(self, error: TowerlogError, endpoint: Endpoint, call: Call, over: RateLimited | None) -> Decoded | None:
        """What a short body says that could not be decoded; None: it is for `aside`. Raises `over`, or what the decoder
        raises."""
        try:
            if isinstance(error, TooDeep) and endpoint.ingests:
                return None
            if endpoint.body == "binary" or not isinstance(error, Malformed):
                raise error
            return None if len(call.body) > REPAIRED_AT_ONCE_BYTES else _repaired(endpoint, call, error, b"")
        except TowerlogError as refused:
            raise over or refused from None

    async def aside(self, endpoint: Endpoint, call: Call) -> Decoded | TowerlogError:
        """What a long body says, decoded in a thread; what it is refused with is returned."""
        async with self._large if len(call.body) > LARGE_BYTES else nullcontext():
            return await self._turns.run(partial(_decoded, endpoint, call))

    async def beside(self, work: Callable[[], T]) -> T:
        """What some work gives, carried out in such a thread: a reply that takes long to be made."""
        return await self._turns.run(lambda _pause: work())

    def close(self) -> None:
        """Waits for what is under way."""
        self._turns.close()


def check_utf8(body: bytes) -> None:
    """Raises Malformed for bytes that are no UTF-8."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("The body is not valid UTF-8.") from None


def command_of(endpoint: Endpoint, call: Call) -> Command:
    """What a body says. Raises Malformed for one that has to be repaired first, and what the decoder raises."""
    # A decoder does not look at the bytes of what it passes on undecoded. What does not ingest was checked before.
    if endpoint.ingests and endpoint.body != "binary" and not call.body.isascii():
        check_utf8(call.body)
    return endpoint.decode(call)


def is_short(endpoint: Endpoint, call: Call) -> bool:
    """Whether a body is decoded on the event loop."""
    body = call.body
    if len(body) <= (SHORT_BYTES if endpoint.is_quick is None else SHORT_UNSEEN_BYTES):
        return True
    if len(body) > DECODED_AT_ONCE_BYTES:
        return False
    if endpoint.is_quick is not None:
        return endpoint.is_quick(call)
    return len(body) <= FEW_OBJECTS_BYTES or body.count(b"{") <= DECODED_AT_ONCE_OBJECTS


def _decoded(endpoint: Endpoint, call: Call, pause: Pause) -> Decoded | TowerlogError:
    call = msgspec.structs.replace(call, pause=pause)
    try:
        decoded = _read(endpoint, call, hashlib.sha256(call.body).digest())
    except TowerlogError as error:
        # Its frames hold the body, and what it is kept in would hold them.
        error.__context__ = None
        return error.with_traceback(None)
    return msgspec.structs.replace(decoded, command=prepared(decoded.command, pause))


def _read(endpoint: Endpoint, call: Call, digest: bytes) -> Decoded:
    if endpoint.body == "binary":
        return Decoded(endpoint.decode(call), digest)
    too_long = long_strings(call.body, call.pause)
    if too_long or has_too_many_parts(call.body, call.pause):
        fault: TowerlogError = TooLarge(f"body: {_TOO_LONG if too_long else _TOO_MANY}", field="body")
        return _Portions(endpoint, call, digest, fault, too_long).read()
    try:
        return _whole(endpoint, call, digest)
    except TooDeep as error:
        fault = error
    except Malformed as error:
        if costs_of(call.body, 0, len(call.body), call.pause) <= 1:
            raise
        fault = error
    return _Portions(endpoint, call, digest, fault, []).read()


def _whole(endpoint: Endpoint, call: Call, digest: bytes) -> Decoded:
    try:
        return Decoded(command_of(endpoint, call), digest)
    except Malformed as error:
        return _repaired(endpoint, call, error, digest)


class _Portions:
    """A body that is too much to be decoded in one go: its events in portions, those that are too much refused alone.

    So are members beside the events left out, with a warning, where they are too much. Raises `fault` where what is too
    much is in no event and in no such member.
    """

    def __init__(
        self, endpoint: Endpoint, call: Call, digest: bytes, fault: TowerlogError, too_long: list[Span]
    ) -> None:
        """`fault`: what the body would be refused with; `too_long`: its strings that are."""
        self._endpoint, self._call, self._digest, self._fault = endpoint, call, digest, fault
        self._too_long = too_long
        found = found_in(call.body, is_one=endpoint.is_one_event, pause=call.pause) if endpoint.ingests else None
        if found is None:
            raise fault
        self._events = found.events
        self._refused = {index: why for index, span in enumerate(self._events) if (why := self._why(span))}
        self._left_out = {name: (span, why) for name, span in found.others.items() if (why := self._why(span))}

    def _why(self, span: Span) -> str | None:
        """What is too much about an event or a member; None where nothing is."""
        body, (begin, end) = self._call.body, span
        if any(begin <= at < end for at, _ in self._too_long):
            return _TOO_LONG
        if self._weight(span) > MAX_PARTS:
            return _TOO_MANY if self._parts(span) > MAX_PARTS else _TOO_BROKEN
        deepest = self._call.settings.max_depth
        if isinstance(self._fault, TooDeep) and is_deeper(body[begin:end], deepest + _LEVELS_AROUND, self._call.pause):
            return f"is nested deeper than {deepest} levels"
        return None

    def _parts(self, span: Span) -> int:
        return parts_of(self._call.body, *span, pause=self._call.pause)

    def _weight(self, span: Span) -> int:
        """Its parts, or what its repair costs in parts."""
        parts = self._parts(span)
        if not isinstance(self._fault, Malformed):
            return parts
        return max(parts, int(MAX_PARTS * costs_of(self._call.body, *span, self._call.pause)))

    def read(self) -> Decoded:
        """What the body says but for that."""
        spans, left_out = self._events, [span for span, _ in self._left_out.values()]
        outside = [at for at, _ in self._too_long if not any(a <= at < b for a, b in (*spans, *left_out))]
        weights = [0 if index in self._refused else self._weight(span) for index, span in enumerate(spans)]
        whole = self._weight((0, len(self._call.body)))
        rest = whole - sum(self._weight(span) for span in (*spans, *left_out))
        parts = portions(weights, MAX_PARTS, rest)
        is_other = bool(self._refused or self._left_out or len(parts) > 1)
        if outside or rest > MAX_PARTS or not is_other:
            raise self._fault
        decoded = [self._portion(frozenset(part)) for part in parts]
        return _merged(decoded, parts, self._refused, [self._warning(*one) for one in self._left_out.items()])

    def _portion(self, wanted: frozenset[int]) -> Decoded:
        """The body with nothing but these of its events."""
        self._call.pause()
        body = self._call.body
        texts = [(span, b"null") for span, _ in self._left_out.values()]
        for index, span in enumerate(self._events):
            if index not in wanted:
                texts.append((span, NOT_NOW))
            elif index in self._refused:
                texts.append((span, stand_in(body, span, self._call.pause)))
        call = msgspec.structs.replace(self._call, body=replaced(body, sorted(texts)))
        try:
            decoded = _whole(self._endpoint, call, self._digest)
        except Malformed:
            # Its places would be those of another body.
            raise Malformed("The body is not valid JSON.") from None
        command = decoded.command
        if isinstance(command, Append) and not command.is_batch:
            raise self._fault
        if not isinstance(command, Append | Report) or len(command.items) < len(self._events):
            raise self._fault
        return decoded

    def _warning(self, name: str, found: tuple[Span, str]) -> FieldWarning:
        return FieldWarning(field=name, message=f"{name}: {found[1]}; it is not kept")


def _merged(
    decoded: list[Decoded], parts: list[list[int]], refused: dict[int, str], warnings: list[FieldWarning]
) -> Decoded:
    """What portions say together: of each event what its own says, of all else what the first says."""
    first = decoded[0].command
    assert isinstance(first, Append | Report)
    items, ids = list(first.items), list(first.sent_ids)
    unused = dict.fromkeys(warnings)
    repaired: dict[FieldWarning, None] = {}
    polled: dict[str, RunByForeignId] = {}
    for one, part in zip(decoded, parts, strict=True):
        command = one.command
        assert isinstance(command, Append | Report)
        own = {None, *part} - refused.keys()
        for index in part:
            why = refused.get(index)
            items[index] = command.items[index] if why is None else Refusal(TooLarge.code, f"event: {why}")
            if ids:
                ids[index] = command.sent_ids[index]
        unused |= dict.fromkeys(warning for warning in command.warnings if warning.index in own)
        repaired |= dict.fromkeys(warning for warning in one.warnings if warning.index in own)
        if isinstance(command, Append):
            polled |= {ref.foreign_id: ref for ref in command.polled}
    command = msgspec.structs.replace(first, items=items, sent_ids=tuple(ids), warnings=tuple(unused))
    if isinstance(command, Append):
        command = msgspec.structs.replace(command, polled=tuple(polled.values()))
    return Decoded(command, decoded[0].digest, tuple(repaired))


def _is_wish(warning: FieldWarning) -> bool:
    """Whether a member of the request itself was no number: null may be another wish."""
    return NOT_A_NUMBER in warning.message and "." not in (warning.field or "")


def _repaired(endpoint: Endpoint, call: Call, first: Malformed, digest: bytes) -> Decoded:
    """What the body says once it is repaired. Where it is no JSON either, the first error names the place."""
    repaired: Repaired | None = repair(call.body, call.pause)
    if repaired is None:
        raise first
    if _STEERS & endpoint.scopes and any(_is_wish(one) for one in repaired.warnings):
        raise first
    try:
        return Decoded(endpoint.decode(msgspec.structs.replace(call, body=repaired.body)), digest, repaired.warnings)
    except Malformed:
        raise first from None
