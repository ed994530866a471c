"""The hash chain: nothing of an event can be changed, moved or left out unseen."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from towerlog.model.chain import chain_hash, link
from towerlog.model.event import Event, EventType

EVENT = Event(1, 2, 3, 4, EventType.STEP, 5, b'{"a":1}')
OTHERS: dict[str, Any] = {
    "org": 9,
    "position": 9,
    "run": 9,
    "seq": 9,
    "type": EventType.OTHER,
    "recorded_at": 9,
    "data": b'{"a":2}',
    "facts_json": b"{}",
    "dialect": "steps",
    "occurred_at": 9,
    "event_id": "e",
    "content": b"d" * 16,
    "agent": 9,
    "late": True,
    "future": True,
}


@pytest.mark.parametrize("field", OTHERS)
def test_every_field_is_covered(field: str) -> None:
    assert chain_hash(b"", msgspec.structs.replace(EVENT, **{field: OTHERS[field]})) != chain_hash(b"", EVENT)


def test_a_digest_is_not_taken_for_the_beginning_of_the_data() -> None:
    digest = b"d" * 16
    parts = [(digest, b"rest"), (b"", digest + b"rest"), (b"", b"\0\x10" + digest + b"rest")]
    assert len({link(b"", b"", EventType.STEP, "steps", None, b"{}", *one) for one in parts}) == len(parts)


def test_the_event_before_is_covered() -> None:
    assert chain_hash(b"one", EVENT) != chain_hash(b"two", EVENT)


def test_the_same_event_has_the_same_hash() -> None:
    assert chain_hash(b"one", EVENT) == chain_hash(b"one", msgspec.structs.replace(EVENT))
    assert len(chain_hash(b"", EVENT)) == 32
