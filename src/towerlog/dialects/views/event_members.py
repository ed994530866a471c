"""Members of events that readers find under one name, whichever dialect an event came in through.

An event keeps the data that its sender gave it, under the sender's names. What most readers look for stands beside the
data as well, under the names of this module. Streams and lists of events show it; nothing of it is stored.

It is worked out for every event that is shown, so the data is read once, and what is long is not copied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeGuard

import msgspec
from msgspec import UNSET, UnsetType

from towerlog.dialects import vocabulary as v
from towerlog.dialects.fields import decode_any
from towerlog.dialects.run_events import failure_text
from towerlog.dialects.views.said import SAVES_STATE
from towerlog.model.event import Event, EventType
from towerlog.model.usage import Usage, dollars_json

MAX_REPEATED_BYTES = 128 * 1024
"""A longer value stands in its event's data alone. Of a page no more is repeated than its events have as data."""

_NONE = msgspec.Raw(b"")


class EventMembers(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """What an event says, under names that all dialects share; what it does not say is left out.

    `arguments`, `result` and `content` may be long: they are left out as well where `data` has them under that name.
    So is every value that is longer than `MAX_REPEATED_BYTES`.
    """

    name: Annotated[str, v.said("What a step is called; of another event, its sender's own type.", "plan")] | (
        UnsetType | None
    ) = UNSET
    tool: Annotated[str, v.said("The tool that was called.", "search")] | UnsetType = UNSET
    arguments: Annotated[msgspec.Raw, v.said("What a tool was called with.", {"query": "towers"})] | UnsetType = UNSET
    success: Annotated[bool, v.said("Whether a tool or a model did what was asked.", True)] | UnsetType = UNSET
    error: Annotated[str, v.said("Why it failed, in one line.", "the search engine does not answer")] | UnsetType = (
        UNSET
    )
    result: Annotated[msgspec.Raw, v.said("What a tool, a step or the run has produced.", {"answer": 42})] | (
        UnsetType
    ) = UNSET
    text: Annotated[str, v.said("A piece of an answer while it is written, or a line of log.", "looking … ")] | (
        UnsetType
    ) = UNSET
    thinking: Annotated[str, v.said("A piece of the model's reasoning while it is written.", "cold, I think")] | (
        UnsetType
    ) = UNSET
    content: Annotated[str, v.said("The answer to a question, or a message to the agent.", "yes")] | UnsetType = UNSET
    question_id: v.QuestionId | UnsetType = UNSET
    answered_by: Annotated[str, v.said("The name of whoever answered the question.", "admin")] | UnsetType = UNSET
    written_by: Annotated[str, v.said("The name of whoever wrote the message.", "admin")] | UnsetType = UNSET
    model: v.ModelName | UnsetType = UNSET
    step_index: v.StepIndex | UnsetType = UNSET
    status: v.CheckpointStatus | UnsetType = UNSET
    total_input_tokens: v.InputTokens | UnsetType = UNSET
    cached_input_tokens: (
        Annotated[int, v.said("Those of the input tokens that were read from a cache.", 512)] | UnsetType
    ) = UNSET
    total_output_tokens: v.OutputTokens | UnsetType = UNSET
    cost_usd: v.Dollars | UnsetType = UNSET
    cost_source: v.CostSource | UnsetType = UNSET
    price_version: v.PriceVersion | UnsetType = UNSET


# Where senders put things. Of several members the first that says anything counts: the name that readers get, then
# those of the dialects.


class _Call(msgspec.Struct, gc=False):
    arguments: msgspec.Raw = _NONE
    input: msgspec.Raw = _NONE
    args: msgspec.Raw = _NONE
    input_preview: msgspec.Raw = _NONE
    input_summary: msgspec.Raw = _NONE


class _Produced(msgspec.Struct, gc=False):
    result: msgspec.Raw = _NONE
    output: msgspec.Raw = _NONE


class _Output(_Produced, gc=False):
    content: msgspec.Raw = _NONE
    output_preview: msgspec.Raw = _NONE
    output_summary: msgspec.Raw = _NONE
    error: msgspec.Raw = _NONE
    error_message: msgspec.Raw = _NONE


class _Step(_Produced, gc=False):
    name: msgspec.Raw = _NONE
    node_name: msgspec.Raw = _NONE
    step: msgspec.Raw = _NONE
    step_name: msgspec.Raw = _NONE


class _Delta(msgspec.Struct, gc=False):
    content: msgspec.Raw = _NONE
    text: msgspec.Raw = _NONE
    delta: msgspec.Raw = _NONE
    channel: msgspec.Raw = _NONE


class _Line(msgspec.Struct, gc=False):
    log_line: msgspec.Raw = _NONE
    line: msgspec.Raw = _NONE
    text: msgspec.Raw = _NONE
    message: msgspec.Raw = _NONE


class _Letter(msgspec.Struct, gc=False):
    """An answer or a message, and who it is from."""

    content: msgspec.Raw = _NONE
    response: msgspec.Raw = _NONE
    answer: msgspec.Raw = _NONE
    text: msgspec.Raw = _NONE
    by_name: msgspec.Raw = _NONE
    responded_by: msgspec.Raw = _NONE


_THINKING = b'"thinking"'
"""The channel of pieces that are no part of the answer."""
_read_call = msgspec.json.Decoder(_Call).decode
_read_produced = msgspec.json.Decoder(_Produced).decode
_read_output = msgspec.json.Decoder(_Output).decode
_read_step = msgspec.json.Decoder(_Step).decode
_read_delta = msgspec.json.Decoder(_Delta).decode
_read_line = msgspec.json.Decoder(_Line).decode
_read_letter = msgspec.json.Decoder(_Letter).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def event_members(event: Event) -> dict[str, Any]:
    """The members of `EventMembers` that an event has; values are text, numbers, truths or JSON as it was sent."""
    words = _WORDS.get(event.type)
    found: dict[str, Any] = {}
    if words is not None:
        words(event, found)
    if event.facts.name is not None:
        found["name"] = event.facts.name
    return found


def produced(data: bytes) -> msgspec.Raw | None:
    """What the end of a run says that it has produced: null where it says only that, None where it says nothing of it.

    Raises msgspec.MsgspecError for data that is no JSON object.
    """
    sent = _read_produced(data)
    return _first(sent.result, sent.output)


def result_of(end: Event, source: str) -> bytes | None:
    """What a run has produced, as its end says it: JSON text, None for none. `source`: of the run's row.

    The member `result` (else `output`) of a completed run's end, and the whole of an end that has neither; not of one
    that says only, by a member `towerlog_…`, what could not be sent, nor of a runner's.
    """
    if end.type is not EventType.RUN_COMPLETED:
        return None
    told = produced(end.data)
    if told is None:
        return (
            None
            if source == SAVES_STATE or all(name.startswith("towerlog_") for name in _members(end.data))
            else end.data
        )
    return bytes(told) if _says(told) else None


def text_of(data: bytes) -> str | None:
    """The text of a piece of an answer, however long; None where its sender has sent none."""
    text = _piece(_read_delta(data))
    return plain_text(text) if is_text(text) else None


def letter_of(data: bytes) -> str | None:
    """What a person has answered or written, however long; JSON text where it was no text, None where there is none."""
    said = _content(_read_letter(data))
    return plain_text(said) if _says(said) else None


def plain_text(raw: msgspec.Raw | bytes) -> str:
    """The text that a JSON string means, and of any other value its JSON text."""
    text = bytes(raw)
    value = decode_any(text) if text[:1] == b'"' else None
    return value if isinstance(value, str) else text.decode()


def arguments_of(data: bytes) -> bytes:
    """What a tool was called with, as it was sent; empty where its call does not say."""
    sent = _read_call(data)
    found = _first(sent.arguments, sent.input, sent.args, sent.input_preview, sent.input_summary)
    return b"" if found is None or not _says(found) else bytes(found)


def output(data: bytes) -> msgspec.Raw | None:
    """What a tool's result says that the tool has put out; null, None and errors as for `produced`."""
    return _output(_read_output(data))


def _output(sent: _Output) -> msgspec.Raw | None:
    return _first(sent.result, sent.output, sent.content, sent.output_preview, sent.output_summary)


# Each of these adds what an event of a type says.


def _tool_call(event: Event, found: dict[str, Any]) -> None:
    if event.facts.tool is not None:
        found["tool"] = event.facts.tool
    sent = _read_call(event.data)
    if not _says(sent.arguments):
        _add_json(found, "arguments", _first(sent.input, sent.args, sent.input_preview, sent.input_summary))


def _tool_result(event: Event, found: dict[str, Any]) -> None:
    facts, sent = event.facts, _read_output(event.data)
    if facts.tool is not None:
        found["tool"] = facts.tool
    if facts.success is not None:
        found["success"] = facts.success
    failure = _first(sent.error, sent.error_message)
    if _says(failure) and (reason := failure_text(failure, None)) is not None:
        found["error"] = reason
    if not _says(sent.result):
        _add_json(found, "result", _output(sent))


def _step(event: Event, found: dict[str, Any]) -> None:
    sent = _read_step(event.data)
    _add_text(found, "name", _first(sent.name, sent.node_name, sent.step, sent.step_name))
    if not _says(sent.result):
        _add_json(found, "result", sent.output)


def _delta(event: Event, found: dict[str, Any]) -> None:
    sent = _read_delta(event.data)
    text = _piece(sent)
    if is_text(text):
        _add_text(found, "thinking" if bytes(sent.channel) == _THINKING else "text", text)


def _piece(sent: _Delta) -> msgspec.Raw | None:
    return _first(sent.content, sent.text, sent.delta)


def _line(event: Event, found: dict[str, Any]) -> None:
    sent = _read_line(event.data)
    _add_text(found, "text", _first(sent.log_line, sent.line, sent.text, sent.message))


def _asked(event: Event, found: dict[str, Any]) -> None:
    known = event.effects.question_id
    found["question_id"] = event.seq if known is None else known


def _answer(event: Event, found: dict[str, Any]) -> None:
    _letter(event, found, "answered_by")
    _withdrawn(event, found)


def _withdrawn(event: Event, found: dict[str, Any]) -> None:
    if event.effects.question_id is not None:
        found["question_id"] = event.effects.question_id


def _message(event: Event, found: dict[str, Any]) -> None:
    _letter(event, found, "written_by")


def _letter(event: Event, found: dict[str, Any], by: str) -> None:
    sent = _read_letter(event.data)
    content = _content(sent)
    # Text that data has under this name is not repeated; what is no text there is text here.
    if content is not sent.content or not is_text(content):
        _add_text(found, "content", content)
    _add_text(found, by, _first(sent.by_name, sent.responded_by))


def _content(sent: _Letter) -> msgspec.Raw | None:
    return _first(sent.content, sent.response, sent.answer, sent.text)


def _completed(event: Event, found: dict[str, Any]) -> None:
    sent = _read_produced(event.data)
    if not _says(sent.result):
        _add_json(found, "result", sent.output)


def _failed(event: Event, found: dict[str, Any]) -> None:
    if event.facts.error is not None:
        found["error"] = event.facts.error


def _model_call(event: Event, found: dict[str, Any]) -> None:
    report = event.effects.report
    told = {"model": event.effects.model, "success": event.facts.success}
    found.update(_known(told), **_figures(None if report is None else report.usage))
    found.update(_cost(event))


def _checkpoint(event: Event, found: dict[str, Any]) -> None:
    facts = event.effects.checkpoint
    if facts is not None:
        found["status"] = facts.status
        if facts.step_index >= 0:
            found["step_index"] = facts.step_index
    found.update(_known({"model": event.effects.model}), **_figures(event.facts.spent))
    found.update(_cost(event))


def _figures(usage: Usage | None) -> dict[str, Any]:
    """What was used, in totals of input and output: buckets are in the data of whoever tells them."""
    if usage is None:
        return {}
    cost = None if usage.cost_nanos is None else dollars_json(usage.cost_nanos)
    return _known(
        {
            "total_input_tokens": usage.all_input_tokens(),
            "cached_input_tokens": usage.cached_input_tokens,
            "total_output_tokens": usage.all_output_tokens(),
            "cost_usd": cost,
        }
    )


def _cost(event: Event) -> dict[str, Any]:
    """Where its cost comes from; and the cost itself where that was computed, not told."""
    report, priced = event.effects.report, event.effects.priced
    if priced is not None and priced.nanos is not None:
        cost = dollars_json(priced.nanos)
        return {"cost_usd": cost, "cost_source": "computed", "price_version": priced.version}
    return {} if report is None or report.usage.cost_nanos is None else {"cost_source": "reported"}


def _known(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}


def _first(*sent: msgspec.Raw) -> msgspec.Raw | None:
    """The first that says anything; null where one of them is null, None where there is none."""
    null = None
    for raw in sent:
        # Most are absent, and are then the default itself.
        if raw is not _NONE:
            if _says(raw):
                return raw
            null = raw
    return null


def _says(raw: msgspec.Raw | None) -> TypeGuard[msgspec.Raw]:
    return raw is not None and raw is not _NONE and (len(raw) != 4 or bytes(raw) != b"null")


def is_text(raw: msgspec.Raw | None) -> TypeGuard[msgspec.Raw]:
    """Whether it is a JSON string."""
    return raw is not None and bytes(memoryview(raw)[:1]) == b'"'


def _add_json(found: dict[str, Any], name: str, raw: msgspec.Raw | None) -> None:
    """Adds a value as it was sent, unless it is too long to be repeated."""
    if _says(raw) and len(raw) <= MAX_REPEATED_BYTES:
        found[name] = raw


def _add_text(found: dict[str, Any], name: str, raw: msgspec.Raw | None) -> None:
    """Adds a string's text, and the JSON of anything else, unless it is too long to be repeated."""
    if _says(raw) and len(raw) <= MAX_REPEATED_BYTES:
        found[name] = plain_text(raw)


_WORDS: dict[EventType, Callable[[Event, dict[str, Any]], None]] = {
    EventType.TOOL_CALL: _tool_call,
    EventType.TOOL_RESULT: _tool_result,
    EventType.MODEL_CALL: _model_call,
    EventType.STEP: _step,
    EventType.CHECKPOINT: _checkpoint,
    EventType.MESSAGE_DELTA: _delta,
    EventType.LANE_REPORT: _line,
    EventType.RUN_WAITING: _asked,
    EventType.RUN_INPUT: _answer,
    EventType.RUN_QUESTION_WITHDRAWN: _withdrawn,
    EventType.RUN_MESSAGE: _message,
    EventType.RUN_COMPLETED: _completed,
    EventType.RUN_FAILED: _failed,
    EventType.RUN_CANCELLED: _failed,
    EventType.RUN_LOST: _failed,
    EventType.BUDGET_EXCEEDED: _failed,
}
