"""What a run was given and what it gave: taken out of the bodies of its events, as readers of a run want it.

The events keep what was sent. An input is the member `input` of what queued the run or reported its start; what a
result is says `result_of`.
"""

from __future__ import annotations

import msgspec

from towerlog.dialects.views.event_members import result_of
from towerlog.model.event import EventType, sound
from towerlog.model.run import RunRow
from towerlog.store.base import LogStore

_STARTS = frozenset({EventType.RUN_QUEUED, EventType.RUN_STARTED})
_NULL = msgspec.Raw(b"null")
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def input_and_result(store: LogStore, row: RunRow) -> tuple[bytes | None, bytes | None]:
    """JSON text of both, None for what there is not. Raises Damaged."""
    found = await store.events_at(row.org, row.run, [1, *([row.ended_seq] if row.ended_seq else [])])
    start = sound(found.get(1), row.run_id)
    if start is not None and start.type not in _STARTS:
        # Other events overtook the start.
        starts = await store.events(row.org, row.run, 0, 1, [EventType.RUN_STARTED])
        start = sound(starts[0] if starts else None, row.run_id)
    end = sound(found.get(row.ended_seq or 0), row.run_id)
    given = None if start is None else _given(_decode(start.data).get("input", _NULL))
    return given, None if end is None else result_of(end)


def _given(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text == b"null" else text
