"""A run as its own program sees it: what it tells, what it is told, and which run is the current one.

It sends nothing itself: events go into a `Sink`, commands come in through `deliver`, from whichever thread. A recorder
is behind one kind of sink, a worker's lane behind another.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import ContextVar, copy_context
from typing import Any, ParamSpec, Protocol, TypeVar

from towerlog.sdk.record.encoding import describe, name_text, one_line
from towerlog.sdk.record.inbox import Inbox, RunCancelled
from towerlog.sdk.record.spans import Step, ToolCall

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["AsyncRun", "BaseRun", "Run", "RunCancelled", "Sink", "activated", "carry", "current_run"]

CANCELLATIONS = (RunCancelled, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)
"""Exceptions that say that the work is not wanted any more, not that it went wrong."""

_current_run: ContextVar[BaseRun | None] = ContextVar("towerlog_run", default=None)


class Sink(Protocol):
    """Where a run's events go. Neither method blocks or raises, and any thread may call them."""

    def put(self, event: dict[str, Any]) -> None:
        """Takes `{"type", "data", "agent"?}` for its own, and stamps it: event_id, client_seq, time."""

    def expect(self, run: BaseRun, waiting: bool) -> None:
        """Whether somebody waits for a command of this run, so that it should come soon."""


def current_run() -> BaseRun | None:
    """The run that the calling code is part of, through awaits, tasks and `carry`; None outside of any."""
    return _current_run.get()


@contextlib.contextmanager
def activated(run: BaseRun) -> Iterator[None]:
    """Makes a run the current one for a block."""
    token = _current_run.set(run)
    try:
        yield
    finally:
        # A block may end in another context than it began in: then there is nothing to set back.
        with contextlib.suppress(ValueError):
            _current_run.reset(token)


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, to be called in another thread as a part of the run that is current now: `pool.submit(carry(f))`."""
    context = copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        # A context can be entered once at a time, and a pool may call this many times at once.
        return context.copy().run(function, *args, **kwargs)

    return carried


class BaseRun:
    """What both kinds of run have in common: all that is told. `Run` and `AsyncRun` differ in how they wait."""

    def __init__(
        self,
        sink: Sink,
        run_key: str | None = None,
        agent: str | None = None,
        *,
        run_id: str | None = None,
        thread: str | None = None,
        input: Any = None,  # noqa: A002 the name that users know it by
        persona: dict[str, Any] | None = None,
        route: dict[str, Any] | None = None,
        resume: dict[str, Any] | None = None,
        fencing_token: int | None = None,
    ) -> None:
        """`run_key` for a run of our own making, `run_id` for one that was claimed. `resume` is its last checkpoint."""
        self.sink = sink
        self.run_key = run_key
        self.run_id = run_id
        self.agent = None if agent is None else name_text(agent)
        self.thread = thread
        self.input = input
        self.persona = persona
        self.route = route
        self.resume = resume
        self.fencing_token = fencing_token
        self.result: Any = None
        """What came of it, told with its end."""
        self.ended = False
        self._steps_taken = _steps_of(resume)
        self._marks = threading.local()
        self._inbox = Inbox(self._acknowledge)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.run_key or self.run_id!r}, agent={self.agent!r})"

    # What is told

    def tell(self, event_type: str, data: dict[str, Any]) -> None:
        """Reports an event of a canonical type, for which there is no method of its own."""
        self._settle_mark()
        event: dict[str, Any] = {"type": event_type, "data": data}
        if self.agent is not None:
            event["agent"] = self.agent
        self.sink.put(event)

    def step(self, name: object, payload: object = None) -> Step:
        """A part of the work: one event, or as a `with` block a start and an end."""
        self._settle_mark()
        step = Step(self, name, payload)
        # Weakly: a step that nobody keeps tells itself when it goes, and that is at once.
        self._marks.last = weakref.ref(step)
        return step

    def tool_call(self, tool: object, arguments: object = None) -> ToolCall:
        """A call of a tool, as a `with` block."""
        return ToolCall(self, tool, arguments)

    def message_delta(self, content: object) -> None:
        """A piece of what the agent says, as it comes."""
        self.tell("message.delta", {"content": content if isinstance(content, str) else str_of(content)})

    def model_call(
        self,
        model: object,
        *,
        input_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: object = None,
        duration_ms: float | None = None,
        **more: object,
    ) -> None:
        """What one call of a model has used. Unknown is None, which is not nought."""
        used = {
            "input_tokens": input_tokens,
            "cached_input_tokens": cached_input_tokens,
            "output_tokens": output_tokens,
            "cost_usd": _number(cost_usd),
            "duration_ms": duration_ms,
        }
        known = {name: value for name, value in used.items() if value is not None}
        self.tell("model.call", {**more, "model": name_text(model), **known})

    def checkpoint(
        self,
        history: Sequence[Any],
        *,
        step_index: int | None = None,
        history_meta: Sequence[Any] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """The whole state after a step: from here a lost run is taken up again. By default steps count from 1."""
        self._steps_taken = step_index if isinstance(step_index, int) else self._steps_taken + 1
        data: dict[str, Any] = {"step_index": self._steps_taken, "history": history}
        if history_meta is not None:
            data["history_meta"] = history_meta
        if state is not None:
            data["state"] = state
        self.tell("checkpoint", data)

    def start(self, **data: object) -> None:
        """The run begins. `data` as `run.started` has it; what is None is left out."""
        self.tell("run.started", {name: value for name, value in data.items() if value is not None})

    def complete(self, result: object = None) -> None:
        """The run ends, and this came of it. The first end is the end."""
        came = self.result if result is None else result
        self._end("run.completed", {} if came is None else {"result": came})

    def fail(self, error: object) -> None:
        """The run ends without a result; an exception is told in one line."""
        text = describe(error) if isinstance(error, BaseException) else one_line(error)
        self._end("run.failed", {"error": text or "failed"})

    def give_up(self, reason: object = None) -> None:
        """The run ends because it was cancelled."""
        self._end("run.cancelled", {} if reason is None else {"reason": one_line(reason)})

    def end_with(self, error: BaseException) -> None:
        """The run ends by an exception: cancelled, completed by a quiet exit of the program, or else failed."""
        if isinstance(error, CANCELLATIONS):
            self.give_up(describe(error))
        elif isinstance(error, SystemExit) and not error.code:
            self.complete()
        else:
            self.fail(error)

    def beat(self) -> None:
        """A sign of life and nothing more, so that a run which says nothing for long is not taken for a lost one."""
        event: dict[str, Any] = {"type": "other", "data": {"name": "heartbeat"}}
        if self.agent is not None:
            event["agent"] = self.agent
        self.sink.put(event)

    def _end(self, event_type: str, data: dict[str, Any]) -> None:
        if not self.ended:
            self._settle_mark()
            self.ended = True
            self.tell(event_type, data)

    def _settle_mark(self) -> None:
        """A step of this thread that has not become a block by now is one event, and comes before what follows."""
        last = getattr(self._marks, "last", None)
        if last is not None:
            self._marks.last = None
            step = last()
            if step is not None:
                step.settle()

    # What it is told

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants this run to stop. Safe to read from any thread."""
        return self._inbox.cancelled

    @property
    def pausing(self) -> bool:
        """Whether somebody wants this run to wait at its next `pause_point`."""
        return self._inbox.pausing

    def check(self) -> None:
        """Raises RunCancelled if somebody wants this run to stop: for sync code, between two pieces of work."""
        self._inbox.check()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Calls back once when a cancel comes, from whichever thread brings it; at once if it has come."""
        self._inbox.on_cancel(callback)

    def deliver(self, command: Mapping[str, Any]) -> None:
        """A command of the server: `{"command_id", "type", "content"?}`. Any thread; a repeated one does nothing.

        A cancel is acknowledged here, an input when an `ask` takes it, a pause at the next `pause_point`.
        """
        self._inbox.take(command)

    def after_fork(self) -> None:
        """In the child of a fork: a lock that another thread held in the parent is never released here."""
        self._inbox.after_fork()

    def _acknowledge(self, command: Mapping[str, Any]) -> None:
        self.tell("command.acknowledged", {"command_id": command.get("command_id"), "type": command.get("type")})

    def _ask(self, question: object) -> Future[Any]:
        self._inbox.check()
        self.tell("run.waiting_for_input", {"question": question if isinstance(question, str) else str_of(question)})
        return self._inbox.answer()


class Run(BaseRun):
    """A run of sync code: where it waits, it blocks its thread."""

    def ask(self, question: object, timeout: float | None = None) -> Any:
        """Asks, and waits for the answer. Raises TimeoutError after `timeout` seconds, RunCancelled on a cancel."""
        return self._wait(self._ask(question), timeout)

    def pause_point(self, timeout: float | None = None) -> None:
        """A place where the run may be paused: returns at once, unless somebody wants it to wait. As `ask` raises."""
        self._inbox.check()
        if resumed := self._inbox.pause():
            self.tell("run.paused", {})
            self._wait(resumed, timeout)
            self.tell("run.resumed", {})

    def _wait(self, future: Future[Any], timeout: float | None) -> Any:
        self.sink.expect(self, True)
        try:
            return future.result(timeout)
        except FutureTimeout:
            raise TimeoutError("nobody answered in time") from None
        finally:
            self._inbox.forget(future)
            self.sink.expect(self, False)


class AsyncRun(BaseRun):
    """A run of async code: where it waits, it awaits."""

    async def ask(self, question: object, timeout: float | None = None) -> Any:  # noqa: ASYNC109 as Run has it
        """Asks, and waits for the answer. Raises TimeoutError after `timeout` seconds, RunCancelled on a cancel."""
        return await self._wait(self._ask(question), timeout)

    async def pause_point(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 as Run has it
        """A place where the run may be paused: returns at once, unless somebody wants it to wait. As `ask` raises."""
        self._inbox.check()
        if resumed := self._inbox.pause():
            self.tell("run.paused", {})
            await self._wait(resumed, timeout)
            self.tell("run.resumed", {})

    async def _wait(self, future: Future[Any], timeout: float | None) -> Any:  # noqa: ASYNC109 as Run has it
        self.sink.expect(self, True)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout)
        finally:
            self._inbox.forget(future)
            self.sink.expect(self, False)


def str_of(value: object) -> str:
    """`str(value)`, or what can be said instead."""
    try:
        return str(value)
    except Exception:
        return one_line(value)


def _steps_of(resume: Mapping[str, Any] | None) -> int:
    """The number of the step that a run is taken up after."""
    taken = resume.get("step_index") if isinstance(resume, dict) else None
    return taken if isinstance(taken, int) else 0


def _number(value: object) -> float | None:
    """A number of dollars, however it was given; its shortest text is what was written."""
    try:
        return None if value is None else float(str(value))
    except Exception:
        return None
