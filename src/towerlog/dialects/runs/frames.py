"""Frames of a run's stream as `runs` has them.

They are built of bytes: an event's data is copied as it was stored and not decoded.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import FrameStyle, ascii_json
from towerlog.dialects.run_json import STATUS_WORDS
from towerlog.dialects.views.event_members import EventMembers, event_members
from towerlog.model.event import COPY, Event, EventType
from towerlog.model.run import RunRow
from towerlog.model.times import format_ms


class FrameData(EventMembers, frozen=True, kw_only=True):
    """The `data` of a frame of the stream. What all dialects say stands beside the event's own `data`, by one name."""

    seq: v.Seq
    type: v.EventTypeWord
    data: Annotated[dict[str, Any], v.said("What the sender said of it.", {"content": "looking … "})]
    created_at: Annotated[str, v.time("When it was stored.")]
    event_id: Annotated[str, v.said("The sender's id of the event; where it gave none, one of run and number.", "a1")]
    run_id: v.RunId
    ts: Annotated[str, v.time("As `created_at`.")]
    position: v.Position
    occurred_at: v.OccurredAt | msgspec.UnsetType = msgspec.UNSET


class DeltaData(FrameData, frozen=True, kw_only=True):
    """The `data` of a frame that brings a piece of an answer."""

    content_delta: Annotated[str, v.said("The piece of text, as in `data`.", "looking … ")]


class TimedData(FrameData, frozen=True, kw_only=True):
    """The `data` of a frame whose event ends something that took a known time: a tool call, a model call, a step."""

    duration_ms: v.TookMs


_TYPE_TEXT: dict[EventType, bytes] = {type_: type_.value.encode() for type_ in EventType}
_encode_members = msgspec.json.Encoder().encode


def frame(event: Event, epoch: str, row: RunRow | None = None) -> bytes:
    """One server-sent event. Without an `event:` line a browser's `onmessage` gets all of them.

    `id` is the seq, behind the epoch in a log that was copied: it goes on otherwise than the one before it.
    """
    assert row is not None
    text, seq = event_json(event, row), event.seq
    cursor = (f"{epoch}-{seq}" if epoch[:1] == COPY else str(seq)).encode()
    return b"data: %s\nid: %s\n\n" % (text if text.isascii() else ascii_json(text), cursor)


def event_json(event: Event, row: RunRow) -> bytes:
    """An event of this run as one line of JSON text, in the form of `FrameData`."""
    seq, run_id, event_id = event.seq, row.run_id.encode(), _event_id(event, row)
    # `data` is one line of JSON text, so it cannot break the frame.
    data = _named(event) if event.type is EventType.OTHER else event.data
    at = format_ms(event.recorded_at).encode()
    named = (seq, _TYPE_TEXT[event.type], data, at, event_id, run_id, at, event.position, _beside(event))
    return (
        b'{"seq":%d,"type":"%s","data":%s,"created_at":"%s","event_id":%s,"run_id":"%s","ts":"%s","position":%d%s}'
        % named
    )


def _event_id(event: Event, row: RunRow) -> bytes:
    """The sender's id of the event as JSON; where it gave none, one made of the run and the seq."""
    given = event.event_id
    # What begins with a control character is a key of the server's own: senders cannot use one.
    return msgspec.json.encode(given if given and given[0] > "\x1f" else f"{row.run_id}:{event.seq}")


def _beside(event: Event) -> bytes:
    """What stands beside the data, each member behind a comma."""
    found = event_members(event)
    if event.type is EventType.MESSAGE_DELTA and "text" in found:
        found["content_delta"] = found["text"]
    if event.facts.duration_ms is not None:
        found["duration_ms"] = event.facts.duration_ms
    if event.occurred_at is not None and (told_at := event.told_at()) is not None:
        found["occurred_at"] = format_ms(told_at)
    return b"," + _encode_members(found)[1:-1] if found else b""


def end_frame(row: RunRow, _end: Event | None = None) -> bytes:
    """What follows the last event of an ended run. Without an id: it is not an event, and moves no cursor."""
    return b'event: end\ndata: {"status":"%s","last_seq":%d}\n\n' % (STATUS_WORDS[row.status].encode(), row.last_seq)


def _named(event: Event) -> bytes:
    """The data of `other`: the sender's own type as `name`, and its payload."""
    return b'{"name":%s,"payload":%s}' % (msgspec.json.encode(event.facts.name or ""), event.data)


STREAM = FrameStyle(name="runs", frame=frame, prologue=b"retry: 1000\n: ping\n", end=end_frame, with_row=True)
