"""OTLP as JSON: a request in two passes, the places of spans and records first, then each of them by itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec

from towerlog.dialects import fields
from towerlog.dialects.base import MAX_LABEL_CHARS
from towerlog.dialects.fields import invalid_field
from towerlog.dialects.otlp.lookups import source_of
from towerlog.dialects.otlp.present import present_in
from towerlog.dialects.otlp.shapes import (
    Code,
    ExportedResource,
    ExportedSpan,
    ExportTraces,
    InstrumentationScope,
    LogRecord,
    SpanEvent,
    SpanLink,
)
from towerlog.dialects.otlp.spans import (
    PARENT,
    QUICK_SPANS,
    SPAN_BYTES,
    TRACE_BYTES,
    Lazy,
    SpanSource,
    ToldRecord,
    ToldSpan,
)
from towerlog.dialects.otlp.values import attributes_of, hex_id, nanos, plain, whole
from towerlog.dialects.repair import repair
from towerlog.dialects.structure import MAX_PARTS, has_too_many_parts, long_strings, parts_of
from towerlog.errors import Invalid, Malformed, TooLarge, TowerlogError
from towerlog.model.event import Refusal

MAX_SPAN_PARTS = 200_000
"""Commas and opening brackets of one span: it is decoded in one call, which keeps the interpreter to itself."""
QUICK_BYTES = 256 * 1024
"""Of a request that is decoded in one go, for the sake of speed."""
MAX_KNOWN_TRACES = 1024
"""Ids of traces that were looked at: spans of one trace come together."""
T = TypeVar("T")
R = TypeVar("R")


class _ScopeSpans(msgspec.Struct, frozen=True, gc=False):
    scope: InstrumentationScope | None = None
    found: list[msgspec.Raw] | None = msgspec.field(default=None, name="spans")


class _ResourceSpans(msgspec.Struct, frozen=True, gc=False):
    resource: ExportedResource | None = None
    scopes: list[_ScopeSpans] | None = msgspec.field(default=None, name="scopeSpans")


class _Spans(msgspec.Struct, frozen=True, gc=False):
    resources: list[_ResourceSpans] | None = msgspec.field(default=None, name="resourceSpans")


class _ScopeLogs(msgspec.Struct, frozen=True, gc=False):
    scope: InstrumentationScope | None = None
    found: list[msgspec.Raw] | None = msgspec.field(default=None, name="logRecords")


class _ResourceLogs(msgspec.Struct, frozen=True, gc=False):
    resource: ExportedResource | None = None
    scopes: list[_ScopeLogs] | None = msgspec.field(default=None, name="scopeLogs")


class _Logs(msgspec.Struct, frozen=True, gc=False):
    resources: list[_ResourceLogs] | None = msgspec.field(default=None, name="resourceLogs")


class _Metrics(msgspec.Struct, frozen=True, gc=False):
    resources: list[msgspec.Raw] | None = msgspec.field(default=None, name="resourceMetrics")


_WHOLE = msgspec.json.Decoder(ExportTraces)
_SPANS = msgspec.json.Decoder(_Spans)
_LOGS = msgspec.json.Decoder(_Logs)
_METRICS = msgspec.json.Decoder(_Metrics)
_SPAN = msgspec.json.Decoder(ExportedSpan)
_RECORD = msgspec.json.Decoder(LogRecord)
_CODES = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2} | {
    f"SPAN_KIND_{name}": number
    for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
}


def is_quick(body: bytes) -> bool:
    """Whether it takes a few milliseconds to read a request and to make events of it. Escapes hide what is counted."""
    if b"\\" in body and b"\\u" in body:
        return False
    return body.count(b'"spanId"') <= QUICK_SPANS


def spans_of(body: bytes) -> Iterator[Lazy[ToldSpan]]:
    """The spans of a request, read one by one. Raises Malformed, Invalid, TooLarge for what is no request."""
    try:
        if len(body) <= QUICK_BYTES:
            whole = _WHOLE.decode(body)
            if not whole.resource_spans:
                _decoded(_SPANS, body)
            return (partial(_told, span, source) for span, source in _each_of(whole))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # one by one below: the wrong one is found, and the others are read
    return (partial(_each, _SPAN, raw, source, _span) for raw, source in _found(_SPANS, body))


def records_of(body: bytes) -> Iterator[Lazy[ToldRecord]]:
    """The same of log records."""
    return (partial(_each, _RECORD, raw, source, _record) for raw, source in _found(_LOGS, body))


def check_metrics(body: bytes) -> None:
    """Raises Malformed, Invalid for what is no request."""
    _decoded(_METRICS, body)


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """What a body says; one that is JSON but for what senders are known to get wrong is repaired.

    `NaN` and `Infinity` are read as the texts that protobuf has for them: in the place of a list they are refused as
    any text is, where null would be a request of nothing.
    """
    if has_too_many_parts(body):
        raise TooLarge(f"body: is made of more than {MAX_PARTS} parts", field="body")
    try:
        return _request(fields.decode(decoder, body), body)
    except Malformed:
        repaired = repair(body, words_as_text=True)
        if repaired is None:
            raise
        return _request(fields.decode(decoder, repaired.body), repaired.body)


def _request(told: Any, body: bytes) -> Any:
    """What a body says, if it is a request: any object of JSON says nothing of spans. Raises Invalid."""
    known = told.__struct_encode_fields__[0]
    members = {} if told.resources is not None else fields.members_of(body)
    if members and known not in members:
        raise invalid_field(known, "is required: the body is no request of OTLP")
    return told


def _found(decoder: msgspec.json.Decoder[Any], body: bytes) -> Iterator[tuple[msgspec.Raw, SpanSource]]:
    for resource in _decoded(decoder, body).resources or ():
        about = {} if resource.resource is None else attributes_of(resource.resource.attributes)
        for scope in resource.scopes or ():
            source = source_of(about, _scope(scope.scope))
            for raw in scope.found or ():
                yield raw, source


def _each_of(whole: ExportTraces) -> Iterator[tuple[ExportedSpan, SpanSource]]:
    for resource in whole.resource_spans:
        about = {} if resource.resource is None else attributes_of(resource.resource.attributes)
        for scope in resource.scope_spans:
            source = source_of(about, _scope(scope.scope))
            for span in scope.spans:
                yield span, source


def _told(span: ExportedSpan, source: SpanSource) -> ToldSpan | Refusal:
    try:
        return _span(span, source)
    except TowerlogError as error:
        return fields.refusal(error)


def _scope(scope: InstrumentationScope | None) -> dict[str, str]:
    told = {} if scope is None else {"name": scope.name, "version": scope.version}
    return {name: value for name, value in told.items() if value}


def _each(
    decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, source: SpanSource, read: Callable[[T, SpanSource], R]
) -> R | Refusal:
    try:
        text = bytes(raw)
        if len(text) > MAX_SPAN_PARTS and (parts_of(text) > MAX_SPAN_PARTS or long_strings(text)):
            raise TooLarge(f"has more than {MAX_SPAN_PARTS} parts, or too long a string")
        return read(_one(decoder, text), source)
    except TowerlogError as error:
        return fields.refusal(error)


def _one(decoder: msgspec.json.Decoder[T], text: bytes) -> T:
    try:
        return fields.decode(decoder, text)
    except Malformed:
        # A first pass over the request lets half of a surrogate pass.
        repaired = repair(text, words_as_text=True)
        if repaired is None:
            raise
        return fields.decode(decoder, repaired.body)


def _span(sent: ExportedSpan, source: SpanSource) -> ToldSpan:
    trace_id, span_id = _trace_id(sent.trace_id), hex_id(sent.span_id, SPAN_BYTES, "spanId")
    status, kind, unused, parent = sent.status, sent.kind, dict[str, Any](), sent.parent_span_id
    parent = _parent(parent, unused) if parent else ""
    kind = kind if type(kind) is int else _code(kind, "kind")
    start, end = nanos(sent.start), nanos(sent.end)
    if start is None or end is None:
        _note_times(sent, unused)
    attributes, events, links = attributes_of(sent.attributes), sent.events, sent.links
    return ToldSpan(
        trace_id,
        span_id,
        parent,
        sent.name or "",
        kind,
        start or 0,
        end or 0,
        attributes,
        present_in(attributes),
        source,
        0 if status is None else _code(status.code, "status.code"),
        "" if status is None else status.message or "",
        sent.flags or 0,
        [_event(event) for event in events] if events else [],
        [_link(link) for link in links] if links else [],
        sent.trace_state or "",
        unused,
    )


def _parent(value: str | None, unused: dict[str, Any]) -> str:
    """The id of the parent; a span whose parent has none that could be one is a root."""
    try:
        return hex_id(value, SPAN_BYTES, PARENT)
    except Invalid:
        unused[PARENT] = fields.truncated(value or "", MAX_LABEL_CHARS)
        return ""


@functools.lru_cache(maxsize=MAX_KNOWN_TRACES)
def _trace_id(value: str | None) -> str:
    return hex_id(value, TRACE_BYTES, "traceId")


def _note_times(sent: ExportedSpan, unused: dict[str, Any]) -> None:
    """Keeps what stands in the place of a time and cannot be one."""
    for field, value in (("startTimeUnixNano", sent.start), ("endTimeUnixNano", sent.end)):
        if nanos(value) is None:
            unused[field] = fields.truncated(value, MAX_LABEL_CHARS) if isinstance(value, str) else value


def _event(event: SpanEvent) -> dict[str, Any]:
    told = {"name": event.name or "", "time_unix_nano": str(nanos(event.time) or 0)}
    return told | {"attributes": attributes_of(event.attributes)} if event.attributes else told


def _link(link: SpanLink) -> dict[str, Any]:
    told: dict[str, Any] = {"trace_id": link.trace_id or "", "span_id": link.span_id or ""}
    return told | {"attributes": attributes_of(link.attributes)} if link.attributes else told


def _record(sent: LogRecord, source: SpanSource) -> ToldRecord:
    attributes = attributes_of(sent.attributes)
    return ToldRecord(
        hex_id(sent.trace_id, TRACE_BYTES, "traceId"),
        hex_id(sent.span_id, SPAN_BYTES, "spanId"),
        sent.event_name or "",
        nanos(sent.time) or nanos(sent.observed) or 0,
        plain(sent.body),
        attributes,
        present_in(attributes),
        source,
        0 if isinstance(sent.severity, str) else sent.severity or 0,
        sent.severity_text or "",
    )


def _code(value: Code, field: str) -> int:
    """The number of a member of an enumeration."""
    if value is None:
        return 0
    found = _CODES.get(value, whole(value)) if isinstance(value, str) else value
    if not isinstance(found, int):
        raise invalid_field(field, "must be a number")
    return found
