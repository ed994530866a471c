"""What a span or a log record says, once its encoding is read: the same from JSON and from protobuf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from towerlog.dialects.otlp.present import Present
from towerlog.dialects.otlp.values import NANOS_PER_MS
from towerlog.errors import Invalid
from towerlog.model.event import Refusal

ERROR = 2
"""The code of a status that is an error."""
REMOTE_PARENT = 0x200
"""The flag of a span whose parent is in another process."""
_SPAN_TYPE, _LOG = "logfire.span_type", "log"
"""Logfire tells of a moment by a span, above all of what was streamed, and takes its parent out of a context that it
has kept: that is flagged remote, though it is of the same process."""
TRACE_BYTES, SPAN_BYTES = 16, 8
PARENT = "parentSpanId"
QUICK_SPANS = 250
"""Of a request that is read at once, on the event loop: each takes up to 100 µs."""
T = TypeVar("T")
Lazy = Callable[[], T | Refusal]
"""A span or a record that is read when it is asked for; or why it cannot be."""
KINDS = ("", "internal", "server", "client", "producer", "consumer")


class SpanSource(msgspec.Struct, frozen=True, gc=False):
    """Who reports: the attributes of a process, and the library in it."""

    resource: dict[str, Any]
    scope: dict[str, str]
    service: str | None = None
    """The name of the process, where it has one."""


class ToldSpan(msgspec.Struct, frozen=True, gc=False):
    """A span. Ids are small hex digits, empty where there are none; times nanoseconds since 1970, 0 for none."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Any]
    present: Present
    """What of the table of names is among its attributes."""
    source: SpanSource
    code: int = 0
    message: str = ""
    flags: int = 0
    events: list[dict[str, Any]] = []
    links: list[dict[str, Any]] = []
    trace_state: str = ""
    unused: dict[str, Any] = {}
    """What it says and could not be used, by the name that OTLP has for it."""

    @property
    def is_root(self) -> bool:
        """Whether no part of its trace is above it, as far as its own process knows."""
        is_remote = bool(self.flags & REMOTE_PARENT) and self.attributes.get(_SPAN_TYPE) != _LOG
        return not self.parent_id or is_remote

    @property
    def start_ms(self) -> int | None:
        """When it began, in ms."""
        return self.start // NANOS_PER_MS or None

    @property
    def end_ms(self) -> int | None:
        """When it ended, in ms."""
        return self.end // NANOS_PER_MS or self.start_ms

    @property
    def duration_ms(self) -> int | None:
        """How long it took; None where its clock was set back."""
        return round((self.end - self.start) / NANOS_PER_MS) if self.start and self.end >= self.start else None


class ToldRecord(msgspec.Struct, frozen=True, gc=False):
    """A log record. Ids and times as of a span."""

    trace_id: str
    span_id: str
    name: str
    time: int
    body: Any
    attributes: dict[str, Any]
    present: Present
    """What of the table of names is among its attributes."""
    source: SpanSource
    severity: int = 0
    severity_text: str = ""


def checked(span: ToldSpan) -> ToldSpan | Refusal:
    """The span, if it says which it is."""
    if span.trace_id and span.span_id:
        return span
    field = "spanId" if span.trace_id else "traceId"
    return Refusal(Invalid.code, f"{field}: is required", field)
