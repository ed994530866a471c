"""Spans: the time between two events of a run, and which of them is the current one.

The current span is kept in a context variable, so that a step inside a step knows its parent. Spans may end in any
order, and in other contexts than they began in: one that has ended, or belongs to another run, is not a parent. A span
whose parent is given stands where that says: it is nobody's parent by itself.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import Any, Protocol

from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.spans.open_calls import OpenCalls
from towerlog.sdk.wire.ids import uuid7

CANCELLATIONS = (RunCancelled, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)
"""Exceptions that mean that the work was cancelled, not that it failed."""


class SpanRun(Protocol):
    """What a span needs from its run."""

    def tell(self, event_type: str, data: dict[str, Any], *, agent: object = None) -> None:
        """Reports an event of the run."""

    calls: OpenCalls


class Span:
    """The time between two events. A span that is open when another begins is its parent."""

    # Until something else is known: what is not stored in each span need not be when one is made.
    _began_ns: int | None = None
    _ended = False
    _outer: Span | None = None
    _parent: str | None = None

    def __init__(
        self, run: SpanRun, span_id: str | None = None, parent: Span | str | None = None, agent: object = None
    ) -> None:
        """`agent`: of its events, where it is not the run's. `parent`: an empty id means none."""
        self._span_id = span_id
        self._run = run
        self._agent = agent
        self._given = parent

    @property
    def span_id(self) -> str:
        """Its id, made when it is needed: a step that is one event has none."""
        if self._span_id is None:
            self._span_id = uuid7()
        return self._span_id

    def _open(self) -> None:
        if self._given is None:
            self._outer = _open_one()
            self._parent = _id_in(self._run, self._outer)
            _current_span.set(self)
        else:
            self._parent = id_of(self._given) or None
        self._began_ns = time.monotonic_ns()

    def _parent_now(self) -> str | None:
        """The id of its parent before it is open; without a given one that of the innermost open span around it."""
        return parent_in(self._run) if self._given is None else id_of(self._given) or None

    def _close(self) -> int | None:
        """Milliseconds since the start; None if there was none, or if the end has been reported already."""
        if self._began_ns is None or self._ended:
            return None
        self._ended = True
        if self._given is None:
            _current_span.set(_open_one())
        return self._elapsed_ms()

    def _elapsed_ms(self) -> int:
        return 0 if self._began_ns is None else (time.monotonic_ns() - self._began_ns) // 1_000_000


_current_span: ContextVar[Span | None] = ContextVar("towerlog_span", default=None)


def id_of(span: Span | str) -> str:
    """The id of a span that is given as such or by its id."""
    return span.span_id if isinstance(span, Span) else span


def _open_one() -> Span | None:
    """The innermost span of this context that has not ended."""
    span = _current_span.get()
    while span is not None and span._ended:
        span = span._outer
    return span


def parent_in(run: object) -> str | None:
    """The id of the innermost open span of this run in this context."""
    return _id_in(run, _open_one())


def _id_in(run: object, span: Span | None) -> str | None:
    """The id of the first open span of this run from `span` outwards."""
    while span is not None and (span._ended or span._run is not run):
        span = span._outer
    return None if span is None else span.span_id


def place_of(span: Span | str | None, parent: Span | str | None) -> dict[str, str]:
    """The members that say where an event stands among the spans."""
    placed: dict[str, str] = {}
    if span:
        placed["span_id"] = id_of(span)
    if parent:
        placed["parent_span_id"] = id_of(parent)
    return placed
