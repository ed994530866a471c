"""How far an erasure has come: what one step may still do, what it has taken out, and two erasures made one; and what
it leaves of a stored reply."""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.event import Event, EventType
from towerlog.model.facts import Erases
from towerlog.model.retention import Erasing

_SCOPES = list(Erases)
_WAS_ERASED = "What it was about was erased."


UNCOUNTED = (EventType.ERASED, EventType.RUN_ERASED)
"""Types of events that hold nothing which could be erased."""
UNCOUNTED_SQL = ", ".join(f"'{kind}'" for kind in UNCOUNTED)


class Room:
    """What one step may still do."""

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        """So many rows, and so many bytes as stored, as far as the last row does not go beyond."""
        self.rows = max_rows
        self.bytes = max_bytes

    def take(self, size: int = 0) -> None:
        """One row more."""
        self.rows -= 1
        self.bytes -= size

    @property
    def is_left(self) -> bool:
        """Whether anything more may be done."""
        return self.rows > 0 and self.bytes > 0


class Gone:
    """What was taken out."""

    def __init__(self) -> None:
        """Nothing."""
        self.count = self.size = 0

    def add(self, size: int | None) -> None:
        """One more."""
        self.count += 1
        self.size += size or 0


def freed_with(erasing: Erasing, event: Event, size: int) -> Erasing:
    """With an event of so many bytes erased, body and facts: see `HeldBytes`. What was a tombstone was held no more."""
    if event.type in UNCOUNTED:
        return erasing
    deltas = size if event.type is EventType.MESSAGE_DELTA else 0
    checkpoints = size if event.type is EventType.CHECKPOINT else 0
    return erasing.with_freed(deltas=deltas, checkpoints=checkpoints, events=size)


def ids_left(ids: bytes) -> bytes:
    """Of what a reply can be made again of (`StoredReply.ids`): all but what people and programs have said in it, which
    are the pending commands, the members of no use, and why something was refused."""
    left: dict[str, Any] = msgspec.json.decode(ids or b"{}")
    for item in left.get("items", ()):
        if (stored := item.get("stored")) is not None:
            stored.update(commands=[], unused=[])
        if (refusal := item.get("refusal")) is not None:
            refusal.update(message=_WAS_ERASED, field=None)
    return msgspec.json.encode(left) if ids else ids


def scope_place(kind: Erases) -> int:
    """The place of a kind among all, the narrowest first."""
    return _SCOPES.index(kind)


def both(known: Erasing, newer: Erasing) -> Erasing:
    """One erasure for two: the wider scope, from the beginning, up to the later end."""
    scope = max(known.scope, newer.scope, key=scope_place)
    until, counts = max(known.until_seq, newer.until_seq), known.counts
    nodes, metas = known.nodes, known.metas
    return msgspec.structs.replace(newer, scope=scope, until_seq=until, counts=counts, nodes=nodes, metas=metas)
