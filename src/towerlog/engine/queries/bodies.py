"""What a run was given and what it gave: taken out of the bodies of its events, as readers of a run want it.

The events keep what was sent. An input is the member `input` of what queued the run or reported its start; what a
result is says `result_of`. Of a completed run whose runner saves its conversation it is what the model said last there.
"""

from __future__ import annotations

import msgspec

from towerlog.dialects.views.event_members import produced, result_of
from towerlog.dialects.views.said import SAVES_STATE, model_text
from towerlog.errors import Damaged
from towerlog.model.event import Event, EventType, sound
from towerlog.model.run import RunRow, Status
from towerlog.store.base import Store

MAX_LAST_MESSAGES = 4
"""Messages at the end of a conversation in which its outcome is looked for."""
_SPANS = "otlp"
"""The dialect of events that are spans."""
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
    given = None if start is None else _given(_decode(start.data).get("input", _NULL))
    result = None if end is None or _is_span_alone(end) else result_of(end, row.source)
    if result is None and row.source == SAVES_STATE and row.status is Status.COMPLETED:
        result = await _said_last(store, row)
    return given, result


def _is_span_alone(end: Event) -> bool:
    """Whether an end is a span that has produced nothing: what it says is about the run. A search looks through it."""
    return end.dialect == _SPANS and produced(end.data) is None


async def _said_last(store: Store, row: RunRow) -> bytes | None:
    """What the model said last in a run's newest checkpoint, as JSON text; None where its last messages say nothing."""
    state = await store.checkpoint_latest_of_run(row.org, row.run)
    if state is None or not state.node:
        return None
    try:
        messages = await store.history(row.org, bytes.fromhex(state.node), min(state.length, MAX_LAST_MESSAGES))
    except Damaged:
        return None
    text = next(filter(None, map(model_text, reversed(messages))), None)
    return None if text is None else msgspec.json.encode(text)


def _given(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text == b"null" else text
