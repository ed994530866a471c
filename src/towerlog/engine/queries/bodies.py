"""What a run was given and what it gave: taken out of the bodies of its events, as readers of a run want it.

The events keep what was sent. An input is the member `input` of what queued the run or reported its start; a result is
the member `result` (else `output`) of a completed run's end, and the whole of an end that has neither.
"""

from __future__ import annotations

import msgspec

from towerlog.dialects.reading.event_members import produced
from towerlog.model.event import Event, EventType, sound
from towerlog.model.run import RunRow
from towerlog.store.base import Store

_STARTS = frozenset({EventType.RUN_QUEUED, EventType.RUN_STARTED})
_NULL = msgspec.Raw(b"null")
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def input_and_result(store: Store, row: RunRow) -> tuple[bytes | None, bytes | None]:
    """JSON text of both, None for what there is not. Raises Damaged."""
    found = await store.events_at(row.org, row.run, [1, *([row.ended_seq] if row.ended_seq else [])])
    start = sound(found.get(1), row.run_id)
    if start is not None and start.type not in _STARTS:
        # Other events overtook the start.
        starts = await store.events(row.org, row.run, 0, 1, [EventType.RUN_STARTED])
        start = sound(starts[0] if starts else None, row.run_id)
    end = sound(found.get(row.ended_seq or 0), row.run_id)
    return None if start is None else _given(_decode(start.data).get("input", _NULL)), None if end is None else _result(
        end
    )


def _result(end: Event) -> bytes | None:
    if end.type is not EventType.RUN_COMPLETED:
        return None
    told = produced(end.data)
    if told is not None:
        return _given(told)
    return end.data if _decode(end.data) else None


def _given(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text == b"null" else text
