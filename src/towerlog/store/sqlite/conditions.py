"""What a filter of runs means in SQL, where it asks for something that has no column: a look into each row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from towerlog.model.question import RunFilter
from towerlog.model.run import Status

_TEXT = "CAST(doc AS TEXT)"
"""A row is JSON text that is kept as bytes, which SQLite would take for JSON of its own."""
_FAILED = f"status IN ('{Status.FAILED}', '{Status.LOST}')"

Condition = tuple[str, tuple[Any, ...]]
"""SQL and its values."""


def within_rows(wanted: RunFilter) -> Iterator[Condition]:
    """The conditions on what has no column."""
    for name, value in wanted.metadata:
        yield f"{_TEXT} -> ? IN (?, ?)", (f'$.metadata."{name}"', _quoted(value), value)
    for name, value in wanted.labels:
        # For its workers, of its recorder, or any member of its metadata: as the scope of an alert rule means it.
        lane = "EXISTS (SELECT 1 FROM lane WHERE lane.run = run.run AND CAST(lane.doc AS TEXT) -> ? = ?)"
        told = f"{_TEXT} -> ? IN (?, ?)"
        places = (f'$.metadata.labels."{name}"', f'$.metadata."{name}"')
        values = [part for place in places for part in (place, _quoted(value), value)]
        yield f"({lane} OR {told} OR {told})", (f'$.labels."{name}"', _quoted(value), *values)
    cost = f"{_TEXT} ->> '$.usage.cost_nanos'"
    if wanted.min_cost_nanos is not None:
        yield f"{cost} >= ?", (wanted.min_cost_nanos,)
    if wanted.max_cost_nanos is not None:
        yield f"{cost} <= ?", (wanted.max_cost_nanos,)
    if wanted.has_errors is not None:
        errors = f"({_FAILED} OR {_TEXT} ->> '$.error' IS NOT NULL)"
        yield errors if wanted.has_errors else f"NOT {errors}", ()
    if wanted.silent is not None:
        # The row of an ended run still has it; nobody waits for that one.
        silent = f"({_TEXT} ->> '$.silent_at' IS NOT NULL AND {_TEXT} ->> '$.ended_at' IS NULL)"
        yield silent if wanted.silent else f"NOT {silent}", ()


def _quoted(value: str) -> str:
    """As JSON text: what a row says of a text. A number or a word of JSON stands there as it is."""
    return msgspec.json.encode(value).decode()
