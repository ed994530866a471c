"""Spans of a trace, as tracing tools export them: a trace is a run, and its spans are model calls, tools and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from towerlog.cli.importers.events import ImportedEvent, Json, RunReader, given
from towerlog.model.times import parse_ms

Kind = Literal["model", "tool", "step", "moment"]


@dataclass(frozen=True)
class Span:
    """A span by the names and times of its file. `figures`: what a model call has used, as the server takes it."""

    span_id: str
    parent_id: str | None
    kind: Kind
    name: str
    start: str | None
    end: str | None
    input: Any = None
    output: Any = None
    error: str | None = None
    figures: Json = field(default_factory=dict)
    goes_on: bool = False
    """It had not ended when the file was made: its beginning is known, and neither its result nor its figures."""


@dataclass(frozen=True)
class Trace:
    """A trace without its spans."""

    trace_id: str
    start: str | None
    end: str | None
    input: Any = None
    output: Any = None
    error: str | None = None
    metadata: Json = field(default_factory=dict)
    goes_on: bool = False
    """It had not ended when the file was made."""


def events_of(run: RunReader, trace: Trace, spans: Sequence[Span]) -> Iterator[ImportedEvent]:
    """The events of a trace in the order of their times."""
    times = [time for span in spans for time in (span.start, span.end) if _ms(time) is not None]
    start = trace.start or min(times, key=_order, default=None)
    yield run.start(start, input=trace.input, metadata=trace.metadata)
    for span, is_end in _in_order(spans):
        yield from _end(run, span) if is_end else _begin(run, span)
    end = trace.end or max(times, key=_order, default=start)
    if trace.goes_on:
        yield run.goes_on(str(end))
    elif trace.error is not None:
        yield run.end(end, "run.failed", error=trace.error)
    else:
        yield run.end(end, result=trace.output)


def _in_order(spans: Sequence[Span]) -> list[tuple[Span, bool]]:
    """Beginnings and ends by their times; at one time a parent begins before its children, and ends after them."""
    ordered = sorted(spans, key=lambda span: _order(span.start))
    begins = [(_order(span.start), 0, place, span) for place, span in enumerate(ordered)]
    ends = [
        (max(_order(span.start), _order(span.end)), 1, -place, span)
        for place, span in enumerate(ordered)
        if span.kind != "moment" and not span.goes_on
    ]
    return [(span, bool(is_end)) for _, is_end, _, span in sorted([*begins, *ends], key=lambda one: one[:3])]


def _order(time: str | None) -> int:
    return _ms(time) or 0


def _ms(time: str | None) -> int | None:
    try:
        return None if time is None else parse_ms(time)
    except ValueError:
        return None


def _took(span: Span) -> int | None:
    start, end = _ms(span.start), _ms(span.end)
    return None if start is None or end is None or end < start else end - start


def _begin(run: RunReader, span: Span) -> Iterator[ImportedEvent]:
    if span.kind == "tool":
        yield run.called(f"{span.span_id}:start", span.start, span.span_id, span.name, span.input)
    elif span.kind != "model":
        phase = None if span.kind == "moment" else "start"
        of_moment = {"output": span.output, "error": span.error} if span.kind == "moment" else {}
        data = given(
            name=span.name,
            span_id=span.span_id,
            parent_span_id=span.parent_id,
            phase=phase,
            input=span.input,
            **of_moment,
        )
        yield run.event(f"{span.span_id}:start", "step", span.start, data)


def _end(run: RunReader, span: Span) -> Iterator[ImportedEvent]:
    event_id, time, took = f"{span.span_id}:end", span.end or span.start, _took(span)
    if span.kind == "tool":
        result, success = span.output, span.error is None
        yield run.answered(event_id, time, span.span_id, result, success=success, error=span.error, duration_ms=took)
        return
    data = given(
        name=span.name,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        duration_ms=took,
        output=span.output,
        error=span.error,
    )
    if span.kind == "step":
        yield run.event(event_id, "step", time, {**data, "phase": "end"})
    else:
        status = None if span.error is None else "error"
        yield run.event(event_id, "model.call", time, data | given(input=span.input, status=status, **span.figures))
