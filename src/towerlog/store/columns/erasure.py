"""Erasures, whatever the database: what one step may do and has taken out, what it leaves of each kind of row, and two
erasures made one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from towerlog.model.alert import AlertRow
from towerlog.model.delivery import Delivery, DeliveryBody, DeliveryState
from towerlog.model.event import Event, EventType
from towerlog.model.facts import Erases
from towerlog.model.retention import Erasing
from towerlog.model.tombstone import covers, is_bare, original_type, tombstone
from towerlog.store.columns import rows, state

STEP_ROWS = 256
STEP_BYTES = 1024 * 1024
"""Of one step: some ms of a writer's time."""
REPLIES_AT_ONCE = 1000
"""Stored replies that a step looks through."""
_SCOPES = list(Erases)
_WAS_ERASED = "What it was about was erased."
_replace = msgspec.structs.replace

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


class ErasedEvents:
    """Replaces events by tombstones, in one step."""

    def __init__(self, erasing: Erasing, room: Room) -> None:
        """Goes on from where `erasing` has come, as far as `room` goes."""
        self._erasing, self._room = erasing, room
        self._gone, self._deltas = Gone(), Gone()
        self._nodes: list[str] = []
        self._metas: list[str] = []

    def take(self, event: Event, body_bytes: int, before: bytes) -> Event | None:
        """What is left of the next event; None where it stays as it is.

        `body_bytes`: of its body as stored. `before`: the hash before it in its run.
        """
        erasing = self._erasing = _replace(self._erasing, after_seq=event.seq)
        self._room.take()
        if not covers(erasing.scope, event) or is_bare(event, erasing.scope):
            return None
        checkpoint = event.effects.checkpoint
        if checkpoint is not None:
            held = checkpoint.held
            self._nodes += [key for key in (checkpoint.node, held.node if held else "") if key]
            self._metas += [key for key in (checkpoint.metas, held.metas if held else "") if key]
        size = body_bytes + len(event.facts_json)
        self._erasing = _freed_with(erasing, event, size)
        (self._deltas if original_type(event) is EventType.MESSAGE_DELTA else self._gone).add(size)
        self._room.take(size)
        return tombstone(event, erasing.scope, before)

    def done(self) -> Erasing:
        """The erasure after them."""
        gone, deltas = self._gone, self._deltas
        left = with_content(self._erasing, self._nodes, self._metas)
        return left.counted("events", gone.count, gone.size).counted("deltas", deltas.count, deltas.size)


def with_content(erasing: Erasing, nodes: Iterable[str], metas: Iterable[str]) -> Erasing:
    """With more keys of content that nothing of the run points at any more, each once."""
    return _replace(
        erasing,
        nodes=tuple(dict.fromkeys([*erasing.nodes, *nodes])),
        metas=tuple(dict.fromkeys([*erasing.metas, *metas])),
    )


def _freed_with(erasing: Erasing, event: Event, size: int) -> Erasing:
    """With an event of so many bytes erased, body and facts: see `HeldBytes`. What was a tombstone was held no more."""
    if event.type in UNCOUNTED:
        return erasing
    deltas = size if event.type is EventType.MESSAGE_DELTA else 0
    checkpoints = size if event.type is EventType.CHECKPOINT else 0
    return erasing.with_freed(deltas=deltas, checkpoints=checkpoints, events=size)


def lane_left(doc: bytes) -> bytes:
    """A lane without its labels, and without the last words of its worker."""
    *_, left = rows.lane_row(_replace(rows.decode_lane(doc), labels={}, phase=None, log_line=None))
    return bytes(left)


def alert_left(alert: AlertRow) -> bytes:
    """The doc of an alert that says nothing of its run."""
    *_, doc = state.alert_row(_replace(alert, message=""))
    return bytes(doc)


def told_left(told: DeliveryBody) -> bytes:
    """The doc of what messages tell. What is not written as a delivery yet goes with it."""
    *_, doc = state.body_row(_replace(told, unwritten=()))
    return bytes(doc)


def delivery_left(delivery: Delivery) -> Delivery | None:
    """A delivery without its link; one that was not sent is not sent any more. None where it stays as it is."""
    if delivery.state is DeliveryState.PENDING:
        return _replace(delivery, link=None, state=DeliveryState.FAILED, due_at=None)
    return None if delivery.link is None else _replace(delivery, link=None)


def is_about(erasing: Erasing, run: int | None, ids: bytes, body: bytes) -> bool:
    """Whether a stored reply tells of the run that is erased."""
    return run == erasing.run or erasing.run_id.encode() in ids or erasing.run_id.encode() in body


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
    """Merges two requests for erasure: the wider scope, from the beginning, up to the later end."""
    scope = max(known.scope, newer.scope, key=scope_place)
    until, counts = max(known.until_seq, newer.until_seq), known.counts
    nodes, metas = known.nodes, known.metas
    return _replace(newer, scope=scope, until_seq=until, counts=counts, nodes=nodes, metas=metas)
