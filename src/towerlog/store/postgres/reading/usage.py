"""Sums of roll-up cells."""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.computed_costs import merged_version
from towerlog.model.usage import MAX_SUM, Usage, UsageRow
from towerlog.store.columns import rows
from towerlog.store.postgres.connections import MAX_PARAMETER, Db, numbered, told_text
from towerlog.store.values import UsageSpan

# Sums of 64-bit numbers are numeric. As sums are that do not fit: MAX_SUM, and so are those of one that did not.
FIGURE_SUMS = ", ".join(
    f"CASE WHEN max({name}) = {MAX_SUM} THEN {MAX_SUM} WHEN max({name}) IS NOT NULL"
    f" THEN greatest(-{MAX_SUM}, least(sum({name}), {MAX_SUM}))::bigint END"
    for name in rows.USAGE_FIGURES
)
"""What is selected for the sums of all figures, in the order of `Usage`."""
_COUNTS = ", ".join(f"sum({name})::bigint" for name in ("events", "runs_started", "runs_ended"))
_SUMS = f"{_COUNTS}, {FIGURE_SUMS}, min(price_version), max(price_version)"
_COLUMNS = {"hour": "hour", "agent": "agent", "model": "model"}


async def usage_by(db: Db, org: int, by: str, span: UsageSpan, limit: int) -> list[UsageRow]:
    """The sums of the cells of each hour, agent or model."""
    column = _COLUMNS[by]
    where = "org = ? AND hour >= ? AND hour < ?"
    values: list[Any] = [org, min(span.since_hour, MAX_PARAMETER), min(span.until_hour, MAX_PARAMETER)]
    for name, wanted in (("agent", span.agent), ("model", span.model)):
        if wanted is not None:
            where += f" AND {name} = ?"
            values.append(wanted)
    if span.after is not None:
        where += f" AND {column} > ?"
        values.append(span.after)
    # Cells whose events were all moved to a model that was named late are left with nothing.
    some = "HAVING sum(events) <> 0 OR sum(runs_started) <> 0 OR sum(runs_ended) <> 0"
    sql = f"SELECT {column}, {_SUMS} FROM usage WHERE {where} GROUP BY {column} {some} ORDER BY {column} LIMIT ?"
    found = await db.rows(numbered(sql), *values, min(limit, MAX_PARAMETER))
    return [_total(org, by, tuple(row)) for row in found]


def _total(org: int, by: str, row: rows.Row) -> UsageRow:
    group, events, began, ended = row[:4]
    *figures, version, last_version = row[4:]
    total = UsageRow(org, 0, "", "", "", events, began, ended, Usage(*figures), merged_version(version, last_version))
    return msgspec.structs.replace(total, **{by: told_text(group) if isinstance(group, str) else group})
