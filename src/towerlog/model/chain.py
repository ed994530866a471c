"""The hash chain of a run: the SHA-256 of each event covers the hash before it, so a change breaks the chain."""

from __future__ import annotations

from hashlib import sha256
from struct import Struct

from towerlog.model.event import Event, EventType

_NUMBERS = Struct(">qqqqqqqBB").pack
_TYPE_BYTES = {member: member.value.encode() for member in EventType}


def chain_hash(previous: bytes, event: Event) -> bytes:
    """SHA-256 of the previous hash, the event's numbers and marks, its texts, its facts and its data.

    Numbers are packed big-endian (an absent `occurred_at` as -1). Texts follow with a zero byte after each, which no
    JSON text and no id contains, so that different events never give the same bytes.
    """
    place = (event.org, event.position, event.run, event.seq, event.recorded_at)
    marks = (event.occurred_at, event.agent, event.late, event.future)
    return link(previous, place, event.type, marks, event.dialect, event.event_id, event.facts_json, event.data)


def link(
    previous: bytes,
    place: tuple[int, int, int, int, int],
    kind: EventType,
    marks: tuple[int | None, int, bool, bool],
    dialect: str,
    event_id: str | None,
    facts_json: bytes,
    data: bytes,
) -> bytes:
    """The hash of an event before the event is made, so that it is constructed once.

    `place` is (org, position, run, seq, recorded_at), `marks` (occurred_at, agent, late, future).
    """
    occurred_at, agent, late, future = marks
    numbers = _NUMBERS(*place, -1 if occurred_at is None else occurred_at, agent, late, future)
    names = f"{dialect}\0{event_id or ''}\0".encode()
    return sha256(b"".join((previous, numbers, _TYPE_BYTES[kind], b"\0", names, facts_json, b"\0", data))).digest()
