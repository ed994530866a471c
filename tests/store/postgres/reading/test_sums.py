"""What runs have used, in PostgreSQL: the figures of their rows, added up as unknown ones are."""

from __future__ import annotations

import msgspec

from tests.support.factories import run_row
from towerlog.model.question import RunFilter
from towerlog.model.usage import MAX_SUM, RunSum, Usage
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.values import Changes, RunChange


async def test_runs_are_added_up_by_what_they_have_in_common(store: PostgresStore, org: int, other: int) -> None:
    used = [
        Usage(input_tokens=3, cost_nanos=5),
        Usage(cost_nanos=7, computed_nanos=1),
        Usage(input_tokens=MAX_SUM, cost_nanos=MAX_SUM),
        Usage(output_tokens=2),
    ]
    rows = [
        msgspec.structs.replace(run_row(n, org=org), agent=agent, usage=usage)
        for n, (agent, usage) in enumerate(zip(("a", "a", "b", None), used, strict=True), 1)
    ]
    rows.append(msgspec.structs.replace(run_row(1, org=other), agent="a", usage=used[0]))
    async with store.begin() as unit:
        await unit.commit(Changes(runs={row.run: RunChange(None, row) for row in rows}))
    sums = await store.run_sums(org, "agent", RunFilter(), 10)
    assert sums == [
        RunSum("b", 1, used[2]),
        RunSum("a", 2, Usage(input_tokens=3, cost_nanos=12, computed_nanos=1)),
        RunSum(None, 1, used[3]),
    ]
    assert await store.run_sums(org, "agent", RunFilter(), 1) == sums[:1]
    [whole] = await store.run_sums(org, "day", RunFilter(agent="a"), 10) or []
    assert whole.runs == 2
