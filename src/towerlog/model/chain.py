"""The hash chain of a run: each event's SHA-256 covers the previous one's, so that nothing can be changed unseen."""

from __future__ import annotations

import hashlib

from towerlog.model.event import Event


def chain_hash(previous: bytes, event: Event) -> bytes:
    """SHA-256 of the previous hash, the event's place and marks, its facts and its body."""
    head = (
        f"{event.org}|{event.position}|{event.run}|{event.seq}|{event.type}|{event.recorded_at}|{event.occurred_at}"
        f"|{event.dialect}|{event.agent}|{event.late:d}{event.future:d}|{event.event_id}\n"
    )
    return hashlib.sha256(b"".join((previous, head.encode(), event.facts_json, b"\n", event.data))).digest()
