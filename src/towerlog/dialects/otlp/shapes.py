"""Requests and replies of OTLP/HTTP as JSON writes them; `protobuf.py` reads the other encoding into the same.

What a span or a log record says is read one by one, so that one that is wrong costs none of its neighbours.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.otlp.values import AnyValue, KeyValue

_TRACE_ID = "5b8efff798038103d269b633813fc60c"
_SPAN_ID = "eee19b7ec3c1b174"
_NANOS = "1775124000000000000"

Attributes = Annotated[
    list[KeyValue], v.said("Names and values.", [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}])
]
Time = Annotated[int | float | str | None, v.said("Nanoseconds since 1970, as a text or a number.", _NANOS)]
TraceHex = Annotated[str | None, v.said("The trace: 32 hex digits.", _TRACE_ID)]
SpanHex = Annotated[str | None, v.said("A span: 16 hex digits.", _SPAN_ID)]
Code = int | str | None


class SpanStatus(msgspec.Struct, frozen=True, gc=False):
    """How a span has ended."""

    code: Annotated[Code, v.said("0: not said, 1: good, 2: an error; or its name in protobuf.", 1)] = None
    message: Annotated[str | None, v.said("What went wrong.", "")] = None


class SpanEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that happened at a moment of a span."""

    name: Annotated[str | None, v.said("What happened.", "exception")] = None
    time: Time = msgspec.field(default=None, name="timeUnixNano")
    attributes: Attributes = []


class SpanLink(msgspec.Struct, frozen=True, gc=False):
    """Another span that has to do with it."""

    trace_id: TraceHex = msgspec.field(default=None, name="traceId")
    span_id: SpanHex = msgspec.field(default=None, name="spanId")
    attributes: Attributes = []


class ExportedSpan(msgspec.Struct, frozen=True, gc=False):
    """A span that has ended."""

    trace_id: TraceHex = msgspec.field(default=None, name="traceId")
    span_id: SpanHex = msgspec.field(default=None, name="spanId")
    parent_span_id: SpanHex = msgspec.field(default=None, name="parentSpanId")
    name: Annotated[str | None, v.said("What it is called.", "chat gpt-4o")] = None
    kind: Annotated[Code, v.said("1: internal, 2: server, 3: client, 4: producer, 5: consumer.", 3)] = None
    start: Time = msgspec.field(default=None, name="startTimeUnixNano")
    end: Time = msgspec.field(default=None, name="endTimeUnixNano")
    attributes: Attributes = []
    events: Annotated[list[SpanEvent], v.said("What happened in it.", [])] = []
    links: Annotated[list[SpanLink], v.said("Other spans.", [])] = []
    status: Annotated[SpanStatus | None, v.said("How it has ended.", {"code": 1})] = None
    flags: Annotated[int | None, v.said("512 is set where its parent is in another process.", 257)] = None
    trace_state: Annotated[str | None, v.said("What vendors hand down.", "")] = msgspec.field(
        default=None, name="traceState"
    )


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """A log record. It belongs to the span that it names, else to the session in its attributes."""

    trace_id: TraceHex = msgspec.field(default=None, name="traceId")
    span_id: SpanHex = msgspec.field(default=None, name="spanId")
    event_name: Annotated[str | None, v.said("What it reports.", "gen_ai.choice")] = msgspec.field(
        default=None, name="eventName"
    )
    time: Time = msgspec.field(default=None, name="timeUnixNano")
    observed: Time = msgspec.field(default=None, name="observedTimeUnixNano")
    severity: Annotated[Code, v.said("1 to 24; 17 and more are errors.", 9)] = msgspec.field(
        default=None, name="severityNumber"
    )
    severity_text: Annotated[str | None, v.said("The same in words.", "INFO")] = msgspec.field(
        default=None, name="severityText"
    )
    body: Annotated[AnyValue | None, v.said("What it says.", {"stringValue": "It is cold."})] = None
    attributes: Attributes = []


class ExportedResource(msgspec.Struct, frozen=True, gc=False):
    """Who reports: a process."""

    attributes: Attributes = []


class InstrumentationScope(msgspec.Struct, frozen=True, gc=False):
    """The library that reports."""

    name: Annotated[str | None, v.said("Its name.", "pydantic-ai")] = None
    version: Annotated[str | None, v.said("Its version.", "2.60.0")] = None


class ScopeSpans(msgspec.Struct, frozen=True, gc=False):
    """Spans of one library."""

    scope: Annotated[InstrumentationScope | None, v.said("The library.", {"name": "pydantic-ai"})] = None
    spans: Annotated[list[ExportedSpan], v.said("Its spans.")] = []


class ResourceSpans(msgspec.Struct, frozen=True, gc=False):
    """Spans of one process."""

    resource: Annotated[ExportedResource | None, v.said("The process.", {"attributes": []})] = None
    scope_spans: Annotated[list[ScopeSpans], v.said("Its spans, by library.")] = msgspec.field(
        default_factory=list, name="scopeSpans"
    )


class ExportTraces(msgspec.Struct, frozen=True, gc=False):
    """Spans of several processes, in any order: children may come before their parents, and in another request."""

    resource_spans: Annotated[list[ResourceSpans], v.said("The spans, by process.")] = msgspec.field(
        default_factory=list, name="resourceSpans"
    )


class ScopeLogs(msgspec.Struct, frozen=True, gc=False):
    """Log records of one library."""

    scope: Annotated[InstrumentationScope | None, v.said("The library.", {"name": "pydantic-ai"})] = None
    log_records: Annotated[list[LogRecord], v.said("Its records.")] = msgspec.field(
        default_factory=list, name="logRecords"
    )


class ResourceLogs(msgspec.Struct, frozen=True, gc=False):
    """Log records of one process."""

    resource: Annotated[ExportedResource | None, v.said("The process.", {"attributes": []})] = None
    scope_logs: Annotated[list[ScopeLogs], v.said("Its records, by library.")] = msgspec.field(
        default_factory=list, name="scopeLogs"
    )


class ExportLogs(msgspec.Struct, frozen=True, gc=False):
    """Log records of several processes."""

    resource_logs: Annotated[list[ResourceLogs], v.said("The records, by process.")] = msgspec.field(
        default_factory=list, name="resourceLogs"
    )


class ExportMetrics(msgspec.Struct, frozen=True, gc=False):
    """Metrics: they are accepted and not stored."""

    resource_metrics: Annotated[list[dict[str, Any]], v.said("The metrics, by process.", [])] = msgspec.field(
        default_factory=list, name="resourceMetrics"
    )


class RejectedSpans(msgspec.Struct, frozen=True, gc=False):
    """Spans that are not stored. They are not to be sent again."""

    rejected: Annotated[str, v.said("How many, as a text.", "1")] = msgspec.field(name="rejectedSpans")
    message: Annotated[str, v.said("Why the first of them is not.", "traceId: must be 32 hex digits")] = msgspec.field(
        name="errorMessage"
    )


class RejectedRecords(msgspec.Struct, frozen=True, gc=False):
    """Log records that are not stored. They are not to be sent again."""

    rejected: Annotated[str, v.said("How many, as a text.", "1")] = msgspec.field(name="rejectedLogRecords")
    message: Annotated[str, v.said("Why the first of them is not.", "names no trace and no session")] = msgspec.field(
        name="errorMessage"
    )


class TracesStored(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The spans are on stable storage, but for those that are told of."""

    partial_success: Annotated[RejectedSpans | None, v.said("Spans that are not stored; absent for none.")] = (
        msgspec.field(default=None, name="partialSuccess")
    )


class LogsStored(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The records are on stable storage, but for those that are told of."""

    partial_success: Annotated[RejectedRecords | None, v.said("Records that are not stored; absent for none.")] = (
        msgspec.field(default=None, name="partialSuccess")
    )


class MetricsTaken(msgspec.Struct, frozen=True, gc=False):
    """The metrics were taken."""
