"""What is read from SQLite: one function a question, each `(connection, …) -> values`, run in a reader's thread.

Every question names the organisation; keys that carry it in their high bits are bounded by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw
import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.computed_costs import merged_version
from towerlog.model.key import Key, KeyFound
from towerlog.model.principal import Org, shard_bounds
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow
from towerlog.model.run_text import words_of
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import MAX_SUM, Usage, UsageRow
from towerlog.store.columns import rows
from towerlog.store.columns.order import advanced, falling
from towerlog.store.columns.questions.parents import child_condition
from towerlog.store.columns.removal import HIDDEN, IN_USE
from towerlog.store.sqlite.conditions import within_rows
from towerlog.store.sqlite.connections.connection import LOWER
from towerlog.store.sqlite.connections.transaction import refuse_moved
from towerlog.store.sqlite.descent import OF_A_CHILD
from towerlog.store.sqlite.texts import has_word
from towerlog.store.values import MAX_OWN_STATES, MAX_STATES, Found, RunWithState, UsageSpan

SEARCH_CHECK_STEPS = 10_000
"""Instructions of SQLite's machine between two looks at the clock."""
MAX_INTEGER = 2**62
_HALF_BITS = 31
"""A figure is added up in two halves: past 64 bits SQLite would refuse the sum."""


def halves(name: str) -> str:
    """What is selected of a figure for its sum, see `figure_of`."""
    return f"sum({name} >> {_HALF_BITS}), sum({name} & {(1 << _HALF_BITS) - 1}), max({name})"


_COUNTS = ("events", "runs_started", "runs_ended")
_SUMS = ", ".join(
    [f"sum({name})" for name in _COUNTS]
    + [halves(name) for name in rows.USAGE_FIGURES]
    + ["min(price_version)", "max(price_version)"]
)
_COLUMNS = {"hour": "hour", "agent": "agent", "model": "model"}
_NEWEST = "run DESC, step_index DESC, position DESC"


def one(db: apsw.Connection, sql: str, values: Sequence[Any]) -> Any:
    """The first column of the first row, None when there is none."""
    return db.execute(sql, tuple(values)).get


def marks(count: int) -> str:
    """`?, ?, ?` for an IN list."""
    return ", ".join("?" * count)


def ping(db: apsw.Connection) -> None:
    """Reads real pages, from the file and not from memory: what every question needs, and the newest event.

    Nearly all of that may be read from the log by now. The list of migrations is written once and then lies in the
    database. Raises StoreMoved where its path leads to that file no more.
    """
    refuse_moved(db)
    db.release_memory()
    one(db, "SELECT max(number) FROM migration", ())
    newest = one(db, "SELECT max(key) FROM event", ())
    one(db, "SELECT hash FROM event WHERE key = ?", (newest,))
    one(db, "SELECT value FROM meta WHERE name = 'epoch'", ())


def orgs(db: apsw.Connection) -> list[Org]:
    """All organisations that are not removed."""
    sql = f"SELECT org, org_id, name, created_at FROM org WHERE {HIDDEN} ORDER BY org"
    return [rows.org_value(row) for row in db.execute(sql)]


def org(db: apsw.Connection, number: int) -> Org | None:
    """One organisation."""
    row = db.execute("SELECT org, org_id, name, created_at FROM org WHERE org = ?", (number,)).fetchone()
    return None if row is None else rows.org_value(row)


def key_by_digest(db: apsw.Connection, digest: bytes) -> KeyFound | None:
    """A key by the hash of its text."""
    columns = ", ".join(f"api_key.{name}" for name in rows.KEY_COLUMNS.split(", "))
    sql = f"SELECT org.org_id, {columns} FROM api_key JOIN org USING (org) WHERE digest = ? AND {IN_USE}"
    for row in db.execute(sql, (digest,)):
        return KeyFound(rows.key_value(row[1:]), row[0])
    return None


def newest_first(
    db: apsw.Connection,
    table: str,
    columns: str,
    where: str,
    values: tuple[Any, ...],
    page: tuple[str, str | None, int],
) -> Iterator[tuple[Any, ...]]:
    """Rows of an organisation by the order in which they were made, the last first. `values`: the organisation, then
    those of `where`, which begins with AND or is empty; `page`: the column of an id, the id that it goes on behind, and
    how many at most."""
    by, before, limit = page
    number = None
    if before is not None:
        number = one(db, f"SELECT number FROM {table} WHERE org = ? AND {by} = ?", (values[0], before))
        if number is None:
            return
        where, values = f"{where} AND number < ?", (*values, number)
    sql = f"SELECT {columns}, number FROM {table} WHERE org = ? {where} ORDER BY number DESC LIMIT ?"
    yield from falling(table, number, db.execute(sql, (*values, limit)))


def keys(db: apsw.Connection, org: int, limit: int, before: str | None) -> list[Key]:
    """Keys, the last that was made first."""
    found = newest_first(db, "api_key", rows.KEY_COLUMNS, "", (org,), ("key_id", before, limit))
    return [rows.key_value(row) for row in found]


def run(db: apsw.Connection, org: int, run_id: str) -> RunRow | None:
    """A run by UUID."""
    doc = one(db, "SELECT doc FROM run WHERE org = ? AND run_id = ?", (org, run_id))
    return None if doc is None else rows.decode_run(doc)


def run_ids_beginning(db: apsw.Connection, org: int, prefix: str, limit: int) -> list[str]:
    """Run ids with a prefix, from the index alone."""
    # Ids are lower-case hexadecimal digits and dashes, so that nothing sorts after the prefix and `g`.
    sql = "SELECT run_id FROM run WHERE org = ? AND run_id >= ? AND run_id < ? ORDER BY run_id LIMIT ?"
    return [row[0] for row in db.execute(sql, (org, prefix, prefix + "g", limit))]


def runs(db: apsw.Connection, org: int, wanted: RunFilter, limit: int, before: int | None) -> Found[RunRow]:
    """Runs, newest first, below a number."""
    where, values = run_conditions(db, org, wanted)
    lowest, highest = shard_bounds(org)
    # The numbers first: where SQLite has to sort, it sorts them and not whole rows.
    numbers = f"SELECT run FROM run WHERE run >= ? AND run < ?{where} ORDER BY run DESC LIMIT ?"
    sql = f"SELECT doc FROM run WHERE run IN ({numbers}) ORDER BY run DESC"
    top = highest if before is None else before
    return rows.up_to_a_page(db.execute(sql, (lowest, top, *values, limit)), lambda row: rows.decode_run(row[0]))


@contextmanager
def within(db: apsw.Connection, until: int, steady_ms: Callable[[], int]) -> Iterator[None]:
    """What is asked in here ends at this time, with InterruptError."""
    db.set_progress_handler(lambda: steady_ms() > until, SEARCH_CHECK_STEPS)
    try:
        yield
    finally:
        db.set_progress_handler(None)


def run_conditions(db: apsw.Connection, org: int, wanted: RunFilter) -> tuple[str, list[Any]]:
    """What a filter means in SQL, each condition behind an AND, and its values."""
    # The unary plus keeps SQLite on the primary key, whose order is the answer's, unless a column has its own index.
    indexed = (wanted.agent, wanted.thread_id, wanted.statuses, wanted.since, wanted.until, wanted.parent_run_id)
    where = " AND +org = ?" if all(value is None for value in indexed) else " AND org = ?"
    values: list[Any] = [org]
    for column in ("agent", "thread_id", "model", "persona_id"):
        value = getattr(wanted, column)
        if value is not None:
            where += f" AND {column} = ?"
            values.append(value)
    if wanted.statuses is not None:
        where += f" AND status IN ({marks(len(wanted.statuses))})"
        values += wanted.statuses
    if wanted.since is not None:
        where += " AND began_at >= ?"
        values.append(wanted.since)
    if wanted.until is not None:
        where += " AND began_at < ?"
        values.append(wanted.until)
    if wanted.parent_run_id is not None:
        parent = run(db, org, wanted.parent_run_id)
        condition, names = child_condition(wanted.parent_run_id, parent)
        where += f" AND {condition}"
        values += names
    words = (has_word(word, "lower" if word.isascii() else LOWER) for word in words_of(wanted.q or ""))
    for condition, its_values in (*words, *within_rows(wanted)):
        where += f" AND {condition}"
        values += its_values
    return where, values


def runs_by_number(db: apsw.Connection, org: int, numbers: Sequence[int]) -> dict[int, RunRow]:
    """Runs of an organisation by number."""
    found = db.execute(f"SELECT run, doc FROM run WHERE +org = ? AND run IN ({marks(len(numbers))})", (org, *numbers))
    return {row[0]: rows.decode_run(row[1]) for row in found}


def runs_of_trace(db: apsw.Connection, org: int, foreign_id: str, limit: int) -> list[RunRow]:
    """Runs of a trace: that of this foreign id, and the newest of those whose foreign ids are it, a colon and more."""
    where = "org = ?1 AND foreign_id >= ?2 AND foreign_id < ?3"
    sql = f"SELECT doc FROM run WHERE {where} ORDER BY foreign_id = ?2 DESC, run DESC LIMIT ?4"
    # A semicolon comes next after a colon.
    found = db.execute(sql, (org, foreign_id, foreign_id + ";", limit))
    rows_of = (rows.decode_run(row[0]) for row in found)
    return [row for row in rows_of if (row.foreign_id or "")[len(foreign_id) :][:1] in ("", ":")]


def thread(db: apsw.Connection, org: int, thread_id: str) -> ThreadRow | None:
    """A thread by id."""
    doc = one(db, "SELECT doc FROM thread WHERE org = ? AND thread_id = ?", (org, thread_id))
    return None if doc is None else rows.decode_thread(doc)


def threads(db: apsw.Connection, org: int, limit: int, before: str | None) -> Found[ThreadRow]:
    """Threads, the last that was made first."""
    found = newest_first(db, "thread", "doc", "", (org,), ("thread_id", before, limit))
    return rows.up_to_a_page(found, lambda row: rows.decode_thread(row[0]))


def agent(db: apsw.Connection, org: int, agent_id: str) -> AgentRow | None:
    """An agent by UUID."""
    doc = one(db, "SELECT doc FROM agent WHERE org = ? AND agent_id = ?", (org, agent_id))
    return None if doc is None else rows.decode_agent(doc)


def agents_named(db: apsw.Connection, org: int, names: Iterable[str]) -> dict[str, AgentRow]:
    """Agents by their names."""
    sql = "SELECT doc FROM agent WHERE org = ? AND name = ?"
    found = ((name, one(db, sql, (org, name))) for name in set(names))
    return {name: rows.decode_agent(doc) for name, doc in found if doc is not None}


def agents(db: apsw.Connection, org: int, limit: int, after: str | None, name: str | None) -> Found[AgentRow]:
    """Agents by name."""
    if name is not None:
        found = db.execute("SELECT doc FROM agent WHERE org = ? AND name = ?", (org, name))
    else:
        sql = "SELECT doc FROM agent WHERE org = ? AND name > ? ORDER BY name LIMIT ?"
        found = db.execute(sql, (org, after or "", limit))
    return rows.up_to_a_page(found, lambda row: rows.decode_agent(row[0]))


def agents_by_number(db: apsw.Connection, org: int, numbers: Sequence[int]) -> list[AgentRow]:
    """Agents of an organisation by number."""
    sql = f"SELECT doc FROM agent WHERE +org = ? AND agent IN ({marks(len(numbers))})"
    return [rows.decode_agent(row[0]) for row in db.execute(sql, (org, *numbers))]


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
    # Cells whose events were all moved to a model that was named late are left with nothing.
    some = "HAVING sum(events) OR sum(runs_started) OR sum(runs_ended)"
    sql = f"SELECT {column}, {_SUMS} FROM usage WHERE {where} GROUP BY {column} {some} ORDER BY {column} LIMIT ?"
    return [_total(org, by, row) for row in db.execute(sql, (*values, limit))]


def _total(org: int, by: str, row: rows.Row) -> UsageRow:
    group, *counts = row[:4]
    *parts, version, last_version = row[4:]
    events, began, ended = counts
    version = merged_version(version, last_version)
    total = UsageRow(org, 0, "", "", "", events, began, ended, usage_of(parts), version)
    return msgspec.structs.replace(total, **{by: group})


def usage_of(parts: Sequence[int | None]) -> Usage:
    """The sums of all figures of `rows.USAGE_FIGURES`, each from what `halves` selects."""
    return Usage(*(_figure(*some) for some in zip(parts[::3], parts[1::3], parts[2::3], strict=True)))


def _figure(high: int | None, low: int | None, largest: int | None) -> int | None:
    """The whole sum, as sums are that do not fit; None where no cell knew its figure."""
    if high is None or low is None:
        return None
    if largest == MAX_SUM:
        return MAX_SUM
    return max(-MAX_SUM, min((high << _HALF_BITS) + low, MAX_SUM))


def thread_states(db: apsw.Connection, org: int, thread_id: str, initial: bool) -> list[RunWithState]:
    """The runs of a thread that have a checkpoint of this kind: some of the newest, and the newest open ones."""
    found: dict[int, RunWithState] = {}
    below, own = shard_bounds(org)[1], 0
    # One seek a run: a run may have thousands of checkpoints.
    newest = "SELECT max(run) FROM checkpoint WHERE org = ? AND thread_id = ? AND initial = ? AND run < ?"
    while own < MAX_OWN_STATES and (len(found) < MAX_STATES or not own):
        number = one(db, newest, (org, thread_id, initial, below))
        if number is None:
            break
        below = advanced("checkpoint", below, number, falls=True)
        state = _thread_state(db, org, number)
        if state is not None:
            found[number] = state
            own += not state.is_child
    of_thread = thread(db, org, thread_id)
    has_one = "SELECT 1 FROM checkpoint WHERE org = ? AND thread_id = ? AND initial = ? AND run = ? LIMIT 1"
    for number in () if of_thread is None else of_thread.open_runs[-MAX_STATES:]:
        if number not in found and one(db, has_one, (org, thread_id, initial, number)):
            state = _thread_state(db, org, number)
            if state is not None:
                found[number] = state
    return sorted(found.values(), key=lambda state: -state.row.run)


def _thread_state(db: apsw.Connection, org: int, number: int) -> RunWithState | None:
    found = db.execute(f"SELECT doc, {OF_A_CHILD} FROM run WHERE run = ? AND org = ?", (number, org)).fetchone()
    return None if found is None else RunWithState(rows.decode_run(found[0]), bool(found[1]))


def run_of_trace(db: apsw.Connection, org: int, thread_id: str, trace_id: str) -> RunRow | None:
    """The newest run of a trace in a thread; of those with a checkpoint that an agent wrote, where there are any."""
    has_state = "EXISTS (SELECT 1 FROM checkpoint WHERE checkpoint.run = run.run AND checkpoint.initial = 0)"
    sql = f"SELECT doc FROM run WHERE org = ? AND trace_id = ? AND thread_id = ? ORDER BY {has_state} DESC, run DESC"
    doc = one(db, f"{sql} LIMIT 1", (org, trace_id, thread_id))
    return None if doc is None else rows.decode_run(doc)


def checkpoints_at(db: apsw.Connection, org: int, keys: Sequence[tuple[int, str, int]]) -> list[CheckpointRow]:
    """Those of these checkpoints that there are."""
    sql = "SELECT doc FROM checkpoint WHERE run = ? AND agent = ? AND step_index = ? AND org = ?"
    docs = (one(db, sql, (*key, org)) for key in keys)
    return [rows.decode_checkpoint(doc) for doc in docs if doc is not None]


def checkpoint_latest_of_run(db: apsw.Connection, org: int, run: int) -> CheckpointRow | None:
    """The state that a run resumes from."""
    sql = f"SELECT doc FROM checkpoint WHERE run = ? AND +org = ? ORDER BY initial, {_NEWEST} LIMIT 1"
    doc = one(db, sql, (run, org))
    return None if doc is None else rows.decode_checkpoint(doc)


def checkpoints(
    db: apsw.Connection, org: int, run: int, limit: int, after: tuple[int, str] | None
) -> Found[CheckpointRow]:
    """A run's checkpoints by step."""
    step, name = after or (-1, "")
    sql = (
        "SELECT doc FROM checkpoint WHERE run = ? AND +org = ? AND (step_index, agent) > (?, ?)"
        " ORDER BY step_index, agent LIMIT ?"
    )
    found = db.execute(sql, (run, org, step, name, limit))
    return rows.up_to_a_page(found, lambda row: rows.decode_checkpoint(row[0]))
