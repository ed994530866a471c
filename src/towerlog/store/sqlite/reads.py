"""What is read from SQLite: one function a question, each `(connection, …) -> values`, run in a reader's thread.

Every question names the organisation; keys that carry it in their high bits are bounded by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw

from towerlog.errors import Invalid
from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.key import Key
from towerlog.model.principal import Org, User, shard_bounds
from towerlog.model.question import RunFilter
from towerlog.model.run import TERMINAL, RunRow
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import UsageRow
from towerlog.store.sqlite import rows
from towerlog.store.sqlite.connection import LOWER
from towerlog.store.sqlite.descent import OF_A_CHILD, child_condition
from towerlog.store.values import KeyFound, Parent

MAX_SEARCH_MS = 1000
"""A search that needs longer would keep one of the few readers from everybody else's questions."""
SEARCH_CHECK_STEPS = 10_000
"""Instructions of SQLite's machine between two looks at the clock."""
MAX_INTEGER = 2**62
_NEWEST = "run DESC, step_index DESC, position DESC"


def one(db: apsw.Connection, sql: str, values: Sequence[Any]) -> Any:
    """The first column of the first row, None when there is none."""
    return db.execute(sql, tuple(values)).get


def marks(count: int) -> str:
    """`?, ?, ?` for an IN list."""
    return ", ".join("?" * count)


def ping(db: apsw.Connection) -> None:
    """Reads real pages, from the file and not from memory: what every question needs, and the newest event."""
    db.release_memory()
    newest = one(db, "SELECT max(key) FROM event", ())
    one(db, "SELECT hash FROM event WHERE key = ?", (newest,))
    one(db, "SELECT value FROM meta WHERE name = 'epoch'", ())


def orgs(db: apsw.Connection) -> list[Org]:
    """All organisations."""
    return [rows.org_value(row) for row in db.execute("SELECT org, org_id, name, created_at FROM org ORDER BY org")]


def key_by_digest(db: apsw.Connection, digest: bytes) -> KeyFound | None:
    """A key by the hash of its text."""
    columns = ", ".join(f"api_key.{name}" for name in rows.KEY_COLUMNS.split(", "))
    sql = f"SELECT org.org_id, {columns} FROM api_key JOIN org USING (org) WHERE digest = ?"
    for row in db.execute(sql, (digest,)):
        return KeyFound(rows.key_value(row[1:]), row[0])
    return None


def keys(db: apsw.Connection, org: int, limit: int, before: str | None) -> list[Key]:
    """Keys, newest first."""
    sql = f"SELECT {rows.KEY_COLUMNS} FROM api_key WHERE org = ?"
    values: list[Any] = [org]
    if before is not None:
        sql += " AND (created_at, key_id) < (SELECT created_at, key_id FROM api_key WHERE org = ? AND key_id = ?)"
        values += [org, before]
    found = db.execute(sql + " ORDER BY created_at DESC, key_id DESC LIMIT ?", (*values, limit))
    return [rows.key_value(row) for row in found]


def users(db: apsw.Connection, org: int, user_ids: Iterable[str]) -> dict[str, User]:
    """Users by id."""
    wanted = sorted(set(user_ids))
    sql = f"SELECT org, user_id, name, email, created_at FROM user WHERE org = ? AND user_id IN ({marks(len(wanted))})"
    return {row[1]: User(*row) for row in db.execute(sql, (org, *wanted))}


def run(db: apsw.Connection, org: int, run_id: str) -> RunRow | None:
    """A run by UUID."""
    doc = one(db, "SELECT doc FROM run WHERE org = ? AND run_id = ?", (org, run_id))
    return None if doc is None else rows.decode_run(doc)


def run_ids_beginning(db: apsw.Connection, org: int, prefix: str, limit: int) -> list[str]:
    """Run ids with a prefix, from the index alone."""
    # Ids are lower-case hexadecimal digits and dashes, so that nothing sorts after the prefix and `g`.
    sql = "SELECT run_id FROM run WHERE org = ? AND run_id >= ? AND run_id < ? ORDER BY run_id LIMIT ?"
    return [row[0] for row in db.execute(sql, (org, prefix, prefix + "g", limit))]


def runs(db: apsw.Connection, org: int, wanted: RunFilter, limit: int, before: int | None) -> list[RunRow]:
    """Runs, newest first, below a number."""
    where, values = _run_conditions(db, org, wanted)
    lowest, highest = shard_bounds(org)
    # The numbers first: where SQLite has to sort, it sorts them and not whole rows.
    numbers = f"SELECT run FROM run WHERE run >= ? AND run < ?{where} ORDER BY run DESC LIMIT ?"
    sql = f"SELECT doc FROM run WHERE run IN ({numbers}) ORDER BY run DESC"
    top = highest if before is None else before
    return [rows.decode_run(row[0]) for row in db.execute(sql, (lowest, top, *values, limit))]


def runs_searched(
    db: apsw.Connection, org: int, wanted: RunFilter, limit: int, before: int | None, steady_ms: Callable[[], int]
) -> list[RunRow]:
    """As `runs`, for a search through names, which no index helps: given up after MAX_SEARCH_MS. Raises Invalid."""
    until = steady_ms() + MAX_SEARCH_MS
    db.set_progress_handler(lambda: steady_ms() > until, SEARCH_CHECK_STEPS)
    try:
        return runs(db, org, wanted, limit, before)
    except apsw.InterruptError:
        message = f"q: the search took longer than {MAX_SEARCH_MS} ms; narrow it by agent, status, thread or time"
        raise Invalid(message, field="q") from None
    finally:
        db.set_progress_handler(None)


def _run_conditions(db: apsw.Connection, org: int, wanted: RunFilter) -> tuple[str, list[Any]]:
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
    if wanted.q:
        fields = ("run_id", "thread_id", "trace_id", "foreign_id", "agent")
        lower = "lower" if wanted.q.isascii() else LOWER
        where += " AND (" + " OR ".join(f"instr({lower}({field}), ?) > 0" for field in fields) + ")"
        values += [wanted.q.lower()] * len(fields)
    return where, values


def runs_by_number(db: apsw.Connection, org: int, numbers: Sequence[int]) -> dict[int, RunRow]:
    """Runs of an organisation by number."""
    found = db.execute(f"SELECT run, doc FROM run WHERE +org = ? AND run IN ({marks(len(numbers))})", (org, *numbers))
    return {row[0]: rows.decode_run(row[1]) for row in found}


def run_ids_of_parents(db: apsw.Connection, org: int, children: Sequence[RunRow]) -> dict[int, str]:
    """Parents' run ids by the numbers of their children."""
    by_id = "SELECT run_id FROM run WHERE org = ? AND run_id = ? AND run <> ?"
    by_foreign_id = "SELECT run_id FROM run WHERE org = ? AND foreign_id = ? AND run <> ? ORDER BY run DESC LIMIT 1"
    of_trace = "SELECT run_id FROM run WHERE org = ? AND trace_id = ? AND run <> ?"
    by_trace = f"{of_trace} ORDER BY thread_id = ? DESC, run DESC LIMIT 1"
    found: dict[int, str] = {}
    for child in children:
        kind, _, value = (child.parent_key or "").partition(":")
        if kind == "run":
            run_id = one(db, by_id, (org, value, child.run))
        elif kind == "foreign":
            run_id = one(db, by_foreign_id, (org, value, child.run))
        else:
            run_id = one(db, by_trace, (org, value, child.run, child.thread_id)) if value else None
        if run_id is not None:
            found[child.run] = run_id
    return found


def run_children(db: apsw.Connection, org: int, run: RunRow | Parent, limit: int) -> list[RunRow]:
    """Direct children, oldest first; a run is no child of its own."""
    condition, values = child_condition(run.run_id, run)
    sql = f"SELECT doc FROM run WHERE org = ? AND {condition} ORDER BY run LIMIT ?"
    return [rows.decode_run(r[0]) for r in db.execute(sql, (org, *values, limit))]


def thread(db: apsw.Connection, org: int, thread_id: str) -> ThreadRow | None:
    """A thread by id."""
    doc = one(db, "SELECT doc FROM thread WHERE org = ? AND thread_id = ?", (org, thread_id))
    return None if doc is None else rows.decode_thread(doc)


def threads(db: apsw.Connection, org: int, limit: int, before: str | None) -> list[ThreadRow]:
    """Threads, newest first."""
    sql, values = "SELECT doc FROM thread WHERE org = ?", [org]
    if before is not None:
        sql += (
            " AND (created_at, thread_id) < (SELECT created_at, thread_id FROM thread WHERE org = ? AND thread_id = ?)"
        )
        values += [org, before]  # type: ignore[list-item]
    found = db.execute(sql + " ORDER BY created_at DESC, thread_id DESC LIMIT ?", (*values, limit))
    return [rows.decode_thread(row[0]) for row in found]


def agent(db: apsw.Connection, org: int, agent_id: str) -> AgentRow | None:
    """An agent by UUID."""
    doc = one(db, "SELECT doc FROM agent WHERE org = ? AND agent_id = ?", (org, agent_id))
    return None if doc is None else rows.decode_agent(doc)


def agents_named(db: apsw.Connection, org: int, names: Iterable[str]) -> dict[str, AgentRow]:
    """Agents by their names."""
    sql = "SELECT doc FROM agent WHERE org = ? AND name = ?"
    found = ((name, one(db, sql, (org, name))) for name in set(names))
    return {name: rows.decode_agent(doc) for name, doc in found if doc is not None}


def agents(db: apsw.Connection, org: int, limit: int, after: str | None, name: str | None) -> list[AgentRow]:
    """Agents by name."""
    if name is not None:
        found = db.execute("SELECT doc FROM agent WHERE org = ? AND name = ?", (org, name))
    else:
        sql = "SELECT doc FROM agent WHERE org = ? AND name > ? ORDER BY name LIMIT ?"
        found = db.execute(sql, (org, after or "", limit))
    return [rows.decode_agent(row[0]) for row in found]


def usage(
    db: apsw.Connection, org: int, since_hour: int, until_hour: int, agent: str | None, model: str | None
) -> list[UsageRow]:
    """Roll-up cells."""
    sql = "SELECT * FROM usage WHERE org = ? AND hour >= ? AND hour < ?"
    values: list[Any] = [org, since_hour, until_hour]
    for column, value in (("agent", agent), ("model", model)):
        if value is not None:
            sql += f" AND {column} = ?"
            values.append(value)
    return [rows.usage_value(row) for row in db.execute(sql + " ORDER BY hour, agent, model, status", tuple(values))]


def checkpoint_latest(db: apsw.Connection, org: int, thread_id: str) -> CheckpointRow | None:
    """The state that a thread resumes from."""
    # One question for each kind: so the index gives the newest at once, however long the thread is.
    found = f"SELECT doc FROM checkpoint WHERE org = ? AND thread_id = ? AND initial = ? AND NOT {OF_A_CHILD}"
    sql = f"{found} ORDER BY {_NEWEST} LIMIT 1"
    for initial in (0, 1):
        doc = one(db, sql, (org, thread_id, initial))
        if doc is not None:
            return rows.decode_checkpoint(doc)
    return None


def checkpoint_latest_of_run(db: apsw.Connection, org: int, run: int) -> CheckpointRow | None:
    """The state that a run resumes from."""
    sql = f"SELECT doc FROM checkpoint WHERE run = ? AND +org = ? ORDER BY initial, {_NEWEST} LIMIT 1"
    doc = one(db, sql, (run, org))
    return None if doc is None else rows.decode_checkpoint(doc)


def checkpoints(
    db: apsw.Connection, org: int, run: int, limit: int, after: tuple[int, str] | None
) -> list[CheckpointRow]:
    """A run's checkpoints by step."""
    step, name = after or (-1, "")
    sql = (
        "SELECT doc FROM checkpoint WHERE run = ? AND +org = ? AND (step_index, agent) > (?, ?)"
        " ORDER BY step_index, agent LIMIT ?"
    )
    return [rows.decode_checkpoint(row[0]) for row in db.execute(sql, (run, org, step, name, limit))]


def approvals(db: apsw.Connection, org: int, limit: int) -> list[CheckpointRow]:
    """Checkpoints of open runs that wait, oldest first."""
    sql = (
        "SELECT checkpoint.doc FROM checkpoint JOIN run USING (run)"
        " WHERE checkpoint.org = ? AND checkpoint.status = 'waiting_for_approval'"
        f" AND run.status NOT IN ({marks(len(TERMINAL))}) ORDER BY checkpoint.position LIMIT ?"
    )
    return [rows.decode_checkpoint(row[0]) for row in db.execute(sql, (org, *TERMINAL, limit))]
