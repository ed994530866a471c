"""Blocks of a run: spans (steps and tool calls), which report their start and their end, with duration and outcome; and
money that is held while it is spent.

The current span is kept in a context variable, so that a step inside a step knows its parent. Spans may end in any
order, and in other contexts than they began in: one that has ended, or belongs to another run, is not a parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol

from towerlog.sdk.record.values.encoding import describe, name_text
from towerlog.sdk.wire.address import Url
from towerlog.sdk.wire.ids import uuid7
from towerlog.sdk.wire.reserving import reserved


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


class ReachesServer(Protocol):
    """What a reservation needs of where the events of its run go."""

    def access(self, run: Any) -> tuple[Url, str | None]:
        """The server and the key, once the server knows the run."""


class SpendingRun(Protocol):
    """What a reservation needs from its run."""

    run_id: str | None
    run_key: str | None
    agent: str | None

    @property
    def sink(self) -> ReachesServer:
        """Where its events go."""

    def tell(self, event_type: str, data: dict[str, Any]) -> None:
        """Reports an event of the run."""


_reservation: ContextVar[OpenReservation | None] = ContextVar("towerlog_reservation", default=None)


class OpenReservation:
    """Money that is held for a run, until one event has settled it."""

    def __init__(self, run: object, reservation_id: str) -> None:
        self.run = run
        self._ids = [reservation_id]

    def take(self) -> str | None:
        """Its id, once: also where several threads of a block ask."""
        try:
            return self._ids.pop()
        except IndexError:
            return None


@contextlib.contextmanager
def holding(held: OpenReservation) -> Iterator[None]:
    """Has the next model call inside a block settle what is held."""
    token = _reservation.set(held)
    try:
        yield
    finally:
        # A block may end in another context than it began in: then there is nothing to reset.
        with contextlib.suppress(ValueError):
            _reservation.reset(token)


def take_reservation(run: object) -> dict[str, str]:
    """The member by which a model call of this run settles what its block holds; none without any."""
    held = _reservation.get()
    reservation_id = held.take() if held is not None and held.run is run else None
    return {} if reservation_id is None else {"reservation_id": reservation_id}


class BudgetExceeded(Exception):
    """A budget has less left than was asked for; `budget_id` says which."""

    def __init__(self, usd: float, budget_id: str | None) -> None:
        super().__init__(f"a budget of the run has less than ${usd} left (budget {budget_id})")
        self.usd = usd
        self.budget_id = budget_id


class RunReservation:
    """A block in which money is held for a run. Can be entered once."""

    def __init__(self, run: SpendingRun, usd: float, ttl_seconds: int | None = None) -> None:
        """`ttl_seconds`: how long the server holds it if no event settles it; its default is a minute."""
        self._run = run
        self._usd = usd
        self._ttl_seconds = ttl_seconds
        self._block: contextlib.AbstractContextManager[None] | None = None
        self._held: OpenReservation | None = None
        self.reservation_id: str | None = None
        """To be named by an event that is told by other means than `model_call`."""

    def __enter__(self) -> RunReservation:
        self._ask()
        return self._begin()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(kind is not None)

    async def __aenter__(self) -> RunReservation:
        await asyncio.to_thread(self._ask)
        return self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._end(kind is not None)

    def _ask(self) -> None:
        """Raises BudgetExceeded, Unreachable, ApiError, ValueError."""
        url, api_key = self._run.sink.access(self._run)
        asked = {"run_id": self._run.run_id or self._run.run_key, "amount_usd": self._usd}
        more = {"ttl_seconds": self._ttl_seconds, "agent": self._run.agent}
        told = reserved(url, api_key, asked | {name: value for name, value in more.items() if value is not None})
        if told.get("granted") is not True:
            raise BudgetExceeded(self._usd, told.get("refused_by"))
        self.reservation_id = str(told.get("reservation_id"))

    def _begin(self) -> RunReservation:
        self._held = OpenReservation(self._run, self.reservation_id or "")
        self._block = holding(self._held)
        self._block.__enter__()
        return self

    def _end(self, failed: bool) -> None:
        """A call that failed has spent nothing that anybody knows of: it settles what was held for it."""
        if self._block is not None:
            self._block.__exit__(None, None, None)
        left = self._held.take() if failed and self._held is not None else None
        if left is not None:
            self._run.tell("model.call", {"status": "error", "reservation_id": left})
