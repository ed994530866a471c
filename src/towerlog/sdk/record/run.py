"""A run inside its own program: the events it reports, the commands it receives, and which run is the current one.

Events go into a `Sink`, of a recorder or of a worker's lane; commands come in through `deliver`, from any thread.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from towerlog.provider_usage.figures import count, dollars
from towerlog.provider_usage.forms import BUCKETS, TOTAL, calls_beside, usage_of
from towerlog.sdk.record.backlog.sink import Sink
from towerlog.sdk.record.commands import Inbox
from towerlog.sdk.record.spans.model_calls import ModelCall
from towerlog.sdk.record.spans.open_calls import OpenCalls
from towerlog.sdk.record.spans.reservations import RunReservation, take_reservation
from towerlog.sdk.record.spans.span import CANCELLATIONS, Span, parent_in, place_of
from towerlog.sdk.record.spans.steps import Step
from towerlog.sdk.record.spans.tool_calls import ToolCall
from towerlog.sdk.record.values.capture import captures_content, without_content
from towerlog.sdk.record.values.encoding import describe, name_text, one_line, str_of
from towerlog.sdk.record.values.figures import Fit, items, milliseconds
from towerlog.sdk.record.values.question_keys import QuestionKeys, key_at, step_of

SETTLE_S = 5.0
"""How long an `ask` whose time is over waits for the server to say whether an answer was first."""


class BaseRun:
    """What both kinds of run have in common: reporting. `Run` and `AsyncRun` differ in how they wait (`waiting.py`)."""

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
        self.result: Any = None  # reported when it completes
        self.spent: dict[str, Any] = {}  # what its end says of the cost of all of it: `cost_usd`, `model`
        self.ended = False
        self.captures_content = captures_content()  # whether what was said is reported, or only that something was
        self.calls = OpenCalls()
        self._resume = resume
        self._questions = QuestionKeys()
        self._handed_back = False
        self._steps_taken = step_of(resume)
        # Thread → the last step that it has told, as long as somebody holds that. A thread's own variables are slower.
        self._marks: weakref.WeakValueDictionary[int, Step] = weakref.WeakValueDictionary()
        self._inbox = Inbox(self._acknowledge)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.run_key or self.run_id!r}, agent={self.agent!r})"

    @property
    def url(self) -> str | None:
        """The run's page on the dashboard; None until its first event is delivered, as is `run_id`."""
        return None if self.run_id is None else f"{self.sink.url}/runs/{self.run_id}"

    @property
    def resume(self) -> dict[str, Any] | None:
        """The last checkpoint of an earlier attempt; None without any. Who reads it goes on from there."""
        if self._resume is not None:
            self._questions.resumed(self._resume)
        return self._resume

    # Reporting

    def tell(self, event_type: str, data: dict[str, Any], *, agent: object = None) -> None:
        """Reports an event of a canonical type that has no method of its own. `agent`: if it is not the run's."""
        self._settle_mark()
        self._put(event_type, data, agent)

    def _put(self, event_type: str, data: dict[str, Any], agent: object = None) -> None:
        told = data if self.captures_content else without_content(event_type, data)
        if told is None:
            return
        event: dict[str, Any] = {"type": event_type, "data": told}
        name = self.agent if agent is None else name_text(agent)
        if name is not None:
            event["agent"] = name
        self.sink.put(event)

    def step(
        self,
        name: object,
        payload: object = None,
        *,
        span_id: str | None = None,
        parent: Span | str | None = None,
        agent: object = None,
    ) -> Step:
        """A step: one event, or as a `with` block a start and an end.

        Here as elsewhere: `span_id` by default a fresh one, `parent` (a span or its id) by default the innermost open
        span around it (empty: none), `agent` by default the run's.
        """
        self._settle_mark()
        step = Step(self, name, payload, span_id, parent, agent)
        # Weakly: a step that nobody holds is reported when it is freed, which is at once.
        self._marks[threading.get_ident()] = step
        return step

    def tool_call(
        self,
        tool: object,
        arguments: object = None,
        *,
        tool_call_id: str | None = None,
        span_id: str | None = None,
        parent: Span | str | None = None,
        agent: object = None,
    ) -> ToolCall:
        """A tool call, as a `with` block. `tool_call_id`: the model's own, by default the span's."""
        return ToolCall(self, tool, arguments, tool_call_id, span_id, parent, agent)

    def message_delta(
        self, content: object, *, span: Span | str | None = None, channel: str = "text", agent: object = None
    ) -> None:
        """A piece of the agent's text, as it is written; on the channel `thinking`, of its thoughts.

        `span`: the model call that it comes from.
        """
        data: dict[str, Any] = {"content": content if isinstance(content, str) else str_of(content)}
        if channel != "text":
            data["channel"] = channel
        data |= place_of(span, None if span is not None else parent_in(self))
        self.tell("message.delta", data, agent=agent)

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
        time_to_first_token_ms: object = None,
        span: Span | str | None = None,
        parent: Span | str | None = None,
        agent: object = None,
        **more: object,
    ) -> None:
        """The usage of one model call. Unknown values are None, which is not the same as 0.

        `usage` is what the provider or the framework gives, an object or a mapping: of OpenAI, Anthropic, Gemini,
        Bedrock, Ollama, LiteLLM, pydantic-ai, LangChain, Vercel's AI SDK or Codex; which of its figures are inside
        which others is known, and checked against its total. The single figures override it. They are
        buckets that share no token: `input_tokens` is without what was read from a cache (`cached_input_tokens`) or
        written to one (`cache_write_tokens`), `output_tokens` is without `reasoning_tokens`. The totals of a run that
        readers see are sums of these. `usage` may also tell the cost, and what the price goes by beside the buckets.
        What is not a number from 0 on is kept under `towerlog_invalid`.

        Further members are sent as they are: `messages` and `response` (content), `provider`, `finish_reason`,
        `response_id`, `status` (of one that did not succeed).
        """
        fit = Fit()
        fit.take("usage", usage, usage_of)
        buckets = fit.data.pop("usage", {})
        given = (input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens)
        for name, value in zip(BUCKETS, given, strict=True):
            if value is not None:
                # What stands beside it was the total of other figures.
                buckets.pop(TOTAL, None)
                fit.take(name, value, count)
        fit.take("cost_usd", cost_usd, dollars)
        fit.take("duration_ms", duration_ms, milliseconds)
        fit.take("time_to_first_token_ms", time_to_first_token_ms, milliseconds)
        named = "unknown" if model is None else name_text(model)
        said = {name: value for name, value in more.items() if value is not None} if more else more
        place = place_of(span, parent_in(self) if parent is None else parent)
        data = {**take_reservation(self), **said, "model": named, **buckets, **fit.all(), **place}
        self.tell("model.call", data, agent=agent)
        for other, spent in calls_beside(usage):  # a cost that was told is of all of them
            self.model_call(other or model, usage=spent, cost_usd=cost_usd and 0, parent=parent, agent=agent)

    def start_model_call(
        self,
        model: object,
        *,
        span_id: str | None = None,
        parent: Span | str | None = None,
        agent: object = None,
        **more: object,
    ) -> ModelCall:
        """A model call that begins now, as a `with` block or until its `finish`. `more`: as `model_call` has it."""
        return ModelCall(self, model, more, span_id, parent, agent).begin()

    def reserve(self, usd: float, ttl_seconds: int | None = None) -> RunReservation:
        """Money to spend in a `with` or `async with` block, held in all budgets that count what the run spends.

        The next `model_call` of the block settles it. Entering it raises BudgetExceeded where a budget has less than
        that left, Unreachable or ApiError where the server does not say.
        """
        return RunReservation(self, usd, ttl_seconds)

    def checkpoint(
        self,
        history: Sequence[Any],
        *,
        step_index: int | None = None,
        history_meta: Sequence[Any] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """The whole state after a step, from which a lost run is resumed. By default steps count from 1, or from
        the step that the run was resumed from; the state that it was resumed from is not sent again.

        Sent whole, or not at all: one over 16 MiB is counted as dropped, and the one before it stays.
        """
        fit = Fit()
        fit.take("step_index", step_index, count)
        if "step_index" not in fit.data and self._questions.goes_on_from(history, state):
            return
        self._questions.checkpoint(fit.data.get("step_index"))
        self._steps_taken = fit.data.setdefault("step_index", self._steps_taken + 1)
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

    def finish(self, result: object = None, error: object = None) -> None:
        """The end of a run without a block: completed with a result, or by an error (an exception or a text)."""
        if isinstance(error, BaseException):
            self.end_with(error)
        elif error is not None:
            self.fail(error)
        else:
            self.complete(result)

    def beat(self) -> None:
        """Reports a heartbeat, so that a run without events is not taken for lost."""
        self._put("other", {"name": "heartbeat"})

    def _end(self, event_type: str, data: dict[str, Any]) -> None:
        if not self.ended:
            self._settle_mark()
            self.ended = True
            self.calls.interrupt("the run has ended")
            self.tell(event_type, data | self.spent)
            self._inbox.close()

    def _settle_mark(self) -> None:
        """Reports the last step of this thread as one event, unless it has become a block."""
        step = self._marks.pop(threading.get_ident(), None) if self._marks else None
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

    def deliver(self, command: Mapping[str, Any]) -> bool:
        """Takes a command: `{"command_id", "type", "content"?, "question_key"?}`. From any thread; repetitions are
        ignored. Whether it was new.

        A cancel is acknowledged when the program learns of it: by `check`, `cancelled`, `on_cancel`, or where it waits.
        An input is when its question's `ask` takes it, a message when `messages` gives it, a pause at the next
        `pause_point`.
        """
        return not self.ended and self._inbox.take(command)

    def messages(self) -> list[Any]:
        """What people have written to the run, without having been asked, since the last call. Never waits. Raises
        RunCancelled where a cancel is all that has come."""
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
        said = {name: command.get(name) for name in ("command_id", "type")}
        self.tell("command.acknowledged", said | ({"taken": False} if command.get("taken") is False else {}))

    def ask_later(
        self, question: object, terms: Mapping[str, Any], place: tuple[str, int] | None = None, *, holds: bool = False
    ) -> tuple[str, Future[Any]]:
        """Tells a question with what is said beside it; its key, and its answer to come. `place`: by default, that
        which the run has come to (`key_at`). `holds`: the answer is acknowledged by `take_answer` alone."""
        self._inbox.check_open()
        text = question if isinstance(question, str) else str_of(question)
        key = self._questions.key_of(text) if place is None else key_at(place[0], text, place[1])
        answer = self._inbox.answer(key, holds=holds)
        if not answer.done():
            self.tell("run.waiting_for_input", {"question": text, "question_key": key, **terms})
        return key, answer

    def _withdraw(self, key: str, reason: str) -> float:
        """Withdraws a question that is still waited for; for how many seconds to wait for the server's word on it."""
        if not self._inbox.waits_for(key) or self.ended or self._inbox.cancelled or self._handed_back:
            return 0.0
        self.tell("run.question_withdrawn", {"question_key": key, "reason": reason})
        return SETTLE_S

    def leave_questions(self, question_ids: Sequence[int], reason: str) -> None:
        """Withdraws open questions that only an attempt before has asked; answers to such are told as not taken."""
        self._inbox.settle_left(taken=False)
        for question_id in question_ids:
            self.tell("run.question_withdrawn", {"question_id": question_id, "reason": reason})

    def give_up_question(self, key: str, reason: str = "its agent stopped waiting") -> None:
        """Withdraws a question. A held answer is told as not taken, unless the run goes to another worker."""
        if not self._handed_back:
            self._inbox.settle_answer(key, taken=False)
        self._withdraw(key, reason)
        self._inbox.give_up(key)

    @property
    def inbox(self) -> Inbox:
        """What people want of it, and have answered."""
        return self._inbox

    def take_left_answers(self) -> None:
        """Acknowledges answers to what only an attempt before has asked: its work has them, and went on."""
        self._inbox.settle_left(taken=True)
