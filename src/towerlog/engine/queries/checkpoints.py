"""Checkpoints, read back: a page, one, and the state that a thread resumes from.

A runner that waits for a decision asks for that state by the name of its thread, and so do the others in the thread.
Who asks cannot be seen, so a decision is told by the thread's name only while nobody else there may take it for his
own. By its trace each run has its own state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

import msgspec

from towerlog.engine.queries import views
from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.checkpoint import AWAITS_APPROVAL, STATE_OF_DECIDED, CheckpointRow, CheckpointView, as_told
from towerlog.model.principal import Principal
from towerlog.model.run import PARENT_FOREIGN, PARENT_RUN, PARENT_TRACE, RunRow
from towerlog.model.run_agents import agents_of
from towerlog.store.base import RowStore
from towerlog.store.values import RunWithState

NEITHER = "in_progress"
"""What is told instead of a decision that another runner might take for its own: it asks again."""
STEPS_BACK, ROWS_BACK, RUNS_BACK = 64, 256, 4
"""Where the history of a state is looked for that came without one: steps below it, checkpoints, earlier runs."""
_WITHOUT_HISTORY = frozenset({AWAITS_APPROVAL, *STATE_OF_DECIDED})
MAX_CLIMB = 20
"""Parents above a run that are looked at; more name each other in a circle."""
_Key = tuple[int, str, int]


async def answer(
    source: QueryContext,
    principal: Principal,
    command: q.LatestCheckpoint | q.ListCheckpoints | q.GetCheckpoint,
) -> o.Outcome:
    """A checkpoint, or a page of them. Raises NotFound."""
    match command:
        case q.LatestCheckpoint():
            found = await latest_state(source.store, principal.org, command)
            if found is None:
                raise NotFound("checkpoint")
            return await views.checkpoint_view(source.store, *found, resume=True)
        case q.ListCheckpoints(run_id, limit, after):
            run = await source.run_of(principal, run_id)
            rows = await source.store.checkpoints(principal.org, run.run, limit + 1, after)
            page, more = page_of(rows, limit)
            return o.Page(
                [as_told(row, run) for row in page], f"{page[-1].step_index}:{page[-1].agent}" if more else None
            )
        case q.GetCheckpoint():
            return await _checkpoint(source, principal, command)
        case _:
            assert_never(command)


async def _checkpoint(source: QueryContext, principal: Principal, command: q.GetCheckpoint) -> CheckpointView:
    run = await source.run_of(principal, command.run_id)
    after = (command.step_index - 1, "\U0010ffff")
    rows = await source.store.checkpoints(principal.org, run.run, 1000, after)
    for row in rows:
        named = command.agent is None or row.agent == command.agent
        if row.step_index == command.step_index and named:
            return await views.checkpoint_view(source.store, run, as_told(row, run))
    raise NotFound("checkpoint")


async def latest_state(store: RowStore, org: int, wanted: q.LatestCheckpoint) -> tuple[RunRow, CheckpointRow] | None:
    """The run and its checkpoint, with the status that may be told; None where there is none."""
    thread_id, agent = wanted.thread_id, wanted.agent
    if wanted.trace_id is not None:
        row = await store.run_of_trace(org, thread_id, wanted.trace_id)
        state = None if row is None else await _state_of(store, org, row, agent)
        return None if row is None or state is None else (row, await _with_history(store, org, row, state))
    for initial in (False, True):
        runs = await store.thread_states(org, thread_id, initial)
        shown = await _newest(store, org, _going_on(runs), agent)
        if shown is not None:
            row, state = shown[0], await _with_history(store, org, *shown)
            if agent is None and state.status in STATE_OF_DECIDED and await _is_doubtful(store, org, runs, state):
                state = msgspec.structs.replace(state, status=NEITHER)
            return row, state
    return None


def _going_on(runs: Sequence[RunWithState]) -> list[RunRow]:
    """The thread's own runs that none of the same agent or trace has followed: where each of its agents stands."""
    newest: dict[str | None, RunRow] = {}
    traces = set[str]()
    for row, is_child in runs:  # newest first
        if not is_child and row.trace_id not in traces:
            newest.setdefault(row.agent, row)
        traces.add(row.trace_id)
    return list(newest.values())


async def _newest(
    store: RowStore, org: int, rows: Iterable[RunRow], agent: str | None
) -> tuple[RunRow, CheckpointRow] | None:
    """The run whose checkpoint was stored last: who hands over to another agent is resumed once it goes on."""
    found: list[tuple[RunRow, CheckpointRow]] = []
    for row in rows:
        state = await _state_of(store, org, row, agent)
        if state is not None:
            found.append((row, state))
    return max(found, key=lambda one: one[1].position, default=None)


async def _state_of(store: RowStore, org: int, row: RunRow, agent: str | None) -> CheckpointRow | None:
    if agent is None:
        found = await store.checkpoint_latest_of_run(org, row.run)
    else:
        share = row.share(agent)
        keys = [] if share is None or share.step_index < 0 else [(row.run, agent, share.step_index)]
        found = next(iter(await store.checkpoints_at(org, keys)), None)
    return None if found is None else as_told(found, row)


async def _with_history(store: RowStore, org: int, row: RunRow, state: CheckpointRow) -> CheckpointRow:
    """The state; of one that waits for a decision and came without a history, with its agent's newest that has one:
    of a lower step of the run, whenever that came, else of an earlier run of the thread."""
    if state.length or state.status not in _WITHOUT_HISTORY:
        return state
    after = (max(-1, state.step_index - STEPS_BACK), "")
    below = await store.checkpoints(org, row.run, ROWS_BACK, after)
    own = [one for one in below if one.agent == state.agent and one.step_index < state.step_index and one.length]
    if own:
        return msgspec.structs.replace(state, held=own[-1].state())
    if state.held is not None:
        return state
    runs = await store.thread_states(org, row.thread_id, False)
    if any(is_child for one, is_child in runs if one.run == row.run):
        return state
    for older in [one for one, is_child in runs if one.run < row.run and not is_child][:RUNS_BACK]:
        found = await _state_of(store, org, older, state.agent)
        found = None if found is None else await _with_history(store, org, older, found)
        if found is not None and found.resume_state().length:
            return msgspec.structs.replace(state, held=found.resume_state())
    return state


async def _is_doubtful(store: RowStore, org: int, runs: Sequence[RunWithState], shown: CheckpointRow) -> bool:
    """Whether somebody else in the thread waits for a decision, or has not gone on since another one than this."""
    keys: list[_Key] = []
    at_work = {row.run: row for row in _at_work(runs)}
    for row in at_work.values():
        told = ((agent, row.share(agent)) for agent in agents_of(row))
        steps = ((agent, one.step_index) for agent, one in told if one is not None and one.step_index >= 0)
        keys += [(row.run, *step) for step in steps if (row.run, step[0]) != (shown.run, shown.agent)]
    others = [as_told(one, at_work[one.run]) for one in await store.checkpoints_at(org, keys)]
    return any(one.status in (*STATE_OF_DECIDED, AWAITS_APPROVAL) and one.status != shown.status for one in others)


def _at_work(runs: Sequence[RunWithState]) -> list[RunRow]:
    """The open runs of a thread whose runners may ask: those that go on, and those below them."""
    tops = {row.run for row in _going_on(runs)}
    names = {name: row for row, _ in reversed(runs) for name in _names(row)}
    return [row for row, _ in runs if not row.is_terminal() and _top(row, names).run in tops]


def _names(row: RunRow) -> list[str]:
    """What its children call a run."""
    of_sender = [] if row.foreign_id is None else [PARENT_FOREIGN + row.foreign_id]
    return [PARENT_RUN + row.run_id, PARENT_TRACE + row.trace_id, *of_sender]


def _top(row: RunRow, names: dict[str, RunRow]) -> RunRow:
    for _ in range(MAX_CLIMB):
        above = None if row.parent_key is None else names.get(row.parent_key)
        if above is None or above.run == row.run:
            break
        row = above
    return row
