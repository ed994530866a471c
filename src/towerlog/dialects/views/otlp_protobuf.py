"""Spans of `otel_spans` as a request of OTLP in protobuf, which every collector takes; and what its reply says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

Json = dict[str, Any]
MAX_SPAN_BYTES = 512 * 1024
"""A larger span goes out without its longest attributes."""
CUT = "towerlog.attributes_left_out"
"""The attribute that says how many those are."""
NAME = "towerlog"
_LENGTH = 2
_SPANS, _OF_RESOURCE, _OF_REQUEST = 2, 2, 1
"""Numbers of fields: the spans of a scope, the scopes of a resource, the resources of a request."""
_MAX_NANOS, _MAX_STATUS = (1 << 64) - 1, 2


class PartialSuccess(msgspec.Struct, frozen=True):
    """What a collector did not take of a request that it accepted."""

    spans: int = 0
    words: str = ""


def span_bytes(span: Json) -> bytes:
    """One span as a field of its scope; at most about MAX_SPAN_BYTES."""
    made = _span(span)
    if made.ByteSize() > MAX_SPAN_BYTES:
        _shorten(made)
    return _field(_SPANS, made.SerializeToString())


def request_of(org_id: str, spans: Sequence[bytes]) -> bytes:
    """A request with these spans of one organisation."""
    about = (("service.name", NAME), ("towerlog.org.id", org_id))
    resource = Resource(attributes=[KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in about])
    scope = ScopeSpans(scope=InstrumentationScope(name=NAME)).SerializeToString() + b"".join(spans)
    whole = ResourceSpans(resource=resource).SerializeToString() + _field(_OF_RESOURCE, scope)
    return _field(_OF_REQUEST, whole)


def rejected(reply: bytes) -> PartialSuccess:
    """What a reply says that was not taken; nothing where it is no reply of OTLP, as some collectors answer."""
    try:
        told = ExportTraceServiceResponse.FromString(reply).partial_success
    except DecodeError:
        return PartialSuccess()
    return PartialSuccess(max(told.rejected_spans, 0), told.error_message)


def _span(span: Json) -> Span:
    made = Span(
        trace_id=bytes.fromhex(span["traceId"]),
        span_id=bytes.fromhex(span["spanId"]),
        parent_span_id=bytes.fromhex(span["parentSpanId"]),
        name=_text(span["name"]),
        kind=span["kind"],
        start_time_unix_nano=_nanos(span["startTimeUnixNano"]),
        end_time_unix_nano=_nanos(span["endTimeUnixNano"]),
        attributes=_attributes(span),
        status=_status(span["status"]),
        flags=span.get("flags", 0),
        trace_state=_text(span.get("traceState", "")),
    )
    for link in span.get("links", ()):
        trace_id, span_id = bytes.fromhex(link["traceId"]), bytes.fromhex(link["spanId"])
        made.links.add(trace_id=trace_id, span_id=span_id, attributes=_attributes(link))
    for one in span["events"]:
        at = _nanos(one["timeUnixNano"])
        made.events.add(time_unix_nano=at, name=_text(one["name"]), attributes=_attributes(one))
    return made


def _shorten(span: Span) -> None:
    """Takes the largest attributes out, and then the events, until it fits; what is left has a bounded size."""
    left_out = 0
    size = span.ByteSize()
    for one in sorted(span.attributes, key=lambda one: one.ByteSize(), reverse=True):
        if size <= MAX_SPAN_BYTES:
            break
        size -= one.ByteSize()
        span.attributes.remove(one)
        left_out += 1
    if size > MAX_SPAN_BYTES:
        del span.events[:]
        span.name, span.status.message = span.name[:1000], span.status.message[:1000]
    span.attributes.append(KeyValue(key=CUT, value=AnyValue(int_value=left_out)))


def _status(told: Json) -> Status:
    """Nothing told is "unset", which is what most spans are sent with."""
    known = told.get("code", 0)
    code: Any = known if 0 <= known <= _MAX_STATUS else 0
    return Status(code=code, message=_text(told.get("message") or ""))


def _attributes(holder: Json) -> list[KeyValue]:
    return [KeyValue(key=_text(one["key"]), value=_value(one["value"])) for one in holder["attributes"]]


def _value(told: Mapping[str, Any]) -> AnyValue:
    if not told:
        return AnyValue()
    [(kind, value)] = told.items()
    match kind:
        case "kvlistValue":
            pairs = [KeyValue(key=_text(one["key"]), value=_value(one["value"])) for one in value["values"]]
            return AnyValue(kvlist_value=KeyValueList(values=pairs))
        case "boolValue":
            return AnyValue(bool_value=value)
        case "intValue":
            return AnyValue(int_value=int(value))
        case "doubleValue":
            return AnyValue(double_value=value)
        case "arrayValue":
            return AnyValue(array_value=ArrayValue(values=[_value(one) for one in value["values"]]))
        case _:
            return AnyValue(string_value=_text(value))


def _text(text: str) -> str:
    """Protobuf has no text with half a surrogate pair, JSON has."""
    return text.encode("utf-8", "replace").decode()


def _nanos(text: str) -> int:
    return min(int(text), _MAX_NANOS)


def _field(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | _LENGTH,)) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
