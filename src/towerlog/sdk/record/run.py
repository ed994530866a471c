"""A run inside its own program: the events it reports, the commands it receives, and which run is the current one.

It sends nothing itself: events go into a `Sink`, commands come in through `deliver`, from any thread. The sink belongs
to a recorder or to a worker's lane.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Protocol

from towerlog.sdk.record.inbox import Inbox, RunCancelled
from towerlog.sdk.record.question_keys import QuestionKeys
from towerlog.sdk.record.spans import Step, ToolCall
from towerlog.sdk.record.values.encoding import describe, name_text, one_line
from towerlog.sdk.record.values.figures import Fit, count, dollars, items, milliseconds
from towerlog.sdk.record.values.provider_usage import BUCKETS, TOTAL, usage_of

CANCELLATIONS = (RunCancelled, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)
"""Exceptions that mean that the work was cancelled, not that it failed."""


class Sink(Protocol):
    """Where a run's events go. Neither method blocks or raises, and any thread may call them."""

    @property
    def url(self) -> str:
        """The address of the server."""

    def put(self, event: dict[str, Any]) -> None:
        """Takes over `{"type", "data", "agent"?}` and adds event_id, client_seq and time to it."""

    def expect(self, run: BaseRun, waiting: bool) -> None:
        """Whether a command of this run is waited for, so that it should come soon."""


class BaseRun:
    """What both kinds of run have in common: reporting. `Run` and `AsyncRun` differ in how they wait."""

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
        history: Sequence[Any] = (),
        fencing_token: int | None = None,
    ) -> None:
        """`run_key` for a run that this program begins, `run_id` for a claimed one. `resume` is its last checkpoint,
        `history` what the thread's earlier runs have left.
        """
        self.sink = sink
        self.run_key = run_key
        self.run_id = run_id
        self.agent = None if agent is None else name_text(agent)
        self.thread = thread
        self.input = input
        self.persona = persona
        self.route = route
        self.history = list(history)
        """The messages of the thread's last checkpoint; empty for the first run of a thread."""
        self.fencing_token = fencing_token
        self.result: Any = None
        """The run's result, reported when it completes."""
        self.ended = False
        self._resume = resume
        self._questions = QuestionKeys()
        self._handed_back = False
        self._steps_taken = _steps_of(resume)
        self._marks = threading.local()
        self._inbox = Inbox(self._acknowledge)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.run_key or self.run_id!r}, agent={self.agent!r})"

    @property
    def url(self) -> str | None:
        """Where the server shows the run; None until its first event is delivered, as is `run_id`."""
        return None if self.run_id is None else f"{self.sink.url}/api/v1/runs/{self.run_id}"

    @property
    def resume(self) -> dict[str, Any] | None:
        """The last checkpoint of an earlier attempt; None without any. Who reads it goes on from there."""
        self._questions.resumed(_steps_of(self._resume))
        return self._resume

    # Reporting

    def tell(self, event_type: str, data: dict[str, Any]) -> None:
        """Reports an event of a canonical type that has no method of its own."""
        self._settle_mark()
        event: dict[str, Any] = {"type": event_type, "data": data}
        if self.agent is not None:
            event["agent"] = self.agent
        self.sink.put(event)

    def step(self, name: object, payload: object = None) -> Step:
        """A step: one event, or as a `with` block a start and an end."""
        self._settle_mark()
        step = Step(self, name, payload)
        # Weakly: a step that nobody holds is reported when it is freed, which is at once.
        self._marks.last = weakref.ref(step)
        return step

    def tool_call(self, tool: object, arguments: object = None) -> ToolCall:
        """A tool call, as a `with` block."""
        return ToolCall(self, tool, arguments)

    def message_delta(self, content: object) -> None:
        """A piece of the agent's text, as it is written."""
        self.tell("message.delta", {"content": content if isinstance(content, str) else str_of(content)})

    def model_call(
        self,
        model: object,
        *,
        usage: object = None,
        input_tokens: object = None,
        cached_input_tokens: object = None,
        cache_write_tokens: object = None,
        output_tokens: object = None,
        reasoning_tokens: object = None,
        cost_usd: object = None,
        duration_ms: object = None,
        **more: object,
    ) -> None:
        """The usage of one model call. Unknown values are None, which is not the same as 0.

        `usage` is what the provider or the framework gives, an object or a mapping: of OpenAI, Anthropic, Gemini,
        Bedrock, Ollama, LiteLLM, pydantic-ai, LangChain, Vercel's AI SDK or Codex; which of its figures are inside
        which others is known, and checked against its total. The single figures override it. They are
        buckets that share no token: `input_tokens` is without what was read from a cache (`cached_input_tokens`) or
        written to one (`cache_write_tokens`), `output_tokens` is without `reasoning_tokens`. The totals of a run that
        readers see are sums of these. What is not a number from 0 on is kept under `towerlog_invalid`.
        """
        fit = Fit()
        fit.take("usage", usage, usage_of)
        buckets = fit.data.pop("usage", {})
        given = (input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens)
        if any(value is not None for value in given):
            # It was the total of other figures.
            buckets.pop(TOTAL, None)
        for name, value in zip(BUCKETS, given, strict=True):
            fit.take(name, value, count)
        fit.take("cost_usd", cost_usd, dollars)
        fit.take("duration_ms", duration_ms, milliseconds)
        named = "unknown" if model is None else name_text(model)
        self.tell("model.call", {**more, "model": named, **buckets, **fit.all()})

    def checkpoint(
        self,
        history: Sequence[Any],
        *,
        step_index: int | None = None,
        history_meta: Sequence[Any] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """The whole state after a step, from which a lost run is resumed. By default steps count from 1.

        Sent whole, or not at all: one over 16 MiB is counted as dropped, and the one before it stays.
        """
        fit = Fit()
        fit.take("step_index", step_index, count)
        self._steps_taken = fit.data.setdefault("step_index", self._steps_taken + 1)
        self._questions.checkpoint(self._steps_taken)
        fit.take("history_meta", history_meta, items)
        if state is not None:
            fit.data["state"] = state
        self.tell("checkpoint", {**fit.all(), "history": history})

    def start(self, **data: object) -> None:
        """Reports that the run begins. `data` as `run.started` has it; None values are left out."""
        self.tell("run.started", {name: value for name, value in data.items() if value is not None})

    def complete(self, result: object = None) -> None:
        """Reports that the run has completed, with a result. Only the first end counts."""
        value = self.result if result is None else result
        self._end("run.completed", {} if value is None else {"result": value})

    def fail(self, error: object) -> None:
        """Reports that the run has failed; an exception is described in one line."""
        text = describe(error) if isinstance(error, BaseException) else one_line(error)
        self._end("run.failed", {"error": text or "failed"})

    def give_up(self, reason: object = None) -> None:
        """Reports that the run ends because it was cancelled."""
        self._end("run.cancelled", {} if reason is None else {"reason": one_line(reason)})

    def end_with(self, error: BaseException) -> None:
        """Reports the end of the run by an exception: cancelled, completed by `sys.exit(0)`, or else failed."""
        if isinstance(error, CANCELLATIONS):
            # The exception only carried the cancel to this place: the reason is that of the person who requested it.
            self.give_up(self._inbox.reason if self._inbox.cancelled else describe(error))
        elif isinstance(error, SystemExit) and not error.code:
            self.complete()
        else:
            self.fail(error)

    def beat(self) -> None:
        """Reports a heartbeat, so that a run without events is not taken for lost."""
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
        """Reports the last step of this thread as one event, unless it has become a block."""
        last = getattr(self._marks, "last", None)
        if last is not None:
            self._marks.last = None
            step = last()
            if step is not None:
                step.settle()

    # Commands

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled. Can be read from any thread; a cancel that is read is acknowledged."""
        return self._inbox.notices_cancel()

    @property
    def pausing(self) -> bool:
        """Whether the run is to pause at its next `pause_point`."""
        return self._inbox.pausing

    def check(self) -> None:
        """Raises RunCancelled if the run was cancelled. For sync code, between two pieces of work."""
        self._inbox.check()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Calls back once when a cancel comes, from any thread; at once if it has come already."""
        self._inbox.on_cancel(callback)

    def deliver(self, command: Mapping[str, Any]) -> None:
        """Takes a command: `{"command_id", "type", "content"?, "question_key"?}`. From any thread; repetitions are
        ignored.

        A cancel is acknowledged when the program learns of it: by `check`, `cancelled`, `on_cancel`, or where it waits.
        An input is when its question's `ask` takes it, a message when `messages` gives it, a pause at the next
        `pause_point`.
        """
        self._inbox.take(command)

    def messages(self) -> list[Any]:
        """What people have written to the run, without having been asked, since the last call. Never waits."""
        return self._inbox.messages()

    def hand_back(self) -> None:
        """Called before the run is given to another worker: its open questions are that one's to ask again."""
        self._handed_back = True

    def after_fork(self) -> None:
        """In the child of a fork: makes a new lock; a thread that holds the old one exists only in the parent."""
        self._inbox.after_fork()
        self._questions.after_fork()

    def _acknowledge(self, command: Mapping[str, Any]) -> None:
        if self.ended:
            # The end was the answer to all commands.
            return
        self.tell("command.acknowledged", {"command_id": command.get("command_id"), "type": command.get("type")})

    def _ask(self, question: object) -> tuple[str, Future[Any]]:
        """Tells a question; its key, and its answer to come."""
        self._inbox.check()
        text = question if isinstance(question, str) else str_of(question)
        key = self._questions.key_of(text)
        self.tell("run.waiting_for_input", {"question": text, "question_key": key})
        return key, self._inbox.answer(key)

    def _give_up(self, key: str, reason: str) -> bool:
        """Withdraws a question, so that nobody answers it; False when its answer has come all the same."""
        if not self._inbox.withdraw(key):
            return False
        if not (self.ended or self._inbox.cancelled or self._handed_back):
            self.tell("run.question_withdrawn", {"question_key": key, "reason": reason})
        return True


class Run(BaseRun):
    """A run of sync code: waiting blocks its thread."""

    def ask(self, question: object, timeout: float | None = None) -> Any:
        """Asks, and waits for the answer to this question. Raises RunCancelled on a cancel, and TimeoutError after
        `timeout` seconds: the question is withdrawn then."""
        key, answer = self._ask(question)
        try:
            return self._wait(answer, timeout)
        except TimeoutError:
            if self._give_up(key, "no answer in time"):
                raise
            return answer.result()
        except BaseException:
            self._give_up(key, "its agent stopped waiting")
            raise

    def pause_point(self, timeout: float | None = None) -> None:
        """A place where the run can be paused; returns at once if no pause was requested. Raises as `ask` does."""
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
            raise TimeoutError("no answer in time") from None
        finally:
            self._inbox.forget(future)
            self.sink.expect(self, False)


class AsyncRun(BaseRun):
    """A run of async code: waiting is awaited."""

    async def ask(self, question: object, timeout: float | None = None) -> Any:  # noqa: ASYNC109 as Run has it
        """Asks, and waits for the answer to this question. Raises RunCancelled on a cancel, and TimeoutError after
        `timeout` seconds: the question is withdrawn then."""
        key, answer = self._ask(question)
        try:
            return await self._wait(answer, timeout)
        except TimeoutError:
            if self._give_up(key, "no answer in time"):
                raise
            return await asyncio.wrap_future(answer)
        except BaseException:
            self._give_up(key, "its agent stopped waiting")
            raise

    async def pause_point(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 as Run has it
        """A place where the run can be paused; returns at once if no pause was requested. Raises as `ask` does."""
        self._inbox.check()
        if resumed := self._inbox.pause():
            self.tell("run.paused", {})
            await self._wait(resumed, timeout)
            self.tell("run.resumed", {})

    async def _wait(self, future: Future[Any], timeout: float | None) -> Any:  # noqa: ASYNC109 as Run has it
        self.sink.expect(self, True)
        # Not `wait_for`: a time-out must not cancel an answer that is being handed over just now.
        waiter = asyncio.wrap_future(future)
        waiter.add_done_callback(_noticed)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=timeout)
            if not done:
                raise TimeoutError("no answer in time")
            return waiter.result()
        finally:
            self._inbox.forget(future)
            self.sink.expect(self, False)


def _noticed(waiter: asyncio.Future[Any]) -> None:
    """Reads an exception that comes when nobody waits any more, which asyncio would complain about otherwise."""
    if not waiter.cancelled():
        waiter.exception()


def str_of(value: object) -> str:
    """`str(value)`, or its one-line description if that fails."""
    try:
        return str(value)
    except Exception:
        return one_line(value)


def _steps_of(resume: Mapping[str, Any] | None) -> int:
    """The step index of the checkpoint that a run resumes from."""
    taken = resume.get("step_index") if isinstance(resume, dict) else None
    return taken if isinstance(taken, int) else 0
