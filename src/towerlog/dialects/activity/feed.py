"""An agent's activity feed: what of an event may be shown to readers who must not see an agent's content.

Every field is built from an allow-list: names, ids, counts, durations, money. Prompts, completions, arguments and
outputs cannot get in. Events that came in through `activity` are read back by the same list; of all others only the
facts are used, and of a tool's output its length.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Any, get_args

import msgspec

from towerlog.dialects.activity.shapes import FeedEvent, SentEvent, Type
from towerlog.dialects.base import ascii_json
from towerlog.dialects.fields import decode_any, read, truncated
from towerlog.dialects.views.event_members import output
from towerlog.model.event import TARGET_STATUS, Event, EventType, cursor_text
from towerlog.model.feed import FEED_TYPES_WHEN_SPENT, has_feed_place, has_spent
from towerlog.model.run import RunRow, Status
from towerlog.model.times import format_ms
from towerlog.model.usage import Usage, dollars_json, format_dollars

MAX_SUMMARY_CHARS = 200
PREFIX = "inference-"

CALL_STATUS: dict[str, str] = {
    "inference_complete": "success",
    "inference_error": "error",
    "inference_rate_limited": "rate_limited",
    "inference_budget_exceeded": "budget_exceeded",
    "inference_client_disconnect": "client_disconnect",
}
"""Type of an inference event → the `status` in its metadata."""

STATUS_WORDS: dict[Status, str] = {
    Status.QUEUED: "success",
    Status.RUNNING: "success",
    Status.WAITING: "success",
    Status.PAUSED: "success",
    Status.CANCELLING: "success",
    Status.COMPLETED: "success",
    Status.FAILED: "error",
    Status.CANCELLED: "client_disconnect",
    Status.BUDGET_EXCEEDED: "budget_exceeded",
    Status.LOST: "error",
}
"""A run's status in this dialect's words, which describe model calls: the outcome of a call that gave this status."""
STATUS_OF: dict[str, Status] = {
    "success": Status.RUNNING,
    "error": Status.FAILED,
    "client_disconnect": Status.CANCELLED,
    "budget_exceeded": Status.BUDGET_EXCEEDED,
}

_TYPE_OF_CALL: dict[str, str] = {status: type_ for type_, status in CALL_STATUS.items()}
_REQUEST_TYPE: dict[EventType, str] = {
    EventType.MODEL_CALL: "chat",
    EventType.CHECKPOINT: "turn",
    EventType.RUN_COMPLETED: "run",
    EventType.RUN_FAILED: "run",
    EventType.RUN_CANCELLED: "run",
    EventType.USAGE_RECOUNTED: "recount",
    EventType.COST_REPRICED: "recount",
    EventType.BUDGET_EXCEEDED: "run",
    EventType.OTHER: "chat",
}
_CALLS_THAT_WENT_WELL = frozenset({EventType.OTHER, EventType.USAGE_RECOUNTED, EventType.COST_REPRICED})
"""Of these nothing is known but what they add, or take back of what earlier lines have told: figures below 0."""
_CALL_SUMMARY = re.compile(r"[\w.:@/+-]{1,100} \([\w.:-]{1,60}\)")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SHELL = frozenset({"shell", "bash", "sh", "zsh", "terminal", "exec", "command", "cmd"})
_FILES = frozenset({"file", "files", "filesystem", "fs", "directory", "dir", "folder", "path"})


SENT = msgspec.json.Decoder(SentEvent)
IDENTITY = frozenset({"type", "id"})
"""What identifies a pushed event; the rest are details."""
TYPES = frozenset(get_args(Type))


class _Exit(msgspec.Struct, gc=False):
    """Where senders of tool results put the exit code."""

    exit_code: msgspec.Raw = msgspec.Raw(b"")


_EXIT = msgspec.json.Decoder(_Exit)
_ENCODER = msgspec.json.Encoder()


def frame(event: Event, epoch: str, row: RunRow | None = None) -> bytes | None:
    """One server-sent event; None for an event that the feed does not show."""
    shown = feed_event(event, epoch)
    if shown is None:
        return None
    cursor = cursor_text(epoch, event.position).encode()
    return b"data: %s\nid: %s\n\n" % (ascii_json(_ENCODER.encode(shown)), cursor)


def feed_event(event: Event, epoch: str) -> FeedEvent | None:
    """The event as its agent's feed shows it; None if it does not."""
    if event.type is EventType.OTHER:
        return _call(event, epoch) if has_feed_place(event) else None
    if event.dialect == "activity":
        return _sent(event, epoch)
    match event.type:
        case EventType.TOOL_CALL:
            return _tool(event, epoch, "command_start")
        case EventType.TOOL_RESULT:
            return _tool(event, epoch, "command_complete")
        case EventType.MODEL_CALL | EventType.BUDGET_EXCEEDED:
            return _call(event, epoch)
        case kind if kind in FEED_TYPES_WHEN_SPENT:
            return _call(event, epoch) if has_spent(event) else None
        case _:
            return None


def default_tool(type_: str) -> str:
    """The category of a type whose sender gave none."""
    kind = type_.partition("_")[0]
    tools = {"command": "shell", "file": "filesystem", "directory": "filesystem"}
    return tools.get(kind, kind)


# What came in through this dialect


def _sent(event: Event, epoch: str) -> FeedEvent:
    sent = read(SENT, event.data, "", [], IDENTITY)
    # Stored as it was sent, so it may be anything.
    given = decode_any(bytes(sent.metadata))
    metadata = given if isinstance(given, dict) else {}
    if sent.type in CALL_STATUS:
        return _sent_call(event, epoch, sent, metadata)
    return FeedEvent(
        id=(sent.id or _stable_id(event, epoch)).removeprefix(PREFIX),
        timestamp=_time(event),
        type=sent.type,
        tool=sent.tool or default_tool(sent.type),
        input_summary=truncated(sent.input_summary or "", MAX_SUMMARY_CHARS),
        output_summary=None if sent.output_summary is None else truncated(sent.output_summary, MAX_SUMMARY_CHARS),
        duration_ms=event.facts.duration_ms,
        success=sent.success,
        metadata=_scalars(metadata),
    )


def _scalars(metadata: dict[str, Any]) -> dict[str, Any]:
    """The sender's metadata without everything that could hold content: objects, arrays, long strings."""
    shown: dict[str, Any] = {}
    for name, value in metadata.items():
        if isinstance(value, str):
            shown[name[:MAX_SUMMARY_CHARS]] = truncated(value, MAX_SUMMARY_CHARS)
        elif value is None or isinstance(value, bool | int | float):
            shown[name[:MAX_SUMMARY_CHARS]] = value
    return shown


def _sent_call(event: Event, epoch: str, sent: SentEvent, metadata: dict[str, Any]) -> FeedEvent:
    """A pushed model call: figures from the facts, names from `model_name` and `request_type` of its metadata."""
    facts, effects, kind = event.facts, event.effects, metadata.get("request_type")
    request_type = truncated(kind, MAX_SUMMARY_CHARS) if isinstance(kind, str) else None
    summary = sent.input_summary or ""
    # A summary is shown only in the form that we would write; any other could hold content.
    if effects.model is not None or not _CALL_SUMMARY.fullmatch(summary):
        summary = _call_summary(effects.model, request_type or "chat")
    usage = effects.told_or_computed()
    if facts.spent is not None:  # of the cost, what counts of it
        usage = msgspec.structs.replace(usage, cost_nanos=_spent(event).cost_nanos)
    shown = _inference(sent.type, summary, effects.model, request_type, usage, facts.duration_ms)
    shown.id = _call_id(sent.id or _stable_id(event, epoch))
    shown.timestamp = _time(event)
    shown.success = facts.success
    return shown


# What came in through the others


def _tool(event: Event, epoch: str, type_: str) -> FeedEvent:
    """A tool call of another dialect. Arguments are content, so only the tool's name is shown as input."""
    facts, ended = event.facts, type_ == "command_complete"
    name = facts.tool or "tool"
    return FeedEvent(
        id=_stable_id(event, epoch),
        timestamp=_time(event),
        type=type_,
        tool=_tool_kind(name),
        input_summary=truncated(name, MAX_SUMMARY_CHARS),
        output_summary=_output_summary(event.data) if ended else None,
        duration_ms=facts.duration_ms if ended else None,
        success=facts.success if ended else None,
        metadata={"tool_call_id": facts.tool_call_id} if facts.tool_call_id else {},
    )


MAX_KNOWN_TOOLS = 1024
"""Names of tools whose kind is remembered, each of at most MAX_LABEL_CHARS characters."""


# Agents use few tools, and each feed line needs the kind of one.
@functools.lru_cache(maxsize=MAX_KNOWN_TOOLS)
def _tool_kind(name: str) -> str:
    words = {word.lower() for word in _WORD.findall(name)}
    if words & _SHELL:
        return "shell"
    return "filesystem" if words & _FILES else "runtime"


def _output_summary(data: bytes) -> str | None:
    """Exit code and length of an output: `exit 0, 120 bytes`."""
    try:
        told, exit_code = output(data), bytes(_EXIT.decode(data).exit_code)
    except msgspec.MsgspecError:
        return None
    parts = [f"exit {exit_code.decode()}"] if re.fullmatch(rb"-?[0-9]{1,10}", exit_code) else []
    if told is not None:
        parts.append(f"{_size(bytes(told))} bytes")
    return ", ".join(parts) or None


def _size(text: bytes) -> int:
    """Length of an output in bytes: of a string's text, of any other value's JSON."""
    if text == b"null":
        return 0
    value = decode_any(text) if text[:1] == b'"' else None
    return len(value.encode()) if isinstance(value, str) else len(text)


def _call(event: Event, epoch: str) -> FeedEvent:
    """One inference event for a model call, a turn, or a run that reported its usage only at its end."""
    recount = event.effects.recount or event.effects.repriced
    model = event.effects.model if recount is None else recount.model or None
    request_type = _REQUEST_TYPE[event.type]
    type_ = _call_type(event)
    summary = _call_summary(model, request_type)
    shown = _inference(type_, summary, model, request_type, _spent(event), event.facts.duration_ms)
    shown.id = PREFIX + _stable_id(event, epoch)
    shown.timestamp = _time(event)
    return shown


def _call_type(event: Event) -> str:
    facts = event.facts
    if event.type is EventType.MODEL_CALL:
        if facts.name in CALL_STATUS:
            return facts.name
        return "inference_error" if facts.success is False else "inference_complete"
    if event.type is EventType.OTHER and event.effects.rate_limited:
        return "inference_rate_limited"
    if event.type in _CALLS_THAT_WENT_WELL:
        return "inference_complete"
    if event.type is EventType.CHECKPOINT:
        checkpoint = event.effects.checkpoint
        word = "" if checkpoint is None else checkpoint.status
        return _TYPE_OF_CALL.get(word, "inference_complete")
    return _TYPE_OF_CALL[STATUS_WORDS[TARGET_STATUS[event.type]]]


def _spent(event: Event) -> Usage:
    """What this event added to its run's usage; it may have reported a running total, or take something back."""
    facts = event.facts
    if facts.spent is None:
        return event.effects.told_or_computed()
    lost = facts.lost_nanos()
    if not lost:
        return facts.spent
    return msgspec.structs.replace(facts.spent, cost_nanos=(facts.spent.cost_nanos or 0) - lost)


# The pieces


def _inference(
    type_: str, summary: str, model: str | None, request_type: str | None, usage: Usage, duration_ms: int | None
) -> FeedEvent:
    """An inference event without id and time."""
    return FeedEvent(
        id="",
        timestamp="",
        type=type_,
        tool="inference",
        input_summary=summary,
        output_summary=_figures(usage, duration_ms),
        duration_ms=duration_ms,
        success=type_ == "inference_complete",
        metadata={
            "model_name": model,
            "request_type": request_type,
            "status": CALL_STATUS[type_],
            "input_tokens": usage.all_input_tokens(),
            "output_tokens": usage.all_output_tokens(),
            "cost_usd": dollars_json(usage.cost_nanos),
        },
    )


def _call_summary(model: str | None, request_type: str) -> str:
    return truncated(f"{model or 'unknown'} ({request_type})", MAX_SUMMARY_CHARS)


def _figures(usage: Usage, duration_ms: int | None) -> str:
    """`310+110 tokens, $0.00231, 740 ms`. `?` for what is unknown; one number of tokens if no split is known."""
    tokens_in, tokens_out = usage.all_input_tokens(), usage.all_output_tokens()
    # A bare total must not be shown as input or output, nor as nothing.
    if not tokens_in and not tokens_out and usage.total_tokens:
        tokens = f"{usage.total_tokens}"
    else:
        tokens = f"{'?' if tokens_in is None else tokens_in}+{'?' if tokens_out is None else tokens_out}"
    cost = "?" if usage.cost_nanos is None else format_dollars(usage.cost_nanos)
    return f"{tokens} tokens, ${cost}, {'?' if duration_ms is None else duration_ms} ms"


def _call_id(sent: str) -> str:
    return sent if sent.startswith(PREFIX) else PREFIX + sent


def _time(event: Event) -> str:
    return format_ms(event.recorded_at if event.occurred_at is None else event.occurred_at)


def _stable_id(event: Event, epoch: str) -> str:
    """A UUID that is the same whenever the event is shown: from the log's epoch and position (RFC 9562, version 8)."""
    # The organisation is in it too: ids of two organisations must not collide. 8 and a are version and variant.
    place = f"{epoch}/{event.org}/{event.position}".encode()
    digits = hashlib.blake2b(place, digest_size=16).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
