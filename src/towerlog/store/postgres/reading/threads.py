"""Threads, agents and checkpoints, and the numbers that an organisation has given out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.principal import Counters, shard_bounds, shard_org
from towerlog.model.run import RunRow
from towerlog.model.thread import ThreadRow
from towerlog.store.columns import rows
from towerlog.store.columns.order import advanced
from towerlog.store.columns.questions.parents import IS_A_CHILD
from towerlog.store.postgres.connections import Db, newest_first
from towerlog.store.values import MAX_OWN_STATES, MAX_STATES, Found, RunWithState

_IS_CHILD = (
    "EXISTS (SELECT 1 FROM run AS child WHERE child.org = run.org AND child.run = run.run"
    f" AND child.parent_key IS NOT NULL AND ({IS_A_CHILD}))"
)


async def counters(db: Db, org: int) -> Counters:
    """The numbers that an organisation has given out."""
    row = await db.row("SELECT position, runs, agents FROM org_count WHERE org = $1", org)
    return Counters() if row is None else Counters(*row)


async def thread(db: Db, org: int, thread_id: str) -> ThreadRow | None:
    """A thread by id."""
    doc = await db.value("SELECT doc FROM thread WHERE org = $1 AND thread_id = $2", org, thread_id)
    return None if doc is None else rows.decode_thread(doc)


async def threads(db: Db, org: int, limit: int, before: str | None) -> Found[ThreadRow]:
    """Threads, the last that was made first."""
    found = await newest_first(db, "thread", "doc", "", (org,), ("thread_id", before, limit))
    return rows.up_to_a_page(found, lambda row: rows.decode_thread(row[0]))


async def agent(db: Db, org: int, agent_id: str) -> AgentRow | None:
    """An agent by UUID."""
    doc = await db.value("SELECT doc FROM agent WHERE org = $1 AND agent_id = $2", org, agent_id)
    return None if doc is None else rows.decode_agent(doc)


async def agents_named(db: Db, org: int, names: Iterable[str]) -> dict[str, AgentRow]:
    """Agents by their names."""
    sql = "SELECT doc FROM agent WHERE org = $1 AND name = ANY($2::text[])"
    found = [rows.decode_agent(row[0]) for row in await db.rows(sql, org, sorted(set(names)))]
    return {row.name: row for row in found}


async def agents(db: Db, org: int, limit: int, after: str | None, name: str | None) -> Found[AgentRow]:
    """Agents by name."""
    if name is not None:
        found = await db.rows("SELECT doc FROM agent WHERE org = $1 AND name = $2", org, name)
    else:
        sql = "SELECT doc FROM agent WHERE org = $1 AND name > $2 ORDER BY name LIMIT $3"
        found = await db.rows(sql, org, after or "", limit)
    return rows.up_to_a_page(found, lambda row: rows.decode_agent(row[0]))


async def agents_by_number(db: Db, org: int, numbers: Sequence[int]) -> list[AgentRow]:
    """Agents of an organisation by number."""
    sql = "SELECT doc FROM agent WHERE org = $1 AND agent = ANY($2::bigint[])"
    return [rows.decode_agent(row[0]) for row in await db.rows(sql, org, list(numbers))]


async def thread_states(db: Db, org: int, thread_id: str, initial: bool) -> list[RunWithState]:
    """The runs of a thread that have a checkpoint of this kind: some of the newest, and the newest open ones."""
    found: dict[int, RunWithState] = {}
    below, own = shard_bounds(org)[1], 0
    # One seek a run: a run may have thousands of checkpoints.
    newest = "SELECT max(run) FROM checkpoint WHERE org = $1 AND thread_id = $2 AND initial = $3 AND run < $4"
    while own < MAX_OWN_STATES and (len(found) < MAX_STATES or not own):
        number = await db.value(newest, org, thread_id, initial, below)
        if number is None:
            break
        below = advanced("checkpoint", below, number, falls=True)
        state = await _thread_state(db, org, number)
        if state is not None:
            found[number] = state
            own += not state.is_child
    of_thread = await thread(db, org, thread_id)
    has_one = "SELECT 1 FROM checkpoint WHERE org = $1 AND thread_id = $2 AND initial = $3 AND run = $4 LIMIT 1"
    for number in () if of_thread is None else of_thread.open_runs[-MAX_STATES:]:
        if number not in found and await db.value(has_one, org, thread_id, initial, number):
            state = await _thread_state(db, org, number)
            if state is not None:
                found[number] = state
    return sorted(found.values(), key=lambda state: -state.row.run)


async def _thread_state(db: Db, org: int, number: int) -> RunWithState | None:
    found = await db.row(f"SELECT doc, {_IS_CHILD} FROM run WHERE org = $1 AND run = $2", org, number)
    return None if found is None else RunWithState(rows.decode_run(found[0]), bool(found[1]))


async def run_of_trace(db: Db, org: int, thread_id: str, trace_id: str) -> RunRow | None:
    """The newest run of a trace in a thread; of those with a checkpoint that an agent wrote, where there are any."""
    has_state = (
        "EXISTS (SELECT 1 FROM checkpoint WHERE checkpoint.org = run.org AND checkpoint.run = run.run AND NOT initial)"
    )
    sql = "SELECT doc FROM run WHERE org = $1 AND trace_id = $2 AND thread_id = $3"
    doc = await db.value(f"{sql} ORDER BY {has_state} DESC, run DESC LIMIT 1", org, trace_id, thread_id)
    return None if doc is None else rows.decode_run(doc)


async def checkpoint(db: Db, run: int, agent: str, step_index: int) -> CheckpointRow | None:
    """One checkpoint row."""
    found = await checkpoints_at(db, shard_org(run), [(run, agent, step_index)])
    return found[0] if found else None


async def checkpoints_at(db: Db, org: int, keys: Sequence[tuple[int, str, int]]) -> list[CheckpointRow]:
    """Those of these checkpoints that there are."""
    sql = (
        "SELECT checkpoint.doc FROM unnest($2::bigint[], $3::text[], $4::bigint[]) WITH ORDINALITY"
        " AS wanted (run, agent, step_index, place) JOIN checkpoint ON checkpoint.org = $1"
        " AND checkpoint.run = wanted.run AND checkpoint.agent = wanted.agent"
        " AND checkpoint.step_index = wanted.step_index ORDER BY wanted.place"
    )
    found = await db.rows(sql, org, *([key[index] for key in keys] for index in range(3)))
    return [rows.decode_checkpoint(row[0]) for row in found]


async def checkpoint_latest_of_run(db: Db, org: int, run: int) -> CheckpointRow | None:
    """The state that a run resumes from."""
    sql = "SELECT doc FROM checkpoint WHERE org = $1 AND run = $2 ORDER BY initial, step_index DESC, position DESC"
    doc = await db.value(f"{sql} LIMIT 1", org, run)
    return None if doc is None else rows.decode_checkpoint(doc)


async def checkpoints(db: Db, org: int, run: int, limit: int, after: tuple[int, str] | None) -> Found[CheckpointRow]:
    """A run's checkpoints by step."""
    step, name = after or (-1, "")
    sql = (
        "SELECT doc FROM checkpoint WHERE org = $1 AND run = $2 AND (step_index, agent) > ($3, $4)"
        " ORDER BY step_index, agent LIMIT $5"
    )
    found = await db.rows(sql, org, run, step, name, limit)
    return rows.up_to_a_page(found, lambda row: rows.decode_checkpoint(row[0]))


async def checkpoints_waiting(db: Db, org: int, trace_id: str, step_index: int) -> list[CheckpointRow]:
    """The checkpoints of a step, newest run first, newest position first."""
    sql = (
        "SELECT checkpoint.doc FROM run JOIN checkpoint USING (org, run)"
        " WHERE org = $1 AND run.trace_id = $2 AND checkpoint.step_index = $3"
        " ORDER BY run DESC, checkpoint.position DESC LIMIT 100"
    )
    return [rows.decode_checkpoint(row[0]) for row in await db.rows(sql, org, trace_id, step_index)]
