"""OTLP as protobuf. Requests are taken apart here, and each span or record is read by itself, by protobuf's own reader.

So one that is broken costs none of its neighbours, and of a request no more than one is in memory in that form: what is
made of many small parts takes many times its own bytes there.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from towerlog.dialects import fields
from towerlog.dialects.base import MAX_LABEL_CHARS
from towerlog.dialects.otlp.lookups import source_of
from towerlog.dialects.otlp.present import present_in
from towerlog.dialects.otlp.spans import PARENT, QUICK_SPANS, SPAN_BYTES, Lazy, SpanSource, ToldRecord, ToldSpan
from towerlog.errors import Malformed, TooLarge, TowerlogError
from towerlog.model.event import Refusal

MAX_MESSAGE_PARTS = 50_000
"""Parts of one span: attributes and values in them, events, links."""
MAX_REQUEST_PARTS = 500_000
"""The same of a whole request; and fields that its spans stand in."""
SCANNED_ABOVE_BYTES = 64 * 1024
"""A shorter span is read without being looked through first: it cannot have so many parts that they matter."""
QUICK_BYTES = 160 * 1024
"""Of a request that is read at once: so many cannot be so many attributes that it takes long."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_OF_REQUEST, _OF_SCOPES = 1, 2
"""Numbers of fields: in a request its resources; in a resource its scopes, in a scope its spans or records."""
T = TypeVar("T")
R = TypeVar("R")


class _Field(NamedTuple):
    number: int
    wire: int
    begin: int
    end: int


class _Broken(Exception):
    """What is no message of protobuf."""


class _Budget:
    """How many parts of a request are still read."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_REQUEST_PARTS

    def take(self, parts: int) -> None:
        """Raises TooLarge."""
        self.left -= parts
        if self.left < 0:
            raise TooLarge(f"is beyond the first {MAX_REQUEST_PARTS} parts of the request")


def is_quick(body: bytes) -> bool:
    """Whether it takes a few milliseconds to read a request and to make events of it."""
    if len(body) > QUICK_BYTES:
        return False
    try:
        return all(number < QUICK_SPANS for number, _ in enumerate(_parts(body)))
    except (_Broken, TooLarge):
        return False


def spans_of(body: bytes) -> Iterator[Lazy[ToldSpan]]:
    """The spans of a request, each read when it is called. Raises Malformed for what is no request."""
    budget = _Budget()
    return (partial(_each, "span", Span.FromString, part, source, _span, budget) for part, source in _found(body))


def records_of(body: bytes) -> Iterator[Lazy[ToldRecord]]:
    """The same of log records."""
    budget = _Budget()
    return (
        partial(_each, "record", LogRecord.FromString, part, source, _record, budget) for part, source in _found(body)
    )


def check_metrics(body: bytes) -> None:
    """Raises Malformed for what is no request."""
    try:
        for _ in _messages(body, 0, len(body), _OF_REQUEST, _Budget()):
            pass
    except _Broken as error:
        raise Malformed(f"The body is not valid protobuf: {error}") from None


def _found(body: bytes) -> Iterator[tuple[bytes, SpanSource]]:
    budget = _Budget()
    try:
        for resource in _messages(body, 0, len(body), _OF_REQUEST, budget):
            about = _resource(body, resource, budget)
            for scope in _messages(body, resource.begin, resource.end, _OF_SCOPES, budget):
                source = source_of(about, _scope(body, scope, budget))
                for found in _messages(body, scope.begin, scope.end, _OF_SCOPES, budget):
                    yield body[found.begin : found.end], source
    except (_Broken, DecodeError) as error:
        raise Malformed(f"The body is not valid protobuf: {error}") from None


def _parts(body: bytes) -> Iterator[_Field]:
    """All fields that may be spans, or records, of a request."""
    budget = _Budget()
    for resource in _messages(body, 0, len(body), _OF_REQUEST, budget):
        for scope in _messages(body, resource.begin, resource.end, _OF_SCOPES, budget):
            yield from _fields(body, scope.begin, scope.end)


def _resource(body: bytes, place: _Field, budget: _Budget) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for found in _messages(body, place.begin, place.end, 1, budget):
        part = body[found.begin : found.end]
        _check_parts(part, "resource")
        told |= _attributes(Resource.FromString(part).attributes, budget)
    return told


def _scope(body: bytes, place: _Field, budget: _Budget) -> dict[str, str]:
    told: dict[str, str] = {}
    for found in _messages(body, place.begin, place.end, 1, budget):
        part = body[found.begin : found.end]
        _check_parts(part, "scope")
        scope = InstrumentationScope.FromString(part)
        told |= {name: value for name, value in (("name", scope.name), ("version", scope.version)) if value}
    return told


def _each(
    kind: str,
    read: Callable[[bytes], T],
    part: bytes,
    source: SpanSource,
    told: Callable[[T, SpanSource, _Budget], R],
    budget: _Budget,
) -> R | Refusal:
    try:
        _check_parts(part, kind)
        return told(read(part), source, budget)
    except TowerlogError as error:
        return fields.refusal(error)
    except (_Broken, DecodeError) as error:
        return Refusal(Malformed.code, f"is not valid protobuf: {error}")


def _span(sent: Span, source: SpanSource, budget: _Budget) -> ToldSpan:
    # One whose parent has no id that could be one is a root.
    is_parent = len(sent.parent_span_id) in (0, SPAN_BYTES)
    trace_id, span_id = _hex(sent.trace_id, 16, "traceId"), _hex(sent.span_id, 8, "spanId")
    parent = _hex(sent.parent_span_id, 8, PARENT) if is_parent else ""
    attributes = _attributes(sent.attributes, budget)
    return ToldSpan(
        trace_id,
        span_id,
        parent,
        sent.name,
        sent.kind,
        sent.start_time_unix_nano,
        sent.end_time_unix_nano,
        attributes,
        present_in(attributes),
        source,
        sent.status.code,
        sent.status.message,
        sent.flags,
        [_event(event, budget) for event in sent.events] if sent.events else [],
        [_link(link, budget) for link in sent.links] if sent.links else [],
        sent.trace_state,
        {} if is_parent else {PARENT: sent.parent_span_id[:MAX_LABEL_CHARS].hex()},
    )


def _event(event: Span.Event, budget: _Budget) -> dict[str, Any]:
    budget.take(1)
    told = {"name": event.name, "time_unix_nano": str(event.time_unix_nano)}
    return told | {"attributes": _attributes(event.attributes, budget)} if event.attributes else told


def _link(link: Span.Link, budget: _Budget) -> dict[str, Any]:
    budget.take(1)
    told: dict[str, Any] = {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()}
    return told | {"attributes": _attributes(link.attributes, budget)} if link.attributes else told


def _record(sent: LogRecord, source: SpanSource, budget: _Budget) -> ToldRecord:
    trace_id, span_id = _hex(sent.trace_id, 16, "traceId"), _hex(sent.span_id, 8, "spanId")
    body, attributes = _plain(sent.body, budget), _attributes(sent.attributes, budget)
    return ToldRecord(
        trace_id,
        span_id,
        sent.event_name,
        sent.time_unix_nano or sent.observed_time_unix_nano,
        body,
        attributes,
        present_in(attributes),
        source,
        sent.severity_number,
        sent.severity_text,
    )


def _hex(value: bytes, size: int, field: str) -> str:
    if not value or not any(value):
        return ""
    if len(value) != size:
        raise fields.invalid_field(field, f"must have {size} bytes")
    return value.hex()


def _attributes(found: Any, budget: _Budget) -> dict[str, Any]:
    budget.take(len(found))
    told: dict[str, Any] = {}
    for one in found:
        value = one.value
        which = value.WhichOneof("value")
        told[one.key] = value.string_value if which == "string_value" else _plain(value, budget)
    return told


def _plain(value: AnyValue, budget: _Budget) -> Any:
    """The value as JSON has it. As deep as protobuf's own reader goes."""
    which = value.WhichOneof("value")
    match which:
        case None:
            return None
        case "array_value":
            budget.take(len(value.array_value.values))
            return [_plain(one, budget) for one in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values, budget)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case _:
            return getattr(value, which)


# The wire itself: fields one after the other, each with a number, a type, and its length where that is not known.


def _messages(body: bytes, begin: int, end: int, number: int, budget: _Budget) -> Iterator[_Field]:
    """Those fields of a message that are messages and have this number. Raises _Broken, TooLarge."""
    for found in _fields(body, begin, end):
        budget.take(1)
        if found.number == number and found.wire == _LENGTH:
            yield found


def _fields(body: bytes, begin: int, end: int) -> Iterator[_Field]:
    """The fields of a message. Raises _Broken."""
    at = begin
    while at < end:
        tag = body[at]
        if tag < 128:
            at += 1
        else:
            tag, at = _varint(body, at, end)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise _Broken("a field has the number 0")
        start = at
        if wire == _LENGTH:
            size, start = _varint(body, at, end)
            at = start + size
        elif wire == _VARINT:
            _, at = _varint(body, at, end)
        elif wire == _FIXED64:
            at += 8
        elif wire == _FIXED32:
            at += 4
        else:
            raise _Broken(f"a field has the type {wire}")
        if at > end:
            raise _Broken("a field ends behind its message")
        yield _Field(number, wire, start, at)


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _Broken("a number has no end")


_NESTED: dict[str, dict[int, str]] = {
    "span": {9: "attribute", 11: "event", 13: "link"},
    "event": {3: "attribute"},
    "link": {4: "attribute"},
    "record": {5: "value", 6: "attribute"},
    "resource": {1: "attribute"},
    "scope": {3: "attribute"},
    "attribute": {2: "value"},
    "value": {5: "array", 6: "object"},
    "array": {1: "value"},
    "object": {1: "attribute"},
}
"""Kind of message → its fields that are messages of such a kind."""


def _check_parts(part: bytes, kind: str) -> None:
    """Refuses a message of too many parts before it is read. Raises TooLarge, _Broken."""
    if len(part) <= SCANNED_ABOVE_BYTES:
        return
    parts = 0
    waiting = [(kind, 0, len(part))]
    while waiting:
        kind, begin, end = waiting.pop()
        inner = _NESTED[kind]
        for found in _fields(part, begin, end):
            parts += 1
            if parts > MAX_MESSAGE_PARTS:
                raise TooLarge(f"has more than {MAX_MESSAGE_PARTS} parts")
            below = inner.get(found.number) if found.wire == _LENGTH else None
            if below is not None:
                waiting.append((below, found.begin, found.end))


# Replies, which are short enough to be written by hand


def partial_success(rejected: int, why: str) -> bytes:
    """The reply to an export: empty where all is stored and nothing is to be said."""
    if not rejected and not why:
        return b""
    text = why.encode()
    inner = b"\x08" + _number(rejected) + b"\x12" + _number(len(text)) + text
    return b"\x0a" + _number(len(inner)) + inner


def status_message(code: int, message: str) -> bytes:
    """A refusal as `google.rpc.Status`."""
    text = message.encode()
    return b"\x08" + _number(code) + b"\x12" + _number(len(text)) + text


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
