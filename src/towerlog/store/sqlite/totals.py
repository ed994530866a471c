"""Roll-up cells added up by SQLite: however many there are, only the sums of one page leave the reading thread."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from towerlog.model.usage import MAX_SUM, Usage, UsageRow
from towerlog.store.sqlite import rows
from towerlog.store.values import UsageSpan

_HALF_BITS = 31
"""A figure is added up in two halves: past 64 bits SQLite would refuse the sum."""
_COUNTS = ("events", "runs_started", "runs_ended")
_SUMS = ", ".join(
    [f"sum({name})" for name in _COUNTS]
    + [f"sum({name} >> {_HALF_BITS}), sum({name} & {(1 << _HALF_BITS) - 1})" for name in rows.USAGE_FIGURES]
)
_COLUMNS = {"hour": "hour", "agent": "agent", "model": "model"}


def usage_by(db: apsw.Connection, org: int, by: str, span: UsageSpan, limit: int) -> list[UsageRow]:
    """The sums of the cells of each hour, agent or model."""
    column = _COLUMNS[by]
    where = "org = ? AND hour >= ? AND hour < ?"
    values: list[Any] = [org, span.since_hour, span.until_hour]
    for name, wanted in (("agent", span.agent), ("model", span.model)):
        if wanted is not None:
            where += f" AND {name} = ?"
            values.append(wanted)
    if span.after is not None:
        where += f" AND {column} > ?"
        values.append(span.after)
    sql = f"SELECT {column}, {_SUMS} FROM usage WHERE {where} GROUP BY {column} ORDER BY {column} LIMIT ?"
    return [_total(org, by, row) for row in db.execute(sql, (*values, limit))]


def _total(org: int, by: str, row: rows.Row) -> UsageRow:
    group, *counts = row[:4]
    halves = row[4:]
    figures = [_figure(high, low) for high, low in zip(halves[::2], halves[1::2], strict=True)]
    events, began, ended = counts
    total = UsageRow(org, 0, "", "", "", events, began, ended, Usage(*figures))
    return msgspec.structs.replace(total, **{by: group})


def _figure(high: int | None, low: int | None) -> int | None:
    """The whole sum, capped as sums are; None where no cell knew its figure."""
    if high is None or low is None:
        return None
    return max(-MAX_SUM, min((high << _HALF_BITS) + low, MAX_SUM))
