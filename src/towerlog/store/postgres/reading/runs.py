"""Runs: by id, by what their senders call them, by filters."""

from __future__ import annotations

from asyncio import timeout
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from towerlog.model.question import RunFilter, unindexed
from towerlog.model.run import RunRow
from towerlog.model.run_text import words_of
from towerlog.store.columns import rows
from towerlog.store.columns.questions.parents import child_condition
from towerlog.store.columns.questions.searches import MAX_SEARCH_MS, TEXT_PARTS, stretches
from towerlog.store.postgres.connections import MAX_PARAMETER, Db, numbered
from towerlog.store.postgres.per_org import each_org
from towerlog.store.postgres.reading.run_columns import quoted, tag
from towerlog.store.values import Found

Condition = tuple[str, tuple[Any, ...]]
"""SQL with a `?` for each value, and the values."""
_SAID = " OR ".join(f"position(? IN {part}) > 0" for part in TEXT_PARTS)
_HAS_WORD = (
    "(position(? IN names) > 0 OR"
    f" EXISTS (SELECT 1 FROM run_text WHERE run_text.org = run.org AND run_text.run = run.run AND ({_SAID})))"
)
"""That a run has a word in a name or in what it says."""


async def run(db: Db, org: int, run_id: str) -> RunRow | None:
    """A run by UUID."""
    doc = await db.value("SELECT doc FROM run WHERE org = $1 AND run_id = $2", org, run_id)
    return None if doc is None else rows.decode_run(doc)


async def run_ids_beginning(db: Db, org: int, prefix: str, limit: int) -> list[str]:
    """Run ids with a prefix, from the index alone."""
    # Ids are lower-case hexadecimal digits and dashes, so that nothing sorts after the prefix and `g`.
    sql = "SELECT run_id FROM run WHERE org = $1 AND run_id >= $2 AND run_id < $3 ORDER BY run_id LIMIT $4"
    return [row[0] for row in await db.rows(sql, org, prefix, prefix + "g", limit)]


async def runs(db: Db, org: int, wanted: RunFilter, limit: int, before: int | None) -> Found[RunRow]:
    """Runs, newest first, below a number; what no index helps with ends after MAX_SEARCH_MS, and says how far it has
    come."""
    where, values = await run_conditions(db, org, wanted)
    if unindexed(wanted) is not None:
        return await _searched(db, org, (where, values), limit, before)
    sql = numbered(f"SELECT doc FROM run WHERE {where} AND run < ? ORDER BY run DESC LIMIT ?")
    found = await db.rows(sql, *values, MAX_PARAMETER if before is None else before, limit)
    return rows.up_to_a_page(found, lambda row: rows.decode_run(row[0]))


async def _searched(
    db: Db, org: int, condition: tuple[str, list[Any]], limit: int, before: int | None
) -> Found[RunRow]:
    """Back from the newest, stretch by stretch, for as long as there is time."""
    where, values = condition
    bounds = "SELECT min(run), max(run) FROM run WHERE org = $1 AND run < $2"
    lowest, top = await db.row(bounds, org, MAX_PARAMETER if before is None else before)
    sql = numbered(f"SELECT doc FROM run WHERE {where} AND run >= ? AND run < ? ORDER BY run DESC LIMIT ?")
    if top is None:
        return Found()
    [(looked_to, _), *others] = stretches(top + 1, lowest)
    # The first is looked through in any case: whoever goes on from there comes to the end some day.
    docs = await db.rows(sql, *values, looked_to, top + 1, limit)
    with suppress(TimeoutError):
        async with timeout(MAX_SEARCH_MS / 1000):
            for first, end in others:
                if len(docs) >= limit:
                    break
                docs += await db.rows(sql, *values, first, end, limit - len(docs))
                looked_to = first
    found = rows.up_to_a_page(docs, lambda row: rows.decode_run(row[0]))
    if looked_to > lowest and len(docs) < limit and not found.cut:
        found.cut = True
        last = "SELECT doc FROM run WHERE org = $1 AND run >= $2 ORDER BY run LIMIT 1"
        found.searched_to = rows.decode_run(await db.value(last, org, looked_to))
    return found


async def run_conditions(db: Db, org: int, wanted: RunFilter) -> tuple[str, list[Any]]:
    """What a filter means in SQL with a `?` for each value, and the values."""
    conditions = ["org = ?"]
    values: list[Any] = [org]
    for condition, its_values in (*_on_columns(wanted), *_on_searched(wanted)):
        conditions.append(condition)
        values += its_values
    if wanted.parent_run_id is not None:
        parent = await run(db, org, wanted.parent_run_id)
        condition, names = child_condition(wanted.parent_run_id, parent)
        conditions.append(f"({condition})")
        values += names
    return " AND ".join(conditions), values


def _on_columns(wanted: RunFilter) -> Iterator[Condition]:
    for column in ("agent", "thread_id", "model", "persona_id"):
        value = getattr(wanted, column)
        if value is not None:
            yield f"{column} = ?", (value,)
    if wanted.statuses is not None:
        yield "status = ANY(?::text[])", ([status.value for status in wanted.statuses],)
    if wanted.since is not None:
        yield "began_at >= ?", (min(wanted.since, MAX_PARAMETER),)
    if wanted.until is not None:
        yield "began_at < ?", (min(wanted.until, MAX_PARAMETER),)


def _on_searched(wanted: RunFilter) -> Iterator[Condition]:
    """The conditions on what was worked out of the row for screens."""
    for word in words_of(wanted.q or ""):
        yield _HAS_WORD, (word,) * (1 + len(TEXT_PARTS))
    for name, value in wanted.metadata:
        yield _tagged(name, value)
    for name, value in wanted.labels:
        # For its workers, of its recorder, or any member of its metadata: as the scope of an alert rule means it.
        [digest] = rows.label_digests({name: value})
        lane = (
            "EXISTS (SELECT 1 FROM lane WHERE lane.org = run.org AND lane.run = run.run"
            f" AND label_set ~ ('^(.{{{rows.LABEL_DIGITS}}})*' || ?::text))"
        )
        told, named = _tagged(f"labels.{name}", value), _tagged(name, value)
        yield f"({lane} OR {told[0]} OR {named[0]})", (digest, *told[1], *named[1])
    if wanted.min_cost_nanos is not None:
        yield "cost_nanos >= ?", (wanted.min_cost_nanos,)
    if wanted.max_cost_nanos is not None:
        yield "cost_nanos <= ?", (wanted.max_cost_nanos,)
    if wanted.has_errors is not None:
        yield "failed = ?", (wanted.has_errors,)
    if wanted.silent is not None:
        yield "silent = ?", (wanted.silent,)


def _tagged(place: str, value: str) -> Condition:
    """A member of the metadata: as a text, or as what JSON writes for anything else."""
    tags = (tag(place, quoted(value)), tag(place, value.encode("utf-8", "surrogatepass")))
    return "(position(? IN tags) > 0 OR position(? IN tags) > 0)", tags


async def runs_by_number(db: Db, org: int, numbers: Sequence[int]) -> dict[int, RunRow]:
    """Runs of an organisation by number."""
    sql = "SELECT run, doc FROM run WHERE org = $1 AND run = ANY($2::bigint[])"
    return {row[0]: rows.decode_run(row[1]) for row in await db.rows(sql, org, list(numbers))}


async def newest_of_thread(db: Db, org: int, thread_id: str, limit: int) -> list[RunRow]:
    """The newest runs of a thread."""
    return await runs(db, org, RunFilter(thread_id=thread_id), limit, None)


async def runs_of_trace(db: Db, org: int, foreign_id: str, limit: int) -> list[RunRow]:
    """Runs of a trace: that of this foreign id, and the newest of those whose foreign ids are it, a colon and more."""
    where = "org = $1 AND foreign_id >= $2 AND foreign_id < $3"
    sql = f"SELECT doc FROM run WHERE {where} ORDER BY (foreign_id = $2) DESC, run DESC LIMIT $4"
    # A semicolon comes next after a colon.
    found = [rows.decode_run(row["doc"]) for row in await db.rows(sql, org, foreign_id, foreign_id + ";", limit)]
    return [row for row in found if (row.foreign_id or "")[len(foreign_id) :][:1] in ("", ":")]


async def runs_cancelling(db: Db, after: tuple[int, int], limit: int) -> list[RunRow]:
    """Runs that are being cancelled, by the time of the request."""
    where = "(cancel_requested_at, run) > ($1, $2)"
    columns, order = "cancel_requested_at, run, doc", "cancel_requested_at, run"
    sql = each_org("run", "status = 'cancelling'", columns, where, order, "$3")
    return [rows.decode_run(row["doc"]) for row in await db.rows(sql, *after, limit)]


async def runs_silent(db: Db, noted: bool, before_ms: int, after: tuple[int, int], limit: int) -> list[RunRow]:
    """Runs whose silence is timed and may have lasted since before this time, the longest silent first."""
    where = "quiet = $1 AND seen_at <= $2 AND (seen_at, run) > ($3, $4)"
    sql = each_org("run", "seen_at IS NOT NULL", "seen_at, run, doc", where, "seen_at, run", "$5")
    return [rows.decode_run(row["doc"]) for row in await db.rows(sql, noted, before_ms, *after, limit)]
