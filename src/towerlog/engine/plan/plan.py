"""A plan: what one group of commands will change, made in memory before anything is written.

It answers from what was loaded and from what it has changed itself, and raises `NotLoaded` for anything else. What it
changes stands in `changes`; the cache hears of it once it is on disk, so a plan that comes to nothing is just dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from towerlog.ambient import Ids
from towerlog.engine.load.misses import NotLoaded
from towerlog.engine.load.own_runs import own_run
from towerlog.engine.load.rows import Known, ref_key
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.alerts import AlertChanges
from towerlog.engine.plan.budgets import BudgetChanges
from towerlog.engine.plan.fold import Reactions, fold_event, told_parts
from towerlog.engine.plan.prices import PlacedPrices
from towerlog.engine.plan.run_state import RunState
from towerlog.model.agent import DEFAULT_AGENT, AgentRow
from towerlog.model.chain import content_digest, in_chain, link, pack_numbers
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import PLAIN_TYPES, Draft, Event, EventType, OpenRun, RunById, RunRef
from towerlog.model.facts import NO_FACTS, Effects, Facts, Origin
from towerlog.model.lane import Lane, WallOf
from towerlog.model.naming import is_named_by, named
from towerlog.model.principal import Counters, shard_key
from towerlog.model.run import TERMINAL, RunRow
from towerlog.model.thread import ThreadRow
from towerlog.model.times import FUTURE_TOLERANCE_MS, told_time
from towerlog.projections import approvals as approval_fold
from towerlog.projections import runs as run_fold
from towerlog.projections import usage as usage_fold
from towerlog.projections.agents import Tallies
from towerlog.projections.status import reports_recovery
from towerlog.store.content import HistoryNode, Message, MetaList
from towerlog.store.values import Changes, Kind, RunChange

MAX_PLAN_EVENTS = MAX_PLAN_RUNS = 2048
MAX_PLAN_MS = 100  # an organisation's prices, budgets and rules may make one event a hundred times as much work
"""Events of a commit, runs that it looks at, and its time of placing, but for its last piece: the rest waits."""
# By a name of its own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_TOOL_CALL = EventType.TOOL_CALL
encode_facts = msgspec.json.Encoder().encode


def is_plain(kind: EventType, effects: Effects | None) -> bool:
    """Whether it moves nothing but its run's place in the log, its clocks, its open tools, its clients' numbers."""
    return effects is None and kind in PLAIN_TYPES


class Plan:
    """The changes of one group, growing."""

    def __init__(
        self, known: Known, now_ms: int, serving_ms: int, ids: Ids, reactions: Reactions, wall_of: WallOf
    ) -> None:
        """A group has one time: of the wall clock, and of the clock of leases, whose moments `wall_of` shows."""
        self.known, self.cache = known, known.cache
        self.ids, self.reactions = ids, reactions
        self.now_ms, self.serving_ms, self.wall_of = now_ms, serving_ms, wall_of
        self.changes = Changes()
        self.tallies = Tallies(now_ms)
        self.spent_ms = 0  # on placing so far, as the writer has seen it
        self._encoded: tuple[Facts, bytes] = (NO_FACTS, b"")  # of the event before
        self.postponed: dict[Callable[[Plan, list[RunRow]], Steps[None]], list[RunRow]] = {}  # see `postponed`
        self._run_states: dict[int, RunState] = {}
        self._refs: dict[tuple[int, str, str], int] = {}
        self.trace_runs: dict[tuple[int, str], list[int]] = {}  # by a trace's foreign id: runs that begin here
        self.responses: dict[tuple[int, str], Event] = {}  # by event id: calls counted here, see `Kind.RESPONSE`
        # No `cached_property`: it gives the plan a dictionary, in which each attribute is looked up then.
        self._alerts: AlertChanges | None = None
        self._prices: PlacedPrices | None = None
        self._budgets: BudgetChanges | None = None
        self._agents: dict[tuple[int, str], AgentRow] = {}  # all asked for, as before this group; and new ones
        self.content: dict[bytes, int] = {}  # keys of nodes and lists of metas added here → how many they have

    def counters(self, org: int) -> Counters:
        """The organisation's counters, to be counted on in place; they are written with this plan."""
        found = self.changes.counters.get(org)
        if found is None:
            stored: Counters = self.cache.counters.get(org) or self.known.get(Kind.COUNTERS, org)
            found = Counters(stored.position, stored.runs, stored.agents)
            self.changes.counters[org] = found
        return found

    @property
    def alerts(self) -> AlertChanges:
        """What the group changes of rules, alerts and deliveries: most groups nothing."""
        self._alerts = self._alerts or AlertChanges(self.known, self.changes)
        return self._alerts

    def may_have_budgets(self, org: int) -> bool:
        """Whether an organisation has some, as far as is seen at once; most have none."""
        held = self.cache.budgets.get(org)
        return held is None or bool(held) or self._budgets is not None

    @property
    def budgets(self) -> BudgetChanges:
        """The organisations' budgets, as this group leaves them."""
        self._budgets = self._budgets or BudgetChanges(self.known, self.changes, self.now_ms)
        return self._budgets

    @property
    def prices(self) -> PlacedPrices:
        """The organisations' own prices, as this group leaves them."""
        self._prices = self._prices or PlacedPrices(self.known, self.changes)
        return self._prices

    def run_state(self, org: int, ref: RunRef) -> RunState | None:
        """The run of a reference; None for none."""
        if type(ref) is OpenRun:
            thread = self.thread(org, ref.thread_id)
            row = None if thread is None else self.own_run(thread)
            return None if row is None else self.run_state_of(row.run)
        key = ref_key(org, ref)  # type: ignore[arg-type]  # OpenRun was taken out above
        found = self._refs.get(key) or self.cache.refs.get(key) or self.known.run_number(key)
        return None if found is None else self.run_state_of(found)

    def own_run(self, thread: ThreadRow) -> RunRow | None:
        """The thread's own run."""

        def held(found: RunState | None) -> RunRow | None:
            return None if found is None else found.row

        org, by_number = thread.org, self.run_state_of
        return own_run(thread, lambda number: held(by_number(number)), lambda ref: held(self.run_state(org, ref)))

    def run_state_of(self, number: int) -> RunState | None:
        """A run by its number."""
        found = self._run_states.get(number)
        if found is None:
            row = self.cache.runs.get(number) or self.known.get(Kind.RUN, number)
            if row is not None:
                known = self.cache.event_ids.get(number)
                found = RunState(row, row, row.last_seq, row.last_hash, row.open_tools, known)
                self._run_states[number] = found
        return found

    def run(self, org: int, ref: RunRef) -> RunRow | None:
        """The row of a reference's run."""
        run_state = self.run_state(org, ref)
        return None if run_state is None else self.row_of(run_state)

    def run_by_number(self, number: int) -> RunRow | None:
        """A run's row."""
        run_state = self.run_state_of(number)
        return None if run_state is None else self.row_of(run_state)

    def now_of(self, row: RunRow) -> RunRow:
        """The row that was stored, as this group has left it so far."""
        run_state = self._run_states.get(row.run)
        return row if run_state is None else self.row_of(run_state)

    def row_of(self, run_state: RunState) -> RunRow:
        """The row with all that this group has done to it."""
        counts, row = run_state.counts, run_state.settled()
        for (agent, hour), events in counts.items():
            # Plain events have moved neither a model nor the status, and most runs that have them name no model.
            model = row.model_of(agent) if row.shares else None
            self.tallies.count((row.org, hour, agent, model or "", row.status), events)
        return row

    def name_run(self, org: int, ref: RunRef, run: int) -> None:
        """From now on the reference means this run."""
        if not isinstance(ref, OpenRun):
            self._refs[ref_key(org, ref)] = run

    def changed_runs(self) -> Iterator[tuple[RunRow | None, RunRow]]:
        """(before, after) of each run that has an event in this group."""
        for run_state in tuple(self._run_states.values()):
            if run_state.before is None or run_state.seq != run_state.before.last_seq:
                yield run_state.before, self.row_of(run_state)

    def thread(self, org: int, thread_id: str) -> ThreadRow | None:
        """A thread, None when there is none."""
        key, changes = (org, thread_id), self.changes
        if key in changes.threads or key in changes.left_threads:
            return changes.threads.get(key)
        return self.cache.threads.get(key) or self.known.get(Kind.THREAD, key)

    def thread_made(self, org: int, thread_id: str) -> ThreadRow:
        """A thread, made when new."""
        return self.thread(org, thread_id) or self.put_thread(ThreadRow(org, thread_id, self.now_ms, updated_at=0))

    def agent(self, org: int, name: str) -> AgentRow:
        """An agent by name, registered when new. Its counts are those before this group."""
        key = (org, name)
        if (found := self._agents.get(key)) is not None:
            return found
        found = self.cache.agents.get(key) or self.known.get(Kind.AGENT, key)
        if found is None:
            counters = self.counters(org)
            counters.agents += 1
            found = AgentRow(shard_key(org, counters.agents), org, self.ids.uuid(), name, self.now_ms)
            self.changes.agents[found.agent] = found
        self._agents[key] = found
        return found

    def agent_of(self, event: Event) -> str:
        """The name of the agent of an event of this group."""
        return next(row.name for row in self._agents.values() if row.agent == event.agent)

    def lane(self, run: int) -> Lane | None:
        """A run's lane, None when it has none."""
        found: Lane | None = self.changes.lanes.get(run) or self.cache.lanes.get(run)
        if found is None and not self.is_new(run):
            found = self.known.get(Kind.LANE, run)
        return found

    def event_by_id(self, run: int, event_id: str) -> Event | None:
        """The event that this run has under an id. Raises Damaged."""
        found = None if (run_state := self._run_states.get(run)) is None else run_state.ids.get(event_id)
        if found is not None or self.is_new(run) or self.known.is_new_id(run, event_id):
            return found
        return self.known.event(Kind.EVENT_ID, run, (run, event_id))

    def event_at(self, run: int, seq: int) -> Event | None:
        """An event of a run by its seq; None for one that was trimmed away. Raises Damaged."""
        run_state = self._run_states.get(run)
        if run_state is not None and (run_state.before is None or seq > run_state.before.last_seq):
            return next((event for event in self.changes.events if event.run == run and event.seq == seq), None)
        return self.known.event(Kind.EVENT, run, (run, seq))

    def checkpoint(self, run: int, agent: str, step_index: int) -> CheckpointRow | None:
        """A checkpoint row, with this group's changes."""
        key = (run, agent, step_index)
        found = self.changes.checkpoints.get(key)
        run_state = self._run_states.get(run)
        # The steps that its stored row knows are all lower: there is none in the store.
        is_new = run_state is not None and (
            run_state.before is None or run_state.before.is_first_step(agent, step_index)
        )
        if found is not None or (is_new and not self.known.has(Kind.CHECKPOINT, key)):
            return found
        stored: CheckpointRow | None = self.known.get(Kind.CHECKPOINT, key)
        return stored

    def loaded(self, kind: Kind, key: Any) -> Any:
        """What the store has under a key of a kind that this group does not change."""
        return self.known.get(kind, key)

    def is_new(self, run: int) -> bool:
        """Whether the run begins in this group."""
        run_state = self._run_states.get(run)
        return run_state is not None and run_state.before is None

    # changing

    def begin_run(self, org: int, origin: Origin, kind: EventType) -> RunState:
        """A new run, whose first event will be of this type."""
        counters = self.counters(org)
        counters.runs += 1
        number = shard_key(org, counters.runs)
        row = run_fold.row_of_origin(org, number, origin, kind, self.now_ms)
        run_state = RunState(None, row, row.last_seq, row.last_hash, row.open_tools, frozenset())
        self._run_states[number] = run_state
        self.name_run(org, RunById(origin.run_id), number)
        return run_state

    def append(
        self,
        run_state: RunState,
        agent: AgentRow,
        kind: EventType,
        data: bytes,
        *,
        dialect: str,
        facts: Facts = NO_FACTS,
        occurred_at: int | None = None,
        event_id: str | None = None,
        told: Draft | None = None,
    ) -> Event:
        """Gives an event its place, folds it into every projection, and keeps all of it. `told`: what it is made of."""
        row, effects, now = run_state.row, facts.effects, self.now_ms
        org, run, late, name = row.org, row.run, row.status in TERMINAL, agent.name
        late = late and (effects is None or not reports_recovery(row, kind, effects))
        is_alone = late or not is_plain(kind, effects)  # folded by itself, as is the first that names its agent
        if not is_alone and row.agent != name:
            is_alone = is_named_by(row, facts, name, late=late)
        parts: dict[str, Any] | None = None
        if is_alone:
            row = self.row_of(run_state)
            if effects is not None:
                facts, parts = told_parts(self, named(row, facts, name, late=late), facts, name, occurred_at, late=late)
        counters = self.changes.counters.get(org) or self.counters(org)
        counters.position = position = counters.position + 1
        future = occurred_at is not None and occurred_at > now + FUTURE_TOLERANCE_MS
        if facts is not self._encoded[0]:  # events of one kind that say nothing more share their facts
            self._encoded = (facts, b"" if facts is NO_FACTS else encode_facts(facts))
        facts_json = self._encoded[1]
        seq, number = run_state.seq + 1, agent.agent
        occurred = -1 if occurred_at is None else occurred_at
        numbers = pack_numbers(org, position, run, seq, now, occurred, number, late, future)
        content = b"" if told is None or event_id is None else told.content or content_digest(told.data)
        chained = told.chained if told is not None and data is told.data else b""
        digest = link(run_state.hash, numbers, kind, dialect, event_id, facts_json, content, chained or in_chain(data))
        event = Event(
            org, position, run, seq, kind, now, data, facts, facts_json, dialect,
            occurred_at, event_id, number, late, future, digest, content,
        )  # fmt: skip
        self.changes.events.append(event)
        if event_id is not None:
            run_state.ids[event_id] = event
        if is_alone:
            fold_event(self, run_state, row, event, agent, parts)
        else:
            told_at = None if occurred_at is None else told_time(occurred_at, now)
            run_state.take_plain(event, name, (now if told_at is None else told_at) // usage_fold.HOUR_MS)
        if kind is _TOOL_CALL and self.alerts.rules(org):
            for react in self.reactions.on_call:
                react(self, run_state, event)
        return event

    def note(
        self, row: RunRow, kind: EventType, members: dict[str, Any], facts: Facts = NO_FACTS, *, by: str
    ) -> RunRow:
        """Appends an event of the server's own; the row after it. `by` is the dialect that it is recorded under."""
        if (run_state := self.run_state_of(row.run)) is None:
            raise NotLoaded(Kind.RUN, row.run)
        agent = self.agent(row.org, row.agent or DEFAULT_AGENT)
        self.append(run_state, agent, kind, msgspec.json.encode(members), dialect=by, facts=facts)
        return self.row_of(run_state)

    def is_full(self) -> bool:
        """Whether one commit has enough to do: what can be left to a later one is left."""
        is_full = len(self.changes.events) >= MAX_PLAN_EVENTS or len(self._run_states) >= MAX_PLAN_RUNS
        return is_full or self.spent_ms >= MAX_PLAN_MS or (self._alerts is not None and self._alerts.is_full())

    def put_thread(self, row: ThreadRow) -> ThreadRow:
        """Changes a thread."""
        self.changes.threads[row.org, row.thread_id] = row
        return row

    def put_lane(self, lane: Lane) -> None:
        """Changes a lane."""
        self.changes.lanes[lane.run] = lane

    def keep_nodes(self, nodes: list[HistoryNode], messages: list[Message], keys: Iterable[tuple[bytes, int]]) -> None:
        """Adds nodes of a history with their messages; `keys`: what the cache knows each by, the last of so many."""
        self.changes.nodes += nodes
        self.changes.messages += messages
        self.content.update(keys)

    def keep_metas(self, metas: MetaList, key: bytes, length: int) -> None:
        """Adds a list of so many metas; `key` is what the cache knows it by."""
        self.changes.metas.append(metas)
        self.content[key] = length

    def settle(self) -> None:
        """Brings what was carried forward into `changes`: after this nothing more is placed."""
        changes = self.changes
        if self._budgets is not None:
            self._budgets.settle()
        for run_state in self._run_states.values():
            if run_state.before is None or run_state.seq != run_state.before.last_seq:
                after = self.row_of(run_state)
                changes.runs[after.run] = RunChange(run_state.before, after, run_state.moves)
                if after.questions or (run_state.before is not None and run_state.before.questions):
                    changes.approvals |= approval_fold.questions_moved(run_state.before, after)
        for org, found in tuple(changes.counters.items()):
            if found == (self.cache.counters.get(org) or self.known.get(Kind.COUNTERS, org)):
                del changes.counters[org]
        if changes.lanes:
            kept = self.cache.lanes
            changes.renewed = {run for run, lane in changes.lanes.items() if lane.is_renewal_of(kept.get(run))}
        self.tallies.settle(self._agents, changes.agents, changes.usage)

    def keep(self) -> None:
        """The changes are on disk: the cache may know them."""
        cache, changes = self.cache, self.changes
        cache.counters.put_all(changes.counters.items())
        for number, change in changes.runs.items():
            cache.runs[number] = change.after
            if change.before is None:
                cache.note_begun(change.after)
        cache.refs.update(self._refs)
        if changes.moved:
            cache.leave_threads(changes.left_threads, changes.moved.values())
        cache.threads.put_all(changes.threads.items())
        for row in changes.agents.values():
            cache.agents[(row.org, row.name)] = row
        cache.lanes.put_all(changes.lanes.items())
        for part in (self._budgets, self._alerts, self._prices):
            if part is not None:
                part.keep()
        cache.nodes.update(self.content)
        for number, run_state in self._run_states.items():
            cache.note_ids(number, run_state.ids)
        cache.trim()
