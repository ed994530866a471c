"""Spans of a run: steps and tool calls. Each reports its start and its end, with duration and outcome.

The current span is kept in a context variable, so that a step inside a step knows its parent. Spans may end in any
order, and in other contexts than they began in: one that has ended, or belongs to another run, is not a parent.
"""

from __future__ import annotations

import contextlib
import time
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol

from towerlog.sdk.record.values.encoding import describe, name_text
from towerlog.sdk.wire.ids import uuid7


class SpanRun(Protocol):
    """What a span needs from its run."""

    def tell(self, event_type: str, data: dict[str, Any]) -> None:
        """Reports an event of the run."""


class Span:
    """The time between two events. A span that is open when another begins is its parent."""

    def __init__(self, run: SpanRun) -> None:
        self._span_id: str | None = None
        self._run = run
        self._began_ns: int | None = None
        self._ended = False
        self._outer: Span | None = None
        self._parent: str | None = None

    @property
    def span_id(self) -> str:
        """Its id, made when it is needed: a step that is one event has none."""
        if self._span_id is None:
            self._span_id = uuid7()
        return self._span_id

    def _open(self) -> None:
        self._outer = _open_one()
        self._parent = _parent_in(self._run)
        _current_span.set(self)
        self._began_ns = time.monotonic_ns()

    def _close(self) -> int | None:
        """Milliseconds since the start; None if there was none, or if the end has been reported already."""
        if self._began_ns is None or self._ended:
            return None
        self._ended = True
        _current_span.set(_open_one())
        return (time.monotonic_ns() - self._began_ns) // 1_000_000


_current_span: ContextVar[Span | None] = ContextVar("towerlog_span", default=None)


def _open_one() -> Span | None:
    """The innermost span of this context that has not ended."""
    span = _current_span.get()
    while span is not None and span._ended:
        span = span._outer
    return span


def _parent_in(run: SpanRun) -> str | None:
    """The id of the innermost open span of this run."""
    span = _open_one()
    while span is not None and (span._ended or span._run is not run):
        span = span._outer
    return None if span is None else span.span_id


class Step(Span):
    """`run.step("mark")` is one event; `with run.step("part"):` is two, a start and an end.

    Which of the two is known only after the call. So the one event is reported when the object is freed, or before the
    next event of the same thread, whichever comes first.
    """

    def __init__(self, run: SpanRun, name: object, payload: object = None) -> None:
        super().__init__(run)
        self.name = name_text(name)
        self.payload = payload
        self._at_ms = time.time_ns() // 1_000_000
        self._told = False

    def settle(self) -> None:
        """Reports it as one event, unless it has become a span or was reported already."""
        if not self._told:
            self._told = True
            self._run.tell("step", self._data(_parent_in(self._run)))

    def __del__(self) -> None:
        # At interpreter shutdown the modules that this needs may be gone.
        with contextlib.suppress(Exception):
            self.settle()

    def __enter__(self) -> Step:
        self._told = True
        self._open()
        self._run.tell("step", {**self._data(self._parent), "phase": "start"})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        duration_ms = self._close()
        if duration_ms is None:
            return
        data = {**self._data(self._parent), "phase": "end", "duration_ms": duration_ms}
        if error is not None:
            data["error"] = describe(error)
        self._run.tell("step", data)

    def _data(self, parent: str | None) -> dict[str, Any]:
        data: dict[str, Any] = {"name": self.name}
        if self._began_ns is not None:
            data["span_id"] = self.span_id
        if parent is not None:
            data["parent_span_id"] = parent
        if self.payload is not None:
            data["payload"] = self.payload
        return data


class ToolCall(Span):
    """A tool call: `with run.tool_call("search", arguments={…}) as call: call.result = …`.

    An exception inside the block marks it as failed, and propagates. `fail` marks it without an exception. Where a
    block does not fit, use `begin` and `finish`.
    """

    def __init__(self, run: SpanRun, tool: object, arguments: object = None) -> None:
        super().__init__(run)
        self.tool = name_text(tool)
        self.arguments = arguments
        self.result: Any = None
        self._error: str | None = None

    @property
    def tool_call_id(self) -> str:
        """The id that pairs the call with its result."""
        return self.span_id

    def fail(self, error: object) -> None:
        """Marks the call as failed."""
        self._error = describe(error) if isinstance(error, BaseException) else name_text(error)

    def begin(self) -> ToolCall:
        """Reports the call."""
        self._open()
        data: dict[str, Any] = self._head(self._parent)
        if self.arguments is not None:
            data["arguments"] = self.arguments
        self._run.tell("tool.call", data)
        return self

    def finish(self, error: BaseException | None = None) -> None:
        """Reports the result."""
        duration_ms = self._close()
        if duration_ms is None:
            return
        if error is not None:
            self.fail(error)
        data = {**self._head(self._parent), "success": self._error is None, "duration_ms": duration_ms}
        if self.result is not None:
            data["result"] = self.result
        if self._error is not None:
            data["error"] = self._error
        self._run.tell("tool.result", data)

    __enter__ = begin

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.finish(error)

    def _head(self, parent: str | None) -> dict[str, Any]:
        data: dict[str, Any] = {"tool": self.tool, "tool_call_id": self.tool_call_id}
        if parent is not None:
            data["parent_span_id"] = parent
        return data
