"""A plan: what one group of commands will change, made in memory before anything is written.

Looks rows up in the cache, else in the unit; keeps every change in `changes` and in the cache. A command that raises
must do so before its first change; `writer` drops plan and cache whole when anything else goes wrong.
"""

from __future__ import annotations

import msgspec

from towerlog.ambient import Clock, Ids
from towerlog.engine.commit.cache import Cache
from towerlog.model.agent import AgentRow
from towerlog.model.chain import chain_hash
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import Event, EventType, OpenRun, RunByForeignId, RunById, RunByTrace, RunRef
from towerlog.model.facts import NO_FACTS, Facts
from towerlog.model.lane import Lane, QueueState
from towerlog.model.principal import Counters, shard_key
from towerlog.model.run import TERMINAL, RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.model.times import FUTURE_TOLERANCE_MS
from towerlog.projections import agents as agent_fold
from towerlog.projections import checkpoints as checkpoint_fold
from towerlog.projections import runs as run_fold
from towerlog.projections import threads as thread_fold
from towerlog.projections import usage as usage_fold
from towerlog.store.base import Unit
from towerlog.store.values import Changes, RunChange

encode_facts = msgspec.json.Encoder().encode
RefKey = tuple[int, str, str]


class Plan:
    """The changes of one group, growing."""

    def __init__(self, unit: Unit, cache: Cache, clock: Clock, ids: Ids) -> None:
        """`clock` is read once: a group has one time."""
        self.unit = unit
        self.cache = cache
        self.ids = ids
        self.now = clock.now_ms()
        self.steady = clock.steady_ms()
        self.changes = Changes()
        self.ids_seen: dict[tuple[int, str], Event] = {}
        """Events with an id: those of this group, and stored ones that were looked up."""
        self.ids_asked: set[tuple[int, str]] = set()
        """(run, event id) pairs whose presence in the store is known."""
        self.absent: set[RefKey] = set()
        """References and agents that the store is known not to have."""
        self.checkpoints_seen: dict[tuple[int, str, int], CheckpointRow | None] = {}
        self._tallies: dict[tuple[int, str, str | None, Status], int] = {}

    # looking up

    async def counters(self, org: int) -> Counters:
        """The organisation's counters, to be counted on in place; they are written with this plan."""
        found = self.cache.counters.get(org)
        if found is None:
            found = self.cache.counters[org] = await self.unit.counters(org)
        self.changes.counters[org] = found
        return found

    def run_cached(self, org: int, ref: RunRef) -> RunRow | None:
        """The run of a reference if the cache knows it."""
        if isinstance(ref, OpenRun):
            thread = self.cache.threads.get((org, ref.thread_id))
            if thread is None:
                return None
            number = thread.open_runs[-1] if thread.open_runs else thread.newest_run
            return self.cache.runs.get(number)
        known = self.cache.refs.get(ref_key(org, ref))
        return None if known is None else self.cache.runs.get(known)

    async def run(self, org: int, ref: RunRef) -> RunRow | None:
        """The run of a reference, None when there is none."""
        row = self.run_cached(org, ref)
        if row is None and isinstance(ref, OpenRun):
            thread = self.cache.threads.get((org, ref.thread_id))
            if thread is not None and thread.newest_run:
                # The thread as this group has left it, not as the store still has it.
                return await self.run_by_number(thread.open_runs[-1] if thread.open_runs else thread.newest_run)
        if row is None and not (self.absent and not isinstance(ref, OpenRun) and ref_key(org, ref) in self.absent):
            row = (await self.unit.runs_by_ref([(org, ref)]))[0]
            if row is not None:
                row = self.remember_run(org, ref, row)
        return row

    def remember_run(self, org: int, ref: RunRef, row: RunRow) -> RunRow:
        """Keeps a row that was looked up; a row changed in this group is newer than the stored one."""
        known = self.cache.runs.get(row.run)
        if known is not None and known.last_seq >= row.last_seq:
            row = known
        self.cache.runs[row.run] = row
        if not isinstance(ref, OpenRun):
            self.cache.refs[ref_key(org, ref)] = row.run
        return row

    async def run_by_number(self, number: int) -> RunRow | None:
        """A run by its number."""
        row = self.cache.runs.get(number)
        if row is None:
            row = (await self.unit.runs_by_number([number])).get(number)
            if row is not None:
                self.cache.runs[number] = row
        return row

    async def thread(self, org: int, thread_id: str) -> ThreadRow | None:
        """A thread, None when there is none."""
        row = self.cache.threads.get((org, thread_id))
        if row is None:
            row = (await self.unit.threads([(org, thread_id)])).get((org, thread_id))
            if row is not None:
                self.cache.threads[(org, thread_id)] = row
        return row

    async def thread_made(self, org: int, thread_id: str) -> ThreadRow:
        """A thread, made when new."""
        row = await self.thread(org, thread_id)
        return row or self.put_thread(ThreadRow(org, thread_id, self.now, updated_at=0))

    async def agent(self, org: int, name: str) -> AgentRow:
        """An agent by name, registered when new."""
        row = self.cache.agents.get((org, name))
        if row is None:
            if (org, "\x1fagent", name) not in self.absent:
                row = (await self.unit.agents_by_name([(org, name)])).get((org, name))
            if row is None:
                counters = await self.counters(org)
                counters.agents += 1
                row = AgentRow(shard_key(org, counters.agents), org, self.ids.uuid(), name, self.now)
                self.changes.agents[row.agent] = row
            self.cache.agents[(org, name)] = row
        return row

    async def lane(self, run: int) -> Lane | None:
        """A run's lane, None when it has none."""
        found = self.cache.lanes.get(run)
        if found is None:
            found = (await self.unit.lanes([run])).get(run)
            if found is not None:
                self.cache.lanes[run] = found
        return found

    def is_new_id(self, run: int, event_id: str) -> bool:
        """True when no event of the run is known to have this id, without asking the store."""
        key = (run, event_id)
        if key in self.ids_seen:
            return False
        known = self.cache.event_ids.get(run)
        return key in self.ids_asked or (known is not None and hash(event_id) not in known)

    async def event_by_id(self, run: int, event_id: str) -> Event | None:
        """The event that this run has under an id."""
        key = (run, event_id)
        if not self.is_new_id(run, event_id) and key not in self.ids_seen:
            self.ids_asked.add(key)
            self.ids_seen |= await self.unit.events_by_id([key])
        return self.ids_seen.get(key)

    async def checkpoint(self, run: int, agent: str, step_index: int) -> CheckpointRow | None:
        """A checkpoint row, with this group's changes."""
        key = (run, agent, step_index)
        if key not in self.checkpoints_seen:
            self.checkpoints_seen[key] = await self.unit.checkpoint(*key)
        return self.checkpoints_seen[key]

    # changing

    def tally(self, agent: AgentRow, model: str | None, status: Status) -> None:
        """Counts one plain event; `settle` folds the counts into agents and roll-ups."""
        key = (agent.org, agent.name, model, status)
        self._tallies[key] = self._tallies.get(key, 0) + 1

    def note_id(self, event: Event) -> None:
        """Remembers an event of this plan by its id."""
        if event.event_id is not None:
            self.ids_seen[event.run, event.event_id] = event
            self.cache.note_id(event.run, event.event_id)

    def settle(self) -> None:
        """Folds what was tallied. Sums do not mind the order, so once a plan is enough."""
        for (org, name, model, status), count in self._tallies.items():
            self.put_agent(agent_fold.fold_plain(self.cache.agents[org, name], count, self.now))
            cell = usage_fold.plain_cell(org, self.now, name, model, status.value, count)
            key = (org, cell.hour, cell.agent, cell.model, cell.status)
            known = self.changes.usage.get(key)
            self.changes.usage[key] = cell if known is None else usage_fold.merge(known, cell)
        self._tallies.clear()

    def put_thread(self, row: ThreadRow) -> ThreadRow:
        """Changes a thread."""
        self.cache.threads[(row.org, row.thread_id)] = row
        self.changes.threads[row.org, row.thread_id] = row
        return row

    def put_agent(self, row: AgentRow) -> None:
        """Changes an agent."""
        self.cache.agents[(row.org, row.name)] = row
        self.changes.agents[row.agent] = row

    def put_lane(self, lane: Lane) -> None:
        """Changes a lane."""
        self.cache.lanes[lane.run] = lane
        self.changes.lanes[lane.run] = lane

    async def new_run_number(self, org: int) -> int:
        """The next run's number."""
        counters = await self.counters(org)
        counters.runs += 1
        return shard_key(org, counters.runs)

    async def append(
        self,
        row: RunRow | None,
        run: int,
        agent: AgentRow | None,
        kind: EventType,
        data: bytes,
        *,
        org: int,
        dialect: str,
        facts: Facts = NO_FACTS,
        occurred_at: int | None = None,
        event_id: str | None = None,
    ) -> tuple[Event, RunRow]:
        """Gives an event its place, folds it into every projection, and keeps all of it. `row` None: the run is new."""
        counters = self.changes.counters.get(org) or await self.counters(org)
        counters.position = position = counters.position + 1
        ended = row is not None and row.status in TERMINAL
        event = Event(
            org,
            position,
            run,
            1 if row is None else row.last_seq + 1,
            kind,
            self.now,
            data,
            facts,
            b"" if facts is NO_FACTS else encode_facts(facts),
            dialect,
            occurred_at,
            event_id,
            0 if agent is None else agent.agent,
            ended and row is not None and not run_fold.revives(row, kind, facts),
            occurred_at is not None and occurred_at > self.now + FUTURE_TOLERANCE_MS,
        )
        name = None if agent is None else agent.name
        event, after = self._fold_run(row, event, name)
        self._fold_sums(row, after, event, agent)
        if facts.checkpoint is not None and not event.late:
            await self._fold_checkpoint(row, event, after, name or "unknown")
        if row is None or row.status is not after.status:
            await self._status_moved(row, after, event)
        return event, after

    def _fold_run(self, row: RunRow | None, event: Event, name: str | None) -> tuple[Event, RunRow]:
        base = run_fold.begin(event) if row is None else row
        after = run_fold.fold(base, event, name)
        if event.facts.report is not None and not event.late:
            # What the event spent shows only after the fold, and belongs into what is hashed.
            facts = msgspec.structs.replace(event.facts, spent=usage_fold.spent(base, after))
            event = msgspec.structs.replace(event, facts=facts, facts_json=encode_facts(facts))
        digest = chain_hash(base.last_hash, event)
        event = msgspec.structs.replace(event, hash=digest)
        after = msgspec.structs.replace(after, last_hash=digest)
        self.changes.events.append(event)
        change = self.changes.runs.get(event.run)
        if change is None:
            self.changes.runs[event.run] = RunChange(row, after)
        else:
            change.after = after
        self.cache.runs[event.run] = after
        if row is None:
            self.cache.knows_ids(event.run)
        if event.event_id is not None:
            self.note_id(event)
        return event, after

    def _fold_sums(self, row: RunRow | None, after: RunRow, event: Event, agent: AgentRow | None) -> None:
        """The projections that count and add up: the agent's row, and the roll-up cell."""
        key = usage_fold.key_of(after, event, None if agent is None else agent.name)
        cells = self.changes.usage
        cells[key] = usage_fold.fold(cells.get(key), key, row, after)
        if agent is not None:
            current = self.cache.agents.get((agent.org, agent.name), agent)
            self.put_agent(agent_fold.fold(current, row, after, event))

    async def _fold_checkpoint(self, row: RunRow | None, event: Event, after: RunRow, agent: str) -> None:
        facts = event.facts.checkpoint
        if facts is None:
            return
        agent = facts.agent or agent
        if row is None or (not facts.decision and row.is_first_step(agent, facts.step_index)):
            self.checkpoints_seen.setdefault((event.run, agent, facts.step_index), None)
        before = await self.checkpoint(event.run, agent, facts.step_index)
        changed = checkpoint_fold.fold(before, event, after, agent)
        if changed is not None and changed is not before:
            key = (event.run, agent, facts.step_index)
            self.checkpoints_seen[key] = self.changes.checkpoints[key] = changed

    async def _status_moved(self, row: RunRow | None, after: RunRow, event: Event) -> None:
        thread = await self.thread_made(after.org, after.thread_id)
        changed = thread_fold.fold(thread, row, after, event)
        if changed is not thread:
            self.put_thread(changed)
        if row is None or not after.has_lane:
            return
        lane = await self.lane(after.run)
        if lane is None:
            return
        if after.is_terminal() and lane.state is not QueueState.DONE:
            self.put_lane(msgspec.structs.replace(lane, state=QueueState.DONE, expires_at=None))
        elif row.status is Status.QUEUED and lane.state in (QueueState.QUEUED, QueueState.BLOCKED):
            # Somebody works on it without a claim: it is no longer anybody else's to take.
            self.put_lane(msgspec.structs.replace(lane, state=QueueState.DONE))
        if after.is_terminal():
            await self._unblock(changed)

    async def _unblock(self, thread: ThreadRow) -> None:
        """The thread's next run may be claimed now."""
        if not thread.lane_runs:
            return
        lane = await self.lane(thread.lane_runs[0])
        if lane is not None and lane.state is QueueState.BLOCKED:
            self.put_lane(msgspec.structs.replace(lane, state=QueueState.QUEUED))


def ref_key(org: int, ref: RunById | RunByForeignId | RunByTrace) -> RefKey:
    """The cache's name of a reference; no thread id holds a control character."""
    if isinstance(ref, RunById):
        return (org, "\x1frun", ref.run_id)
    if isinstance(ref, RunByForeignId):
        return (org, "\x1fforeign", ref.foreign_id)
    return (org, ref.thread_id, ref.trace_id)
