"""Dialect `activity`: what one agent is doing, without its content. Read as JSON or as a stream; pushed in batches.

What is pushed has the form of what is read. `feed.py` decides what may be shown.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from towerlog import errors
from towerlog.dialects.activity.feed import (
    CALL_STATUS,
    MAX_SUMMARY_CHARS,
    SENT,
    STATUS_OF,
    STATUS_WORDS,
    FeedEvent,
    SentEvent,
    SentFields,
    default_tool,
    feed_event,
    frame,
)
from towerlog.dialects.base import (
    BODY_TYPES,
    Call,
    Dialect,
    DialectSettings,
    Endpoint,
    FrameStyle,
    Reply,
    error_headers,
    reply_json,
    scopes,
    status_of,
)
from towerlog.dialects.fields import (
    NULL,
    Count,
    bounded_text,
    check_length,
    cost_nanos_of,
    decode,
    invalid_field,
    one_line,
    optional_id,
    path_uuid,
    refusal,
    splice,
    time_ms_of,
    truncated,
)
from towerlog.errors import Malformed, TowerlogError
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, Item, OpenRun, Refusal, RunById, RunRef, cursor_text
from towerlog.model.facts import Effects, Facts
from towerlog.model.outcome import Appended, FeedPage
from towerlog.model.principal import Scope
from towerlog.model.question import FollowAgent, Tail
from towerlog.model.usage import Usage, UsageReport

__all__ = ["DIALECT", "STATUS_OF", "STATUS_WORDS"]

NDJSON = BODY_TYPES["ndjson"][1].encode()
MAX_EVENTS = 1000
COUNTED_ABOVE_COMMAS = 100_000
"""Commas in a body from which its items are counted before they are decoded. Fewer items take little memory."""
DEFAULT_TAIL = 100
MAX_TAIL = 5000

_TYPES: dict[str, EventType] = {
    "command_start": EventType.TOOL_CALL,
    **dict.fromkeys(CALL_STATUS, EventType.MODEL_CALL),
}
"""Types that are not in it are results of a tool."""
# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_TOOL_RESULT = EventType.TOOL_RESULT
_NUMBER = re.compile(r"[+-]?[0-9]{1,64}")


class FeedQuery(msgspec.Struct):
    """How many events of the feed, and whether to follow it."""

    tail: int = DEFAULT_TAIL
    follow: Literal["true", "false"] = "false"
    after: str | None = None


class RejectedItem(msgspec.Struct):
    """An event that was not stored."""

    index: int
    code: str
    message: str


class PushReply(msgspec.Struct):
    """How many events are stored, and which were rejected."""

    accepted: int
    rejected: list[RejectedItem]


class ActivityRefusal(msgspec.Struct):
    """Why a request was refused."""

    error: str
    detail: str


class _Names(msgspec.Struct, gc=False):
    """Ids that are read of the metadata of any event."""

    run_id: str | None = None
    thread_id: str | None = None
    session_id: str | None = None
    tool_call_id: str | None = None


class _CallMetadata(_Names, gc=False):
    """The metadata of an inference event."""

    model_name: str | None = None
    request_type: str | None = None
    status: str | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cost_usd: msgspec.Raw = NULL


class _KnownEvent(SentFields, gc=False):
    """An event whose metadata is what an inference event's may be, which is all that any event's is asked for."""

    metadata: _CallMetadata | None = None


_KNOWN = msgspec.json.Decoder(_KnownEvent)
_NAMES = msgspec.json.Decoder(_Names)
_CALL_METADATA = msgspec.json.Decoder(_CallMetadata)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_CALL_METADATA = _CallMetadata()


# Pushing


def _decode_push(call: Call) -> Append:
    # Without ids in the metadata there is no thread, so the agent's own id stands for one.
    agent_id = path_uuid(call.path["id"], "agent")
    run = OpenRun(agent_id, reopen=True)
    items = [_item(text, run, call.settings) for text in _texts(call)]
    return Append("activity", items, agent_id, shows_commands=False)


def _texts(call: Call) -> list[bytes] | list[msgspec.Raw]:
    """The events of a body: a single one, an array, or one per line.

    Lines are also recognised under `application/json`: not all senders set the right content type.
    """
    body = call.body.strip()
    if call.headers.get(b"content-type", b"").startswith(NDJSON):
        return _lines(body)
    if body.startswith(b"["):
        return _array(body)
    if b"\n" in body and not _is_json(body):
        return _lines(body)
    if not body.startswith(b"{"):
        decode(_RAW, body)
        raise invalid_field("body", "must be an event, an array of events, or one event a line")
    decode(_RAW, body)
    return [body]


def _array(body: bytes) -> list[msgspec.Raw]:
    """The items of an array. Counted before decoding only in a large body: counting takes longer than decoding."""
    if body.count(b",") > COUNTED_ABOVE_COMMAS:
        check_length(body, "events", MAX_EVENTS)
    events = decode(_ARRAY, body)
    if len(events) > MAX_EVENTS:
        raise invalid_field("events", f"has more than {MAX_EVENTS} items")
    return events


def _lines(body: bytes) -> list[bytes]:
    # Before the split: a body of line ends only would make millions of lines. Blank lines are allowed, hence twice.
    if body.count(b"\n") > 2 * MAX_EVENTS:
        raise invalid_field("events", f"has more than {MAX_EVENTS} items")
    lines = [line for line in map(bytes.strip, body.split(b"\n")) if line]
    if len(lines) > MAX_EVENTS:
        raise invalid_field("events", f"has more than {MAX_EVENTS} items")
    return lines


def _is_json(body: bytes) -> bool:
    """True for one value that spans several lines, and for a body that is not one value per line either."""
    try:
        decode(_RAW, body)
    except Malformed:
        first = body.partition(b"\n")[0]
        try:
            decode(_RAW, first)
        except Malformed:
            return True
        return False
    return True


def _item(text: bytes | msgspec.Raw, run: RunRef, settings: DialectSettings) -> Item:
    try:
        return _draft(text, run, settings)
    except TowerlogError as error:
        return refusal(error)


def _draft(text: bytes | msgspec.Raw, run: RunRef, settings: DialectSettings) -> Draft:
    sent, known, metadata = _read(text)
    data = one_line(text, "event", settings.max_depth, settings.max_event_bytes)
    if sent.input_summary is not None and len(sent.input_summary) > MAX_SUMMARY_CHARS:
        data = _with_summary(data, truncated(sent.input_summary, MAX_SUMMARY_CHARS))
    event_id = optional_id(sent.id, "id")
    names, facts = _facts_of(sent, known, metadata, event_id)
    if facts.tool_call_id is not None:
        data = splice(data, tool_call_id=facts.tool_call_id)
    return Draft(
        _TYPES.get(sent.type, _TOOL_RESULT),
        run if names is _NO_CALL_METADATA else _run(names, run),
        data,
        facts,
        time_ms_of(sent.timestamp, "timestamp"),
        event_id,
    )


def _read(text: bytes | msgspec.Raw) -> tuple[SentFields, _CallMetadata | None, msgspec.Raw]:
    """An event and its metadata: known where all of it fits, else as text, of which not everything has to fit."""
    try:
        sent = _KNOWN.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        plain = decode(SENT, text)
        return plain, None, plain.metadata
    return sent, sent.metadata or _NO_CALL_METADATA, NULL


def _facts_of(
    sent: SentFields, known: _CallMetadata | None, metadata: msgspec.Raw, event_id: str | None
) -> tuple[_Names, Facts]:
    if sent.type in CALL_STATUS:
        return _call_facts(sent, decode(_CALL_METADATA, metadata, "metadata") if known is None else known)
    return _container_facts(sent, decode(_NAMES, metadata, "metadata") if known is None else known, event_id)


def _container_facts(sent: SentFields, names: _Names, event_id: str | None) -> tuple[_Names, Facts]:
    """Ids and facts of a tool event.

    Start and end of a command have different ids, so only `tool_call_id` in their metadata can pair them. The other
    types are complete in one event, and their own id serves as the call's.
    """
    # Tool events under `inference` would be counted as model calls by readers of the feed.
    if sent.tool == "inference":
        raise invalid_field("tool", "inference is for inference events alone")
    call_id = optional_id(names.tool_call_id, "metadata.tool_call_id")
    if call_id is None and not sent.type.startswith("command_"):
        call_id = event_id
    return names, Facts(
        name=sent.type,
        tool=sent.tool or default_tool(sent.type),
        tool_call_id=call_id,
        success=sent.success,
        duration_ms=sent.duration_ms,
    )


def _call_facts(sent: SentFields, found: _CallMetadata) -> tuple[_Names, Facts]:
    if sent.tool not in {None, "inference"}:
        raise invalid_field("tool", "must be inference on inference events")
    cost_nanos = cost_nanos_of(found.cost_usd, "metadata.cost_usd")
    usage = Usage(input_tokens=found.input_tokens, output_tokens=found.output_tokens, cost_nanos=cost_nanos)
    return found, Facts(
        name=sent.type,
        tool="inference",
        success=sent.type == "inference_complete" if sent.success is None else sent.success,
        duration_ms=sent.duration_ms,
        effects=Effects(
            report=UsageReport(usage, "delta"), model=bounded_text(found.model_name, "metadata.model_name")
        ),
    )


def _run(names: _Names, usual: RunRef) -> RunRef:
    if names.run_id:
        # A run id must exist; a thread is created when new.
        return RunById(names.run_id.lower())
    thread_id = optional_id(names.thread_id, "metadata.thread_id")
    thread_id = thread_id or optional_id(names.session_id, "metadata.session_id")
    return usual if thread_id is None else OpenRun(thread_id)


def _with_summary(data: bytes, summary: str) -> bytes:
    # Decoded and encoded again, so the member is replaced and not added a second time.
    members = decode(_MEMBERS, data)
    members["input_summary"] = msgspec.Raw(msgspec.json.encode(summary))
    return msgspec.json.encode(members)


def _encode_push(outcome: Appended, command: object, call: Call) -> Reply:
    results = enumerate(outcome.results)
    rejected = [RejectedItem(n, found.code, found.message) for n, found in results if isinstance(found, Refusal)]
    accepted = len(outcome.results) - len(rejected)
    return reply_json(PushReply(accepted, rejected), 422 if rejected and not accepted else 200)


# Watching


def _decode_feed(call: Call) -> Tail | FollowAgent:
    agent_id = path_uuid(call.path["id"], "agent")
    follow = call.query.get("follow") or "false"
    if follow not in {"true", "false"}:
        raise invalid_field("follow", "must be true or false")
    # The header is the newer of the two: a browser that reconnects repeats the URL.
    seen = call.headers.get(b"last-event-id", b"").decode("latin-1")
    after = bounded_text(seen or call.query.get("after"), "after")
    tail = _tail(call.query.get("tail", ""))
    return FollowAgent(agent_id, tail, after) if follow == "true" else Tail(agent_id, tail, after)


def _tail(text: str) -> int:
    """The number asked for, within bounds; the default for what is not a number."""
    return max(0, min(int(text), MAX_TAIL)) if _NUMBER.fullmatch(text) else DEFAULT_TAIL


def _encode_feed(outcome: FeedPage, command: object, call: Call) -> Reply:
    shown = [feed_event(event, outcome.epoch) for event in outcome.events]
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if outcome.events:
        headers = ((b"x-cursor", cursor_text(outcome.epoch, outcome.events[-1].position).encode()),)
    return reply_json([event for event in shown if event is not None], headers=headers)


STREAM = FrameStyle(
    name="activity",
    frame=frame,
    prologue=b": ping\n\n",
    closing=b"event: end\ndata: stream closed\n\n",
)


def explain(error: TowerlogError, trace_id: str) -> Reply:
    """The error in this dialect's form: a stable code, and a text for people."""
    status = 400 if isinstance(error, errors.Invalid) and not isinstance(error, errors.IdReused) else status_of(error)
    return reply_json(ActivityRefusal(error.code, error.message), status, error_headers(error, status))


DIALECT = Dialect(
    name="activity",
    title="Activity: what one agent is doing, without its content",
    endpoints=(
        Endpoint(
            method="GET",
            path="/agents/{id}/events",
            name="activity.events",
            summary="The newest events of an agent, as an array or (follow=true) as a stream",
            scopes=scopes(Scope.READ),
            decode=_decode_feed,
            encode=_encode_feed,
            stream=STREAM,
            reply=list[FeedEvent],
            query=FeedQuery,
        ),
        Endpoint(
            method="POST",
            path="/agents/{id}/events",
            name="activity.push",
            summary="Push what an agent did: one event, an array, or one a line",
            scopes=scopes(Scope.INGEST),
            decode=_decode_push,
            encode=_encode_push,
            ingests=True,
            request=SentEvent | list[SentEvent],
            reply=PushReply,
            refuses_by_item=True,
            body="ndjson",
        ),
    ),
    explain=explain,
)
