"""Frames of a run's stream as AG-UI, the Agent-User Interaction Protocol, has them: each frame is an event of AG-UI.

An event of the log is translated by itself, without those around it: a text is sent in chunks, whose beginning and end
their reader works out, and what has two ends (a tool call, a step) is opened and closed at once. So no order in which
senders report makes a stream that AG-UI does not allow. What AG-UI has no word for is passed on in the form that the
stream of `runs` has: `CUSTOM` where it concerns people, `RAW` where it is telemetry, which interrupts no text.

One thing depends on what came before: the response of a model call is a message unless its text has come in pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import FrameStyle, ascii_json
from towerlog.dialects.run_json import STATUS_WORDS
from towerlog.dialects.runs.frames import event_json
from towerlog.dialects.runs.model_answers import THINKING, ToldAnswers, answer_of, word
from towerlog.dialects.views import event_members as members
from towerlog.model.event import DamagedEvent, Event, EventType
from towerlog.model.run import PARENT_RUN, RunRow, Status
from towerlog.model.run_agents import is_of_several_models, models_in

PROTOCOL_VERSION = "1.0"

AguiType = Literal[
    "RUN_FINISHED",
    "RUN_ERROR",
    "TEXT_MESSAGE_START",
    "TEXT_MESSAGE_CONTENT",
    "TEXT_MESSAGE_END",
    "TEXT_MESSAGE_CHUNK",
    "REASONING_MESSAGE_CHUNK",
    "TOOL_CALL_START",
    "TOOL_CALL_ARGS",
    "TOOL_CALL_END",
    "TOOL_CALL_RESULT",
    "STEP_STARTED",
    "STEP_FINISHED",
    "CUSTOM",
    "RAW",
]


class AguiUsage(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a run has used: totals of input and output, and parts of them. What is unknown is left out."""

    model: v.ModelName | UnsetType = UNSET
    input_tokens: v.InputTokens | UnsetType = UNSET
    output_tokens: v.OutputTokens | UnsetType = UNSET
    total_tokens: Annotated[int, v.said("Input and output together.", 852)] | UnsetType = UNSET
    reasoning_tokens: Annotated[int, v.said("The part of the output that is reasoning.", 8)] | UnsetType = UNSET
    cached_input_tokens: Annotated[int, v.said("The part of the input that came from a cache.", 512)] | UnsetType = (
        UNSET
    )
    cache_write_input_tokens: (
        Annotated[int, v.said("The part of the input that was written to a cache.", 64)] | UnsetType
    ) = UNSET


class AguiOutcome(msgspec.Struct, frozen=True):
    """How a run ended that has neither completed nor failed."""

    type: Annotated[Literal["cancelled"], v.said("It was stopped.", "cancelled")] = "cancelled"


class AguiStart(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The `data` of the first frame of every stream."""

    type: Annotated[Literal["RUN_STARTED"], v.said("The run begins.", "RUN_STARTED")] = "RUN_STARTED"
    timestamp: Annotated[int, v.said("When it began, in milliseconds since 1970.", 1775124000123)]
    thread_id: v.ThreadId
    run_id: v.RunId
    protocol_version: Annotated[str, v.said("The version of AG-UI.", PROTOCOL_VERSION)] = PROTOCOL_VERSION
    parent_run_id: Annotated[str, v.run_id("The run that started this one.")] | UnsetType = UNSET


class AguiEvent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The `data` of any further frame: an event of AG-UI. Which members it has says its type."""

    type: Annotated[AguiType, v.said("What kind of event it is.", "TEXT_MESSAGE_CHUNK")]
    timestamp: Annotated[int, v.said("When it happened, in milliseconds since 1970.", 1775124000123)]
    thread_id: v.ThreadId | UnsetType = UNSET
    run_id: v.RunId | UnsetType = UNSET
    message_id: Annotated[str, v.said("The message that the text belongs to.", f"{v.UUID}:5")] | UnsetType = UNSET
    role: Annotated[str, v.said("Who wrote the message.", "assistant")] | UnsetType = UNSET
    delta: Annotated[str, v.said("A piece of text, or the arguments of a tool call.", "looking … ")] | UnsetType = UNSET
    tool_call_id: Annotated[str, v.said("The tool call.", "call_7")] | UnsetType = UNSET
    tool_call_name: Annotated[str, v.said("The tool that was called.", "search")] | UnsetType = UNSET
    content: Annotated[str, v.said("What the tool has put out.", "three towers")] | UnsetType = UNSET
    step_name: Annotated[str, v.said("What the step is called.", "plan")] | UnsetType = UNSET
    name: Annotated[str, v.said("Of `CUSTOM`: the type of the event.", "run.waiting_for_input")] | UnsetType = UNSET
    value: Annotated[Raw, v.said("Of `CUSTOM`: the event, as the stream of `runs` has it.", {"seq": 4})] | (
        UnsetType
    ) = UNSET
    source: Annotated[str, v.said("Of `RAW`: whose event it is.", "towerlog")] | UnsetType = UNSET
    event: Annotated[Raw, v.said("Of `RAW`: the event, as the stream of `runs` has it.", {"seq": 5})] | UnsetType = (
        UNSET
    )
    result: Annotated[Raw, v.said("What the run has produced.", {"answer": 42})] | UnsetType = UNSET
    outcome: Annotated[
        AguiOutcome, v.said("How a run ended that neither completed nor failed.", {"type": "cancelled"})
    ] | (UnsetType) = UNSET
    message: Annotated[str, v.said("Why the run failed.", "the search engine does not answer")] | UnsetType = UNSET
    code: Annotated[str, v.said("The run's status.", "failed")] | UnsetType = UNSET
    usage: Annotated[list[AguiUsage], v.said("What the run has used, in one entry.")] | UnsetType = UNSET


class _Given(msgspec.Struct, gc=False):
    """What a run was started with, and what it asks."""

    input: Raw = Raw(b"")
    question: Raw = Raw(b"")


class _Message(msgspec.Struct, gc=False):
    """Which message a piece of text belongs to."""

    message_id: Raw = Raw(b"")
    span_id: Raw = Raw(b"")
    channel: Raw = Raw(b"")


_read_given = msgspec.json.Decoder(_Given).decode
_read_message = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode
_MADE_HERE = re.compile(r"call-\d+")
"""An id that the server has given to a tool call: it is unique in its run alone."""
_SILENT = (b"", b"null", b'""')

Said = Iterator[AguiEvent]
Translate = Callable[[Event, RunRow], Said]


def frame(event: Event, _epoch: str, row: RunRow | None = None) -> bytes | None:
    """The events of AG-UI that stand for one of the log; None for the end of the run, which follows the last of all."""
    assert row is not None
    if event.seq == row.ended_seq:
        return None
    said = _SAID.get(event.type, _passed_on)
    return b"".join(map(_framed, said(event, row)))


class AguiFraming:
    """Frames of one run, with what was said before."""

    def __init__(self) -> None:
        """Of a run of which nothing was seen."""
        self._told = ToldAnswers()

    def is_next(self, event: Event) -> bool:
        """Whether all that came before was framed."""
        return event.seq <= self._told.seen + 1

    def frame(self, event: Event, epoch: str, row: RunRow | None) -> bytes | None:
        """As `frame`; a model call whose text has come in pieces is telemetry alone."""
        assert row is not None
        if self._told.take(event):
            return b"".join(map(_framed, _passed_on(event, row)))
        return frame(event, epoch, row)


def _framed(said: AguiEvent | AguiStart) -> bytes:
    return b"data: %s\n\n" % ascii_json(_encode(said))


def _delta(event: Event, row: RunRow) -> Said:
    text = members.text_of(event.data)
    if text is None:
        yield from _passed_on(event, row)
    elif text:
        sent = _read_message(event.data)
        is_thought = word(sent.channel) in THINKING
        # Pieces that nobody has given to a message are those of one message of their agent.
        message = word(sent.message_id) or word(sent.span_id) or f"agent-{event.agent}"
        yield AguiEvent(
            type="REASONING_MESSAGE_CHUNK" if is_thought else "TEXT_MESSAGE_CHUNK",
            timestamp=event.happened_at(),
            message_id=f"{row.run_id}:{'thoughts-' * is_thought}{message}",
            delta=text,
        )


def _model_call(event: Event, row: RunRow) -> Said:
    text = answer_of(event.data)
    if text:
        yield from _message(event, row, "assistant", text)
    yield from _passed_on(event, row)


def _tool_call(event: Event, row: RunRow) -> Said:
    at, call_id = event.happened_at(), _call_id(event, row)
    name, arguments = event.facts.tool or "tool", members.arguments_of(event.data)
    yield AguiEvent(type="TOOL_CALL_START", timestamp=at, tool_call_id=call_id, tool_call_name=name)
    if arguments not in _SILENT:
        text = members.plain_text(arguments)
        yield AguiEvent(type="TOOL_CALL_ARGS", timestamp=at, tool_call_id=call_id, delta=text)
    yield AguiEvent(type="TOOL_CALL_END", timestamp=at, tool_call_id=call_id)


def _tool_result(event: Event, row: RunRow) -> Said:
    output = members.output(event.data)
    if output is None or bytes(output) in _SILENT:
        text = members.event_members(event).get("error") or ""
    else:
        text = members.plain_text(output)
    yield AguiEvent(
        type="TOOL_CALL_RESULT",
        timestamp=event.happened_at(),
        message_id=f"{row.run_id}:{event.seq}",
        tool_call_id=_call_id(event, row),
        content=text,
        role="tool",
    )


def _call_id(event: Event, row: RunRow) -> str:
    call_id = event.facts.tool_call_id or f"call-{event.seq}"
    return f"{row.run_id}:{call_id}" if _MADE_HERE.fullmatch(call_id) else call_id


def _step(event: Event, row: RunRow) -> Said:
    """A step is told of where it ends: two of one name may be open at once, and some are never closed."""
    if event.facts.begins is not None:
        yield from _passed_on(event, row)
        return
    at, name = event.happened_at(), members.event_members(event).get("name") or event.facts.ends or "step"
    yield AguiEvent(type="STEP_STARTED", timestamp=at, step_name=name)
    yield AguiEvent(type="STEP_FINISHED", timestamp=at, step_name=name)


def _start(event: Event, row: RunRow) -> Said:
    given = _read_given(event.data).input
    if bytes(given) not in _SILENT:
        yield from _message(event, row, "user", members.plain_text(given))
    yield from _custom(event, row)


def _asked(event: Event, row: RunRow) -> Said:
    question = _read_given(event.data).question
    text = members.plain_text(question) if members.is_text(question) else event.facts.question
    if text:
        yield from _message(event, row, "assistant", text)
    yield from _custom(event, row)


def _letter(event: Event, row: RunRow) -> Said:
    """An answer or a message of a person."""
    text = members.letter_of(event.data)
    if text:
        yield from _message(event, row, "user", text)
    yield from _custom(event, row)


def _message(event: Event, row: RunRow, role: str, text: str) -> Said:
    at, message_id = event.happened_at(), f"{row.run_id}:{event.seq}"
    yield AguiEvent(type="TEXT_MESSAGE_START", timestamp=at, message_id=message_id, role=role)
    yield AguiEvent(type="TEXT_MESSAGE_CONTENT", timestamp=at, message_id=message_id, delta=text)
    yield AguiEvent(type="TEXT_MESSAGE_END", timestamp=at, message_id=message_id)


def _custom(event: Event, row: RunRow) -> Said:
    value = Raw(event_json(event, row))
    yield AguiEvent(type="CUSTOM", timestamp=event.happened_at(), name=event.type.value, value=value)


def _passed_on(event: Event, row: RunRow) -> Said:
    yield AguiEvent(type="RAW", timestamp=event.happened_at(), source="towerlog", event=Raw(event_json(event, row)))


_E = EventType
_OF_PEOPLE: Mapping[EventType, Translate] = dict.fromkeys(
    (
        _E.RUN_PAUSE_REQUESTED,
        _E.RUN_PAUSED,
        _E.RUN_RESUME_REQUESTED,
        _E.RUN_RESUMED,
        _E.RUN_QUESTION_WITHDRAWN,
        _E.RUN_CANCEL_REQUESTED,
        _E.RUN_COMPLETED,
        _E.RUN_FAILED,
        _E.RUN_CANCELLED,
        _E.RUN_SILENT,
        _E.RUN_LOST,
        _E.APPROVAL_EXPIRED,
        _E.BUDGET_WARNING,
        _E.BUDGET_EXCEEDED,
    ),
    _custom,
)
_SAID: Mapping[EventType, Translate] = {
    **_OF_PEOPLE,
    _E.MESSAGE_DELTA: _delta,
    _E.MODEL_CALL: _model_call,
    _E.TOOL_CALL: _tool_call,
    _E.TOOL_RESULT: _tool_result,
    _E.STEP: _step,
    _E.RUN_QUEUED: _start,
    _E.RUN_STARTED: _start,
    _E.RUN_WAITING: _asked,
    _E.RUN_INPUT: _letter,
    _E.RUN_MESSAGE: _letter,
}
"""Of every other type: telemetry, which is passed on."""


# What stands before and after the events, and in the place of those that are gone


def begin_frame(row: RunRow) -> bytes:
    """Every stream begins with it."""
    key = row.parent_key or ""
    return _framed(
        AguiStart(
            timestamp=row.began_at(),
            thread_id=row.thread_id,
            run_id=row.run_id,
            parent_run_id=key.removeprefix(PARENT_RUN) if key.startswith(PARENT_RUN) else UNSET,
        )
    )


def end_frame(row: RunRow, end: Event | None) -> bytes:
    """A run that failed, or was lost, ends with `RUN_ERROR`; any other with `RUN_FINISHED`."""
    usage = _usage(row)
    at = (row.ended_at or 0) if end is None else end.happened_at()
    if row.status not in (Status.COMPLETED, Status.CANCELLED):
        word = STATUS_WORDS[row.status]
        reason = row.error or f"The run has ended: {word}."
        return _framed(AguiEvent(type="RUN_ERROR", timestamp=at, message=reason, code=word, usage=usage))
    result = None if end is None else members.result_of(end, row.source)
    return _framed(
        AguiEvent(
            type="RUN_FINISHED",
            timestamp=at,
            thread_id=row.thread_id,
            run_id=row.run_id,
            result=UNSET if result is None else Raw(result),
            outcome=AguiOutcome() if row.status is Status.CANCELLED else UNSET,
            usage=usage,
        )
    )


def _usage(row: RunRow) -> list[AguiUsage] | UnsetType:
    used = row.usage
    models = models_in(row)
    is_one = row.retired is None and not is_of_several_models(row)
    told = {
        "input_tokens": used.all_input_tokens(),
        "output_tokens": used.all_output_tokens(),
        "total_tokens": used.split_tokens(),
        "reasoning_tokens": used.reasoning_tokens,
        "cached_input_tokens": used.cached_input_tokens,
        "cache_write_input_tokens": used.cache_write_tokens,
    }
    known = {name: count for name, count in told.items() if count is not None}
    if not known:
        return UNSET
    return [AguiUsage(model=row.model if row.model and is_one and models <= {row.model} else UNSET, **known)]


def gap_frame(requested: int, oldest: int) -> bytes:
    """Tells a reader that events of the run are gone."""
    return _gap(b'{"requested":%d,"oldest_seq":%d,"missing":%d}' % (requested, oldest, oldest - requested - 1))


def damaged_frame(found: DamagedEvent, _run_id: str | None) -> bytes:
    """Tells a reader of the run that events are damaged in the store and are left out."""
    return _gap(b'{"first_seq":%d,"seq":%d,"reason":"damaged in the store"}' % (found.first_seq, found.seq))


def _gap(value: bytes) -> bytes:
    # When it happened nobody knows any more, and every event has a time.
    return _framed(AguiEvent(type="CUSTOM", timestamp=0, name="towerlog.gap", value=Raw(value)))


AGUI = FrameStyle(
    name="agui",
    frame=frame,
    framing=AguiFraming,
    prologue=b": ping\n",
    begin=begin_frame,
    end=end_frame,
    with_row=True,
    with_end=True,
    gap=gap_frame,
    damaged=damaged_frame,
)
