"""The hash chain of a run: each event's SHA-256 covers the previous one's, so that nothing can be changed unseen."""

from __future__ import annotations

from hashlib import sha256
from struct import Struct

from towerlog.model.event import Event, EventType

_PLACE = Struct(">qqqqqqqBB").pack
_TYPE_BYTES = {member: member.value.encode() for member in EventType}


def chain_hash(previous: bytes, event: Event) -> bytes:
    """SHA-256 of the previous hash, the event's place and marks, its facts and its body.

    Numbers are packed big-endian (an absent `occurred_at` as -1), texts follow, each closed by a zero byte.
    """
    place = _PLACE(
        event.org,
        event.position,
        event.run,
        event.seq,
        event.recorded_at,
        -1 if event.occurred_at is None else event.occurred_at,
        event.agent,
        event.late,
        event.future,
    )
    names = f"{event.dialect}\0{event.event_id or ''}\0".encode()
    parts = (previous, place, _TYPE_BYTES[event.type], b"\0", names, event.facts_json, b"\0", event.data)
    return sha256(b"".join(parts)).digest()
