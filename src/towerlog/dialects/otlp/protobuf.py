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
from towerlog.dialects.otlp.spans import Lazy, SpanSource, ToldRecord, ToldSpan
from towerlog.errors import Malformed, TooLarge, TowerlogError
from towerlog.model.event import Refusal

MAX_MESSAGE_PARTS = 50_000
"""Parts of one span: attributes and values in them, events, links."""
SCANNED_ABOVE_BYTES = 64 * 1024
"""A shorter span is read without being looked through first: it cannot have so many parts that they matter."""
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


def spans_of(body: bytes) -> Iterator[Lazy[ToldSpan]]:
    """The spans of a request, each read when it is called. Raises Malformed for what is no request."""
    return (partial(_each, "span", Span.FromString, part, source, _span) for part, source in _found(body))


def records_of(body: bytes) -> Iterator[Lazy[ToldRecord]]:
    """The same of log records."""
    return (partial(_each, "record", LogRecord.FromString, part, source, _record) for part, source in _found(body))


def check_metrics(body: bytes) -> None:
    """Raises Malformed for what is no request."""
    try:
        for _ in _fields(body, 0, len(body)):
            pass
    except _Broken as error:
        raise Malformed(f"The body is not valid protobuf: {error}") from None


def _found(body: bytes) -> Iterator[tuple[bytes, SpanSource]]:
    try:
        for resource in _messages(body, 0, len(body), _OF_REQUEST):
            about = _resource(body, resource)
            for scope in _messages(body, resource.begin, resource.end, _OF_SCOPES):
                source = SpanSource(about, _scope(body, scope))
                for found in _messages(body, scope.begin, scope.end, _OF_SCOPES):
                    yield body[found.begin : found.end], source
    except (_Broken, DecodeError) as error:
        raise Malformed(f"The body is not valid protobuf: {error}") from None


def _resource(body: bytes, place: _Field) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for found in _messages(body, place.begin, place.end, 1):
        part = body[found.begin : found.end]
        _check_parts(part, "resource")
        told |= _attributes(Resource.FromString(part).attributes)
    return told


def _scope(body: bytes, place: _Field) -> dict[str, str]:
    told: dict[str, str] = {}
    for found in _messages(body, place.begin, place.end, 1):
        part = body[found.begin : found.end]
        _check_parts(part, "scope")
        scope = InstrumentationScope.FromString(part)
        told |= {name: value for name, value in (("name", scope.name), ("version", scope.version)) if value}
    return told


def _each(
    kind: str, read: Callable[[bytes], T], part: bytes, source: SpanSource, told: Callable[[T, SpanSource], R]
) -> R | Refusal:
    try:
        _check_parts(part, kind)
        return told(read(part), source)
    except TowerlogError as error:
        return fields.refusal(error)
    except (_Broken, DecodeError) as error:
        return Refusal(Malformed.code, f"is not valid protobuf: {error}")


def _span(sent: Span, source: SpanSource) -> ToldSpan:
    return ToldSpan(
        _hex(sent.trace_id, 16, "traceId"),
        _hex(sent.span_id, 8, "spanId"),
        _hex(sent.parent_span_id, 8, "parentSpanId"),
        sent.name,
        sent.kind,
        sent.start_time_unix_nano,
        sent.end_time_unix_nano,
        _attributes(sent.attributes),
        source,
        sent.status.code,
        sent.status.message,
        sent.flags,
        [_event(event) for event in sent.events],
        [_link(link) for link in sent.links],
        sent.trace_state,
    )


def _event(event: Span.Event) -> dict[str, Any]:
    told = {"name": event.name, "time_unix_nano": str(event.time_unix_nano)}
    return told | {"attributes": _attributes(event.attributes)} if event.attributes else told


def _link(link: Span.Link) -> dict[str, Any]:
    told: dict[str, Any] = {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()}
    return told | {"attributes": _attributes(link.attributes)} if link.attributes else told


def _record(sent: LogRecord, source: SpanSource) -> ToldRecord:
    return ToldRecord(
        _hex(sent.trace_id, 16, "traceId"),
        _hex(sent.span_id, 8, "spanId"),
        sent.event_name,
        sent.time_unix_nano or sent.observed_time_unix_nano,
        _plain(sent.body),
        _attributes(sent.attributes),
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


def _attributes(found: Any) -> dict[str, Any]:
    told = {}
    for one in found:
        value = one.value
        which = value.WhichOneof("value")
        told[one.key] = value.string_value if which == "string_value" else _plain(value)
    return told


def _plain(value: AnyValue) -> Any:
    """The value as JSON has it. As deep as protobuf's own reader goes."""
    which = value.WhichOneof("value")
    match which:
        case None:
            return None
        case "array_value":
            return [_plain(one) for one in value.array_value.values]
        case "kvlist_value":
            return {one.key: _plain(one.value) for one in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case _:
            return getattr(value, which)


# The wire itself: fields one after the other, each with a number, a type, and its length where that is not known.


def _messages(body: bytes, begin: int, end: int, number: int) -> Iterator[_Field]:
    return (found for found in _fields(body, begin, end) if found.number == number and found.wire == _LENGTH)


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
    """The reply to an export: empty where all is stored."""
    if not rejected:
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
