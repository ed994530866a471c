"""Parents of runs, and what is below a run: level by level, a few questions each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from towerlog.model.run import RunRow
from towerlog.store.columns import rows
from towerlog.store.columns.questions.parents import child_condition, names_of, passed_over
from towerlog.store.lookup_keys import Family, Parent
from towerlog.store.postgres.connections import Db, numbered
from towerlog.store.values import MAX_DESCENDANTS, MAX_FAMILY, Found, Spread

PARENTS_AT_ONCE = 200
"""Runs of which one question asks whether any of them has children."""
_LEAN = "run, run_id, thread_id, trace_id, foreign_id, status"


async def run_ids_of_parents(db: Db, org: int, children: Sequence[RunRow]) -> dict[int, str]:
    """Parents' run ids by the numbers of their children."""
    named = [child for child in children if child.parent_key]
    keys = [(child.parent_key or "").partition(":") for child in named]
    sql = (
        "SELECT child.run, parent.run_id FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[])"
        " AS child (run, kind, name, thread_id) CROSS JOIN LATERAL"
        " (SELECT run_id FROM run WHERE org = $1 AND run.run_id = child.name AND child.kind = 'run'"
        " AND run.run <> child.run UNION ALL"
        " (SELECT run_id FROM run WHERE org = $1 AND run.foreign_id = child.name AND child.kind = 'foreign'"
        " AND run.run <> child.run ORDER BY run.run DESC LIMIT 1) UNION ALL"
        " (SELECT run_id FROM run WHERE org = $1 AND run.trace_id = child.name"
        " AND child.kind NOT IN ('run', 'foreign') AND child.name <> '' AND run.run <> child.run"
        " ORDER BY run.thread_id = child.thread_id DESC, run.run < child.run DESC,"
        " CASE WHEN run.run < child.run THEN -run.run ELSE run.run END LIMIT 1)) AS parent"
    )
    values = ([child.run for child in named], [key[0] for key in keys], [key[2] for key in keys])
    found = await db.rows(sql, org, *values, [child.thread_id for child in named])
    return {row[0]: row[1] for row in found}


async def run_children(db: Db, org: int, run: RunRow | Parent, limit: int) -> Found[RunRow]:
    """Direct children, oldest first; a run is no child of its own."""
    condition, values = child_condition(run.run_id, run)
    sql = numbered(f"SELECT doc FROM run WHERE org = ? AND {condition} ORDER BY run LIMIT ?")
    found = await db.rows(sql, org, *values, limit)
    return rows.up_to_a_page(found, lambda row: rows.decode_run(row[0]))


async def run_descendants(db: Db, org: int, run: RunRow | Parent, limit: int) -> list[RunRow]:
    """Runs below this one, level by level; a loop of parents ends where it closes."""
    numbers: list[int] = []
    async for one, _ in _below(db, org, run):
        if len(numbers) >= limit:
            break
        numbers.append(one.run)
    return await _rows(db, org, numbers)


async def open_below(db: Db, family: Family) -> Found[RunRow]:
    """The first MAX_FAMILY of the runs below one that are asked for."""
    parent, passed = family.parent, passed_over(family)
    numbers: list[int] = []
    async for one, status in _below(db, parent.org, parent):
        if status not in passed:
            numbers.append(one.run)
        if len(numbers) > MAX_FAMILY:
            break
    found = Found(await _rows(db, parent.org, numbers[:MAX_FAMILY]))
    found.cut = len(numbers) > MAX_FAMILY
    return found


async def spreads(db: Db, limit: int) -> list[Spread]:
    """Cancels that have not reached all runs below theirs."""
    found = await db.rows("SELECT doc FROM cancel_spread ORDER BY org, run LIMIT $1", limit)
    return [rows.decode_spread(row[0]) for row in found]


async def _below(db: Db, org: int, top: RunRow | Parent) -> AsyncIterator[tuple[Parent, str]]:
    """Name and status of the runs below one, level by level, at most MAX_DESCENDANTS; never the run itself."""
    seen = {top.run}
    level: Sequence[RunRow | Parent] = [top]
    while level and len(seen) <= MAX_DESCENDANTS:
        below: list[Parent] = []
        for parent in await _with_children(db, org, level):
            condition, values = child_condition(parent.run_id, parent)
            sql = numbered(f"SELECT {_LEAN} FROM run WHERE org = ? AND {condition} ORDER BY run")
            for number, run_id, thread_id, trace_id, foreign_id, status in await db.rows(sql, org, *values):
                if number not in seen and len(seen) <= MAX_DESCENDANTS:
                    seen.add(number)
                    below.append(Parent(number, org, run_id, thread_id, trace_id, foreign_id or ""))
                    yield below[-1], status
        level = below


async def _with_children(db: Db, org: int, parents: Sequence[RunRow | Parent]) -> list[RunRow | Parent]:
    """Those that any run names as its parent: most have none, and one question for each would take long."""
    found: list[RunRow | Parent] = []
    for start in range(0, len(parents), PARENTS_AT_ONCE):
        some = parents[start : start + PARENTS_AT_ONCE]
        names = [names_of(parent) for parent in some]
        wanted = sorted({name for of_one in names for name in of_one})
        sql = "SELECT DISTINCT parent_key FROM run WHERE org = $1 AND parent_key = ANY($2::text[])"
        named = {row[0] for row in await db.rows(sql, org, wanted)}
        found += [parent for parent, of_one in zip(some, names, strict=True) if not named.isdisjoint(of_one)]
    return found


async def _rows(db: Db, org: int, numbers: Sequence[int]) -> list[RunRow]:
    """Whole rows, in this order."""
    if not numbers:
        return []
    found = await db.rows("SELECT run, doc FROM run WHERE org = $1 AND run = ANY($2::bigint[])", org, list(numbers))
    docs = {row[0]: row[1] for row in found}
    return [rows.decode_run(docs[number]) for number in numbers if number in docs]
