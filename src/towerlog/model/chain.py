"""Digests of events. The hash chain of a run: the SHA-256 of each event covers the hash before it, so a change breaks
the chain. The digest of a body: a repeat under the same id is known by it."""

from __future__ import annotations

from hashlib import blake2b, sha256
from struct import Struct

import msgspec

from towerlog.model.event import Event, EventType

LONG_DATA_BYTES = 16 * 1024
"""Longer data stands in the chain by its own SHA-256, which can be made before the event has its place."""
SPELLED_BYTES = 4096
"""A body that is no longer may be repeated in another spelling; of a longer one only the blanks between its tokens may
differ."""
DIGEST_BYTES = 16
_WITH_DIGEST = bytes((0, DIGEST_BYTES))
"""Behind the facts, which end in a zero byte: how long the digest is."""
pack_numbers = Struct(">qqqqqqqBB").pack
"""(org, position, run, seq, recorded_at, occurred_at or -1, agent, late, future) → the bytes that are hashed."""


def fits(previous: bytes, event: Event) -> bool:
    """Whether an event is what was written. Of a tombstone that is what was left of it, by its seal."""
    if event.type is EventType.ERASED:
        return seal(previous, event) == event.content
    return chain_hash(previous, event) == event.hash


def seal(previous: bytes, event: Event) -> bytes:
    """A digest of all that a tombstone keeps, its hash among it, and of the hash before it in its run."""
    kept = _linked(previous, event, b"")
    return blake2b(kept + event.hash, digest_size=DIGEST_BYTES).digest()


def chain_hash(previous: bytes, event: Event) -> bytes:
    """SHA-256 of the previous hash, the event's numbers and marks, its texts, its facts, its digest and its data
    (`in_chain`).

    Numbers are packed big-endian (an absent `occurred_at` as -1). Texts follow with a zero byte after each, which no
    JSON text and no id contains, and the digest with its length before it, so that different events never give the same
    bytes.
    """
    return _linked(previous, event, event.content)


def _linked(previous: bytes, event: Event, content: bytes) -> bytes:
    occurred_at = -1 if event.occurred_at is None else event.occurred_at
    numbers = pack_numbers(
        event.org, event.position, event.run, event.seq, event.recorded_at,
        occurred_at, event.agent, event.late, event.future,
    )  # fmt: skip
    data = in_chain(event.data)
    return link(previous, numbers, event.type, event.dialect, event.event_id, event.facts_json, content, data)


def in_chain(data: bytes) -> bytes:
    """What an event's data is in the chain: itself, or where it is longer than LONG_DATA_BYTES, its SHA-256."""
    return data if len(data) <= LONG_DATA_BYTES else sha256(data).digest()


def link(
    previous: bytes,
    numbers: bytes,
    kind: EventType,
    dialect: str,
    event_id: str | None,
    facts_json: bytes,
    content: bytes,
    data: bytes,
) -> bytes:
    """The hash of an event before the event is made, so that it is constructed once.

    `numbers` are those of `pack_numbers`, `content` is the digest by which a repeat is known, `data` what `in_chain`
    gives.
    """
    texts = "\0".join((kind, dialect, event_id or "", "")).encode()
    length = _WITH_DIGEST if content else b"\0\0"
    return sha256(b"".join((previous, numbers, texts, facts_json, length, content, data))).digest()


def content_digest(text: bytes) -> bytes:
    """A digest of a JSON text; blanks between the tokens of a text longer than SPELLED_BYTES make no difference."""
    compact = text if len(text) <= SPELLED_BYTES else msgspec.json.format(text, indent=-1)
    return blake2b(compact, digest_size=DIGEST_BYTES).digest()
