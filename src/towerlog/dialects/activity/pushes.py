"""What is pushed through `activity`: an event, an array of them, or one a line; and what each becomes."""

from __future__ import annotations

import msgspec

from towerlog.dialects import details
from towerlog.dialects.activity.feed import (
    CALL_STATUS,
    IDENTITY,
    MAX_SUMMARY_CHARS,
    SENT,
    TYPES,
    default_tool,
)
from towerlog.dialects.activity.shapes import SentFields
from towerlog.dialects.base import (
    BODY_TYPES,
    Call,
    DialectSettings,
)
from towerlog.dialects.details import ForeignId, Label
from towerlog.dialects.fields import (
    Warnings,
    decode,
    facts_named,
    invalid_field,
    members_of,
    one_line,
    optional_id,
    path_uuid,
    read,
    splice,
    truncated,
    unused,
)
from towerlog.dialects.members import kind_of
from towerlog.dialects.repair import repair
from towerlog.dialects.structure import check_length
from towerlog.dialects.usage_json import SaidUsage
from towerlog.errors import Malformed
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, Item, OpenRun, RunById, RunRef
from towerlog.model.facts import Effects, Facts
from towerlog.model.usage import UsageReport

NDJSON = BODY_TYPES["ndjson"][1].encode()
MAX_EVENTS = 1000
COUNTED_ABOVE_COMMAS = 100_000
"""Commas in a body from which its items are counted before they are decoded. Fewer items take little memory."""

_TYPES: dict[str, EventType] = {
    **dict.fromkeys(TYPES, EventType.TOOL_RESULT),
    "command_start": EventType.TOOL_CALL,
    **dict.fromkeys(CALL_STATUS, EventType.MODEL_CALL),
}
"""Another type is stored as `other` under its own name, and has no place in the feed."""
# By a name of its own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_OTHER = EventType.OTHER


class _Names(msgspec.Struct, frozen=True, gc=False):
    """Ids that are read of the metadata of any event."""

    run_id: str | None = None
    thread_id: str | None = None
    session_id: str | None = None
    tool_call_id: ForeignId | None = None


class _CallMetadata(SaidUsage, frozen=True, gc=False):
    """The metadata of an inference event."""

    run_id: str | None = None
    thread_id: str | None = None
    session_id: str | None = None
    tool_call_id: ForeignId | None = None
    model_name: Label | None = None
    request_type: str | None = None
    status: str | None = None


_AnyNames = _Names | _CallMetadata


class _KnownEvent(SentFields, gc=False):
    """An event whose metadata is what an inference event's may be, which is all that any event's is asked for."""

    metadata: _CallMetadata | None = None


_KNOWN = msgspec.json.Decoder(_KnownEvent)
_NAMES = msgspec.json.Decoder(_Names)
_CALL_METADATA = msgspec.json.Decoder(_CallMetadata)
_RUN = frozenset({"run_id"})
"""What places an event strictly: the run that its metadata names."""
_RAW = msgspec.json.Decoder(msgspec.Raw)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_NO_CALL_METADATA = _CallMetadata()


def decode_push(call: Call) -> Append:
    """The events of a push. A wrong one is refused alone."""
    # Without ids in the metadata there is no thread, so the agent's own id stands for one.
    agent_id = path_uuid(call.path["id"], "agent")
    run = OpenRun(agent_id, reopen=True)
    warnings: Warnings = []

    def item(text: bytes | msgspec.Raw, _index: int, found: Warnings) -> Item:
        try:
            return _draft(text, run, call.settings, found)
        except Malformed:
            # One of several lines: a body that is no JSON as a whole does not come here.
            repaired = repair(bytes(text))
            if repaired is None:
                raise
            found += repaired.warnings
            return _draft(repaired.body, run, call.settings, found)

    items = details.items_of(_texts(call), item, warnings)
    return Append("activity", items, agent_id, shows_commands=False, warnings=tuple(warnings))


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
        raise invalid_field("body", "must be an event, an array of events, or one event per line")
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


def _draft(text: bytes | msgspec.Raw, run: RunRef, settings: DialectSettings, warnings: Warnings) -> Draft:
    sent, metadata = _read(text, warnings)
    data = one_line(text, "event", settings.max_depth, settings.max_event_bytes)
    if sent.input_summary is not None and len(sent.input_summary) > MAX_SUMMARY_CHARS:
        data = _with_summary(data, truncated(sent.input_summary, MAX_SUMMARY_CHARS))
    event_id = optional_id(sent.id, "id")
    if sent.type in CALL_STATUS:
        facts = _call_facts(sent, metadata, warnings)
    elif sent.type in TYPES:
        facts = _container_facts(sent, metadata, event_id, warnings)
    else:
        facts = facts_named(sent.type)
    if facts.tool_call_id is not None:
        data = splice(data, tool_call_id=facts.tool_call_id)
    occurred_at = None
    if sent.timestamp is not None:
        # The event itself is the data, so a time that cannot be used is in it already.
        occurred_at, _ = details.timed(sent.timestamp, "timestamp", data, warnings)
    return Draft(
        _TYPES.get(sent.type, _OTHER),
        run if metadata is _NO_CALL_METADATA else _run(metadata, run, warnings),
        data,
        facts,
        occurred_at,
        event_id,
    )


def _read(text: bytes | msgspec.Raw, warnings: Warnings) -> tuple[SentFields, _AnyNames]:
    """An event and its metadata: in one pass where all of it fits, else step by step."""
    try:
        known = _KNOWN.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        sent = read(SENT, text, "", warnings, IDENTITY)
        given = bytes(sent.metadata)
        if given == b"null":
            return sent, _NO_CALL_METADATA
        if given[:1] != b"{":
            unused(warnings, "metadata", f"must be an object, not {kind_of(given)}")
            return sent, _NO_CALL_METADATA
        if sent.type in CALL_STATUS:
            return sent, read(_CALL_METADATA, given, "metadata", warnings, _RUN)
        return sent, read(_NAMES, given, "metadata", warnings, _RUN)
    return known, known.metadata or _NO_CALL_METADATA


def _container_facts(sent: SentFields, names: _AnyNames, event_id: str | None, warnings: Warnings) -> Facts:
    """Facts of a tool event.

    Start and end of a command have different ids, so only `tool_call_id` in their metadata can pair them. The other
    types are complete in one event, and their own id serves as the call's.
    """
    tool = sent.tool
    # Tool events under `inference` would be counted as model calls by readers of the feed.
    if tool == "inference":
        unused(warnings, "tool", "inference is only for inference events")
        tool = None
    call_id = names.tool_call_id or None
    if call_id is None and not sent.type.startswith("command_"):
        call_id = event_id
    return Facts(
        name=sent.type,
        tool=tool or default_tool(sent.type),
        tool_call_id=call_id,
        success=sent.success,
        duration_ms=None if sent.duration_ms is None else round(sent.duration_ms),
    )


def _call_facts(sent: SentFields, found: _AnyNames, warnings: Warnings) -> Facts:
    assert isinstance(found, _CallMetadata)
    if sent.tool not in {None, "inference"}:
        unused(warnings, "tool", "must be inference on inference events")
    usage, parts = found.spent("metadata", warnings)
    return Facts(
        name=sent.type,
        tool="inference",
        success=sent.type == "inference_complete" if sent.success is None else sent.success,
        duration_ms=None if sent.duration_ms is None else round(sent.duration_ms),
        effects=Effects(
            report=UsageReport(usage, "delta", parts=parts),
            model=found.model_name or None,
            provider=found.provider or None,
        ),
    )


def _run(names: _AnyNames, usual: RunRef, warnings: Warnings) -> RunRef:
    if names.run_id:
        # A run id must exist; a thread is created when new.
        return RunById(names.run_id.lower())
    thread_id = details.optional_id(names.thread_id, "metadata.thread_id", warnings)
    thread_id = thread_id or details.optional_id(names.session_id, "metadata.session_id", warnings)
    return usual if thread_id is None else OpenRun(thread_id)


def _with_summary(data: bytes, summary: str) -> bytes:
    # Decoded and encoded again, so the member is replaced and not added a second time.
    members = members_of(data)
    members["input_summary"] = msgspec.Raw(msgspec.json.encode(summary))
    return msgspec.json.encode(members)
