"""Views: rows with what lies outside them (names, parents, lanes, bodies), for replies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from towerlog.ambient import ServingTime
from towerlog.engine.load.lives import MAX_LATER, later_lives, may_go_on
from towerlog.engine.queries.bodies import input_and_result
from towerlog.errors import Damaged
from towerlog.model.checkpoint import CheckpointRow, CheckpointView, StoredState
from towerlog.model.event import Event, sound
from towerlog.model.liveness import Elapsed, Thresholds, liveness_of
from towerlog.model.outcome import RunView, TreeUsage
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow
from towerlog.model.usage import NO_USAGE, Usage, add, add_known, larger
from towerlog.store.base import Store

_SHOWN_BYTES = 2048
"""Of a descendant beside its metadata and its questions, about."""
_decode_metas = msgspec.json.Decoder(list[msgspec.Raw]).decode

TAKEN_APART_ON_LOOP_BYTES = 64 * 1024
"""Of meta lists; longer ones are taken apart in a thread."""
MAX_TREE_RUNS = 500
"""A tree shows at most this many descendants."""
MAX_TREE_DEPTH = 20
MAX_TREE_BYTES = 4 * 1024 * 1024
"""Of the metadata and questions of its descendants."""


class Now(msgspec.Struct, frozen=True):
    """How long the server has listened, and how long a run may be silent. `lasted_ms`: see `Standstills`."""

    serving: ServingTime
    thresholds: Thresholds
    lasted_ms: Elapsed


async def run_views(store: Store, principal: Principal, rows: Sequence[RunRow], now: Now) -> list[RunView]:
    """Rows for a list: with the creator's name, the parent's id and the verdict."""
    org = principal.org
    users = await store.users(org, {row.created_by for row in rows if row.created_by}) if rows else {}
    children = [row for row in rows if row.parent_key is not None]
    parents = await store.run_ids_of_parents(org, children) if children else {}
    agents = await store.agents_named(org, {row.agent for row in rows if row.agent}) if rows else {}
    views = []
    for row in rows:
        user, agent = users.get(row.created_by or ""), agents.get(row.agent or "")
        beats = [None if agent is None else agent.last_heartbeat_at]
        views.append(
            RunView(
                row,
                principal.org_id,
                agent_id=None if agent is None else agent.agent_id,
                created_by_name=None if user is None else user.name,
                created_by_email=None if user is None else user.email,
                parent_run_id=parents.get(row.run),
                liveness=liveness_of(row, beats, now.serving.elapsed_ms, now.thresholds, now.lasted_ms),
            )
        )
    return views


async def run_detail(store: Store, principal: Principal, row: RunRow, tree: bool, now: Now) -> RunView:
    """One run with its lane, its input and its result, and (tree) its descendants."""
    view = (await run_views(store, principal, [row], now))[0]
    org = principal.org
    given, result = await input_and_result(store, row)
    lane = await store.lane(org, row.run) if row.has_lane else None
    lane = None if lane is None else lane.on_wall(now.serving.walls())
    children = await _Tree(store, principal, row, now).below(row, MAX_TREE_DEPTH) if tree else ()
    answering = {closed.by for closed in row.closed_questions if closed.by is not None}
    users = await store.users(org, answering) if answering else {}
    beats = [view.liveness.process_at, None if lane is None else lane.last_heartbeat]
    return msgspec.structs.replace(
        view,
        lane=lane,
        resumed_by=await _resumed_by(store, row),
        result=result,
        input=given,
        tree=await _tree_usage(store, row),
        answered_by={user_id: user.name for user_id, user in users.items()},
        children=children,
        liveness=liveness_of(row, beats, now.serving.elapsed_ms, now.thresholds, now.lasted_ms),
    )


async def _resumed_by(store: Store, row: RunRow) -> str | None:
    if row.has_lane:
        return None
    numbers = may_go_on(row, await store.thread(row.org, row.thread_id))
    found = await store.runs_by_number(row.org, numbers) if numbers else {}
    known = {one.run_id: one for one in found.values()}
    for _ in range(MAX_LATER):  # those between
        ids = {one.resumed_from for one in known.values() if one.run > row.run and one.resumed_from is not None}
        more = [await store.run(row.org, run_id) for run_id in ids - known.keys() - {row.run_id}]
        if not any(more):
            break
        known |= {one.run_id: one for one in more if one is not None}
    newest = [found[number] for number in numbers if number in found]
    later = later_lives(row, newest, lambda ref: known.get(ref.run_id))
    return later[-1].run_id if later else None


async def _tree_usage(store: Store, row: RunRow) -> TreeUsage:
    below = await store.run_descendants(row.org, row, MAX_TREE_RUNS + 1)
    counted = [row, *below[:MAX_TREE_RUNS]]
    return TreeUsage(len(counted), _sum_of_tree(counted), len(below) <= MAX_TREE_RUNS)


def _sum_of_tree(rows: list[RunRow]) -> Usage:
    """What the runs of one tree have spent together.

    A cost that a process told is the same counter in each of its runs: of those the largest counts.
    """
    total = NO_USAGE
    of_process: int | None = None
    for row in rows:
        if row.process_cost is None:
            total = add(total, row.usage)
        else:
            of_process = larger(of_process, row.usage.cost_nanos)
            total = add(total, msgspec.structs.replace(row.usage, cost_nanos=None))
    return msgspec.structs.replace(total, cost_nanos=add_known(total.cost_nanos, of_process))


class _Tree:
    """What is shown below a run: at most so many descendants, and so many bytes of them."""

    def __init__(self, store: Store, principal: Principal, root: RunRow, now: Now) -> None:
        self._store, self._principal, self._now = store, principal, now
        self._seen = {root.run}
        self._room = MAX_TREE_BYTES

    async def below(self, row: RunRow, depth: int) -> tuple[RunView, ...]:
        """The children of a run, each with those below it."""
        if depth == 0 or len(self._seen) >= MAX_TREE_RUNS or self._room <= 0:
            return ()
        org_id, now = self._principal.org_id, self._now
        views = []
        for child in await self._fresh(row):
            below = await self.below(child, depth - 1)
            liveness = liveness_of(child, [], now.serving.elapsed_ms, now.thresholds, now.lasted_ms)
            views.append(RunView(child, org_id, parent_run_id=row.run_id, children=below, liveness=liveness))
        return tuple(views)

    async def _fresh(self, row: RunRow) -> list[RunRow]:
        """Children that are not shown yet, as far as there is room."""
        fresh: list[RunRow] = []
        for child in await self._store.run_children(self._principal.org, row, MAX_TREE_RUNS - len(self._seen)):
            if child.run not in self._seen and self._room > 0:
                self._room -= (
                    _SHOWN_BYTES + len(bytes(child.metadata)) + sum(len(q.text or "") for q in child.questions)
                )
                fresh.append(child)
                self._seen.add(child.run)
        return fresh


async def checkpoint_view(store: Store, run: RunRow, row: CheckpointRow, *, resume: bool = False) -> CheckpointView:
    """A checkpoint with its history read back; `resume`: with the one that a runner goes on with. Raises Damaged."""
    events = await store.events_at(row.org, row.run, [row.seq])
    event = sound(events.get(row.seq), run.run_id)
    figures = b"{}" if event is None or row.initial else event.data
    state = row.resume_state() if resume else row.state()
    with of_checkpoint(row, run.run_id):
        messages = await messages_of(store, row, state)
        parts = await store.metas(row.org, bytes.fromhex(state.metas)) if state.metas else []
    metas = await _entries(parts) if state.has_meta else None
    return CheckpointView(row, run.run_id, run.trace_id, figures, messages, metas)


@contextmanager
def of_checkpoint(row: CheckpointRow, run_id: str) -> Iterator[None]:
    """Damaged content that is met inside is named by the checkpoint that points at it."""
    try:
        yield
    except Damaged as error:
        place = f"checkpoint {row.step_index} of agent {row.agent} (event {row.seq} of run {run_id})"
        raise Damaged(f"{error.message} It is that of {place}.") from error


async def messages_of(store: Store, row: CheckpointRow, state: StoredState) -> list[bytes]:
    """The messages of one of a checkpoint's states, the oldest first."""
    return await store.history(row.org, bytes.fromhex(state.node), state.length) if state.node else []


async def _entries(parts: Sequence[bytes]) -> list[bytes]:
    if sum(map(len, parts)) <= TAKEN_APART_ON_LOOP_BYTES:
        return history_metas(parts)
    return await asyncio.to_thread(history_metas, parts)


def history_metas(parts: Sequence[bytes]) -> list[bytes]:
    """The entries of a meta list, from its parts."""
    return [bytes(meta) for part in parts for meta in _decode_metas(part)]


async def add_names(store: Store, org: int, names: dict[int, str], events: Iterable[Event]) -> None:
    """Adds the names of the agents that these events are of, by number, as far as they are not there yet."""
    unknown = {event.agent for event in events} - names.keys()
    if unknown:
        names |= {row.agent: row.name for row in await store.agents_by_number(org, sorted(unknown))}
