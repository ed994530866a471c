"""What a group of commands may touch, read before anything of it is placed.

Each command says what it needs (`Needs`) as far as that can be known; what is found tells more (the lane of a run that
was named by its id), so the asking goes on until nothing new is wanted: usually one turn or two. What leads on from one
look-up to the next for longer (the spans above a span) is asked for by itself: the commands are not asked again for
each of its steps. Placing looks nothing up: what was not foreseen is raised as `NotLoaded`, loaded, and the group is
placed again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from towerlog.engine.load.cache import Cache, RowMap
from towerlog.engine.load.fetching import REF_FOREIGN, REF_RUN, RefKey, fetch
from towerlog.engine.load.misses import MAX_ALERTS_ASKED, MAX_LOOKED_UP, MAX_MISSING, MAX_SPANS_ABOVE, NotLoaded
from towerlog.engine.load.own_runs import own_run
from towerlog.engine.load.steps import Go, Steps
from towerlog.model.agent import DEFAULT_AGENT, AgentRow
from towerlog.model.event import DamagedEvent, Event, Logged, OpenRun, RunByForeignId, RunById, RunByTrace, RunRef
from towerlog.model.lane import Lane
from towerlog.model.run import RunRow
from towerlog.model.thread import ThreadRow
from towerlog.projections.scopes.budgets import BudgetSet
from towerlog.projections.scopes.prices import PriceSet
from towerlog.projections.scopes.row_sets import RowSet
from towerlog.projections.scopes.rules import RuleSet
from towerlog.store.base import Unit
from towerlog.store.lookup_keys import Claimant, Family, Parent
from towerlog.store.values import Kind, Loaded

NeedsSteps = Steps[None] | None
"""What a function gives that says what is needed: the steps in which it does so, where that is long."""
Asking = tuple[Callable[..., NeedsSteps], *tuple[Any, ...]]
"""Who says what it needs: a function that is called with the `Needs`, and what else it is called with."""
ASKED_AT_ONCE = 16
"""Commands that say what they need before the event loop may go on with something else."""
MAX_TURNS = 64
"""Questions to the store that one loading may take: what needs more names itself in a circle."""
_ALERT = Kind.ALERT


def ref_key(org: int, ref: RunById | RunByForeignId | RunByTrace) -> RefKey:
    """The name of a reference in maps."""
    if type(ref) is RunByForeignId:
        return (org, REF_FOREIGN, ref.foreign_id)
    if type(ref) is RunById:
        return (org, REF_RUN, ref.run_id)
    return (org, ref.thread_id, ref.trace_id)  # type: ignore[union-attr]  # the third of the three


def parent_of(row: RunRow) -> Parent:
    """What children name this run by."""
    return Parent(row.run, row.org, row.run_id, row.thread_id, row.trace_id, row.foreign_id or "")


_SETS: dict[Kind, Callable[[Iterable[Any]], RowSet[Any]]] = {
    Kind.BUDGETS: BudgetSet,
    Kind.PRICES: PriceSet,
    Kind.ALERT_RULES: RuleSet,
}
"""What all rows of an organisation are kept as."""


class Known:
    """What is known of the store while one group is placed: the cache, and what was loaded for this group."""

    def __init__(self, cache: Cache) -> None:
        """Rows of runs, threads, agents and lanes that are loaded are kept in `cache`."""
        self.cache = cache
        self.values: dict[Kind, dict[Any, Any]] = defaultdict(dict)
        """Of what was loaded and is not in the cache."""
        self.asked: dict[Kind, set[Any]] = defaultdict(set)
        """Keys that were loaded: one that has no value is known to be absent."""
        self.claim_limit = 1
        """Lanes that are loaded for a claim: as many as commands of the group may take out of the queue."""
        self.wider: dict[Claimant, Claimant] = {}
        """Claims for which that was too few, and how they were asked for again."""
        self.more_work: Counter[int] = Counter()
        """By organisation: work of looking up that no command tells beforehand, in plain events."""
        self.notes: dict[Any, Any] = {}
        """What the needs have worked out and placing wants again."""
        self.reach: int | None = None
        """How many of the group's commands, or of the rows that a timer acts on, it takes; None: all. The others would
        have it look up more than `MAX_ALERTS_ASKED`."""
        self._portions: dict[int, int] = {}
        self._cached: dict[Kind, RowMap[Any, Any]] = {
            Kind.COUNTERS: cache.counters,
            Kind.RUN: cache.runs,
            Kind.THREAD: cache.threads,
            Kind.AGENT: cache.agents,
            Kind.LANE: cache.lanes,
            Kind.BUDGETS: cache.budgets,
            Kind.PRICES: cache.prices,
            Kind.ALERT_RULES: cache.alert_rules,
        }

    def portion_of(self, items: Sequence[Any]) -> int:
        """How many items of a command the group takes."""
        return self._portions.get(id(items), len(items))  # they live as long as their command

    def take_only(self, items: Sequence[Any], count: int) -> None:
        """The group takes no more than so many of these, at least one."""
        self._portions[id(items)] = max(1, min(count, self.portion_of(items)))

    def has(self, kind: Kind, key: Any) -> bool:
        """Whether it is known what the store has under this key, or that it has nothing."""
        return key in self.asked[kind] or key in self._cached.get(kind, ())

    def get(self, kind: Kind, key: Any) -> Any:
        """What the store has; None for nothing. Raises NotLoaded where that is not known."""
        cached = self._cached.get(kind)
        found = self.values[kind].get(key) if cached is None else cached.get(key)
        if found is None and key not in self.asked[kind]:
            raise NotLoaded(kind, key)
        return found

    def event(self, kind: Kind, run: int, key: Any) -> Event | None:
        """What the store has under a kind whose values are events of a run. Raises NotLoaded, Damaged."""
        found: Logged | None = self.get(kind, key)
        if isinstance(found, DamagedEvent):
            row: RunRow | None = self.get(Kind.RUN, run)
            raise found.error(None if row is None else row.run_id)
        return found

    def run_number(self, key: RefKey) -> int | None:
        """The number of the run that a reference means; None for none. Raises NotLoaded."""
        number = self.cache.refs.get(key)
        if number is None and key not in self.asked[Kind.REF]:
            raise NotLoaded(Kind.REF, key)
        return number

    def agent_name(self, org: int, agent_id: str) -> str | None:
        """An agent's name by its UUID; None for none. Raises NotLoaded."""
        name = self.cache.agent_names.get((org, agent_id))
        if name is None and (org, agent_id) not in self.asked[Kind.AGENT_ID]:
            raise NotLoaded(Kind.AGENT_ID, (org, agent_id))
        return name

    def is_new_id(self, run: int, event_id: str) -> bool:
        """True where no stored event of the run can have this id."""
        known = self.cache.event_ids.get(run)
        if known is not None and hash(event_id) not in known:
            return True
        key = (run, event_id)
        return key in self.asked[Kind.EVENT_ID] and key not in self.values[Kind.EVENT_ID]

    def claimant(self, org: int, agents: tuple[str, ...] | None, labels: dict[str, str]) -> Claimant:
        """The question for what a claim may take, as it was asked for this group."""
        asked = Claimant(org, agents, tuple(sorted(labels.items())), self.claim_limit)
        return self.wider.get(asked, asked)

    def want_more(self, claimant: Claimant) -> None:
        """All that was offered is taken, and the store may have more. Raises NotLoaded."""
        asked = claimant._replace(limit=self.claim_limit)
        wider = self.wider[asked] = claimant._replace(limit=2 * claimant.limit)
        raise NotLoaded(Kind.CLAIMS, wider)

    def absorb(self, wanted: dict[Kind, list[Any]], found: Loaded) -> None:
        """Takes in what was loaded."""
        for kind, keys in wanted.items():
            self.asked[kind].update(keys)
            self._take(kind, found.get(kind, {}))

    def _take(self, kind: Kind, found: dict[Any, Any]) -> None:
        cache = self.cache
        if kind in _SETS:
            self._cached[kind].put_all((org, _SETS[kind](rows)) for org, rows in found.items())
        elif kind in self._cached:
            self._cached[kind].put_all(found.items())
        elif kind is Kind.REF:
            for key, row in found.items():
                cache.refs[key] = row.run
                cache.runs[row.run] = row
        elif kind is Kind.AGENT_ID:
            for (org, agent_id), row in found.items():
                cache.agent_names[(org, agent_id)] = row.name
                cache.agents[(org, row.name)] = row
        else:
            self.values[kind].update(found)
            self._take_rows(kind, found)

    def _take_rows(self, kind: Kind, found: dict[Any, Any]) -> None:
        """Rows that came with an answer answer other questions as well."""
        cache = self.cache
        if kind in (Kind.FAMILY, Kind.THREAD_RUNS, Kind.TRACE_RUNS):
            cache.runs.put_all((row.run, row) for rows in found.values() for row in rows)
            for key, rows in found.items() if kind is Kind.TRACE_RUNS else ():
                cache.note_trace(key[0], key[1], tuple(row.run for row in rows))
            if kind is Kind.TRACE_RUNS:
                named = (row for rows in found.values() for row in rows if row.foreign_id is not None)
                cache.refs.update({ref_key(row.org, RunByForeignId(str(row.foreign_id), "")): row.run for row in named})
        elif kind is Kind.CLAIMS:
            for pairs in found.values():
                cache.lanes.put_all((lane.run, lane) for lane, _ in pairs)
                cache.runs.put_all((row.run, row) for _, row in pairs)
        elif kind is Kind.DECISION:
            rows = {(row.run, row.agent, row.step_index): row for found_rows in found.values() for row in found_rows}
            self.values[Kind.CHECKPOINT].update(rows)
            self.asked[Kind.CHECKPOINT].update(rows)


class Needs:
    """Collects what is wanted; each method gives what is known so far, None also for what is not known yet."""

    def __init__(self, known: Known) -> None:
        """Asks for nothing that is known."""
        self.known = known
        self.cache = known.cache
        self.wanted: dict[Kind, dict[Any, None]] = {}
        self.misses = 0
        """How often something was asked for that is not known yet."""
        self.looked_up = 0  # ids, each once for every run in which it was looked for
        self.ways: list[Asking] = []
        """Who asks for what leads from one look-up to the next: asked by themselves until they have all."""
        self._looked_through: set[tuple[int, str]] = set()
        self._looked_at = 0

    def want(self, kind: Kind, key: Any) -> Any:
        """Anything by kind and key."""
        try:
            return self.known.get(kind, key)
        except NotLoaded as missing:
            self._miss(missing)
            return None

    def _miss(self, missing: NotLoaded) -> None:
        self.misses += 1
        self.wanted.setdefault(missing.kind, {})[missing.key] = None

    def is_full(self) -> bool:
        """Whether this turn has enough to look up: what has not been asked for is left to a later group."""
        alerts = self.wanted.get(_ALERT)
        return self.looked_up >= MAX_LOOKED_UP or (alerts is not None and len(alerts) >= MAX_ALERTS_ASKED)

    def counters(self, org: int) -> None:
        """Everything that gives out a number; and the prices, budgets and rules, which whatever happens may move."""
        self.want(Kind.COUNTERS, org)
        self.want(Kind.BUDGETS, org)
        self.want(Kind.PRICES, org)
        self.want(Kind.ALERT_RULES, org)

    def run(self, org: int, ref: RunRef) -> RunRow | None:
        """A run by what a sender calls it."""
        if type(ref) is OpenRun:
            thread = self.thread(org, ref.thread_id)
            return None if thread is None else self.own_run(thread)
        key = ref_key(org, ref)  # type: ignore[arg-type]  # OpenRun was taken out above
        number = self.cache.refs.get(key, 0)
        if not number:
            if key not in self.known.asked[Kind.REF]:
                self._miss(NotLoaded(Kind.REF, key))
            return None
        return self.run_by_number(number)

    def own_run(self, thread: ThreadRow) -> RunRow | None:
        """The thread's own run."""
        return own_run(thread, self.run_by_number, lambda ref: self.run(thread.org, ref))

    def run_by_number(self, number: int) -> RunRow | None:
        """A run."""
        return self.cache.runs.get(number) or self.want(Kind.RUN, number)

    def thread(self, org: int, thread_id: str) -> ThreadRow | None:
        """A thread."""
        found: ThreadRow | None = self.cache.threads.get((org, thread_id)) or self.want(Kind.THREAD, (org, thread_id))
        return found

    def to_look_through(self, thread: ThreadRow) -> tuple[int, ...]:
        """The open runs of a thread when it is asked for first; of many such threads, those of the first ones: what
        there is in the others is looked up when it is wanted, if the group gets that far."""
        name = thread.org, thread.thread_id
        if name in self._looked_through or self._looked_at > MAX_MISSING:
            return ()
        self._looked_through.add(name)
        self._looked_at += len(thread.open_runs)
        return thread.open_runs

    def agent(self, org: int, name: str) -> AgentRow | None:
        """An agent by name."""
        found: AgentRow | None = self.cache.agents.get((org, name)) or self.want(Kind.AGENT, (org, name))
        return found

    def agent_by_id(self, org: int, agent_id: str) -> AgentRow | None:
        """An agent by UUID."""
        name = self.cache.agent_names.get((org, agent_id))
        if name is not None:
            return self.agent(org, name)
        if (org, agent_id) not in self.known.asked[Kind.AGENT_ID]:
            self._miss(NotLoaded(Kind.AGENT_ID, (org, agent_id)))
        return None

    def lane(self, run: int) -> Lane | None:
        """A run's lane."""
        found: Lane | None = self.cache.lanes.get(run) or self.want(Kind.LANE, run)
        return found

    def event_id(self, run: int, event_id: str) -> Event | None:
        """The event that a run has under this id; None also where it is damaged, which placing refuses."""
        if self.known.is_new_id(run, event_id):
            return None
        found: Logged | None = self.want(Kind.EVENT_ID, (run, event_id))
        return None if isinstance(found, DamagedEvent) else found

    def notes(self, row: RunRow) -> None:
        """An event of ours in this run: its agent."""
        self.agent(row.org, row.agent or DEFAULT_AGENT)

    def moves(self, row: RunRow) -> None:
        """A change of the run's status: its thread, its lane, and the one that may be free when it ends."""
        self.notes(row)
        thread = self.thread(row.org, row.thread_id)
        if not row.has_lane:
            return
        self.lane(row.run)
        for number in () if thread is None else thread.lane_runs[:2]:
            self.lane(number)

    def ends_below(self, row: RunRow, cancelling: bool = False) -> None:
        """The same of the run and of what one step may end below it; `cancelling`: of those being cancelled as well."""
        self.moves(row)
        for child in self.want(Kind.FAMILY, Family(parent_of(row), cancelling)) or ():
            self.moves(child)

    def claims(self, org: int, agents: tuple[str, ...] | None, labels: dict[str, str]) -> list[tuple[Lane, RunRow]]:
        """What a claim may take: as many lanes as this group may take out of the queue."""
        return self.want(Kind.CLAIMS, self.known.claimant(org, agents, labels)) or []


async def load(
    unit: Unit, known: Known, serving_ms: int, asking: Iterable[Asking], go: Go, max_turns: int = MAX_TURNS
) -> int:
    """Loads all that is asked for; how many questions it took. Who has nothing more to ask is not called again.

    Where that is too much for one group, it is loaded as far as `known.reach` says then.
    """
    turns = 0
    waiting = list(enumerate(asking))
    while waiting and turns < max_turns:
        needs = Needs(known)
        asks = _ask(needs, waiting)
        try:
            next(asks)  # most of what is asked for is short
        except StopIteration as done:
            still: list[tuple[int, Asking]] = done.value
        else:
            still = await go(asks)
        if not needs.wanted and not needs.ways:
            return turns
        if needs.wanted:
            await fetch(unit, known, serving_ms, needs.wanted)
            turns += 1
        if needs.ways:
            await load(unit, known, serving_ms, needs.ways, go, MAX_SPANS_ABOVE)
        waiting = still
    return turns


def _ask(needs: Needs, waiting: list[tuple[int, Asking]]) -> Steps[list[tuple[int, Asking]]]:
    """Has all of them say what they need, each by its place in the group; those that may have more to say once that is
    known."""
    still = []
    for index, (place, asked) in enumerate(waiting):
        if index and not index % ASKED_AT_ONCE:
            yield
        if index and needs.is_full():
            needs.known.reach = place
            break
        misses = needs.misses
        steps = asked[0](needs, *asked[1:])
        if steps is not None:
            yield from steps
        if needs.misses != misses:
            still.append((place, asked))
    return still


async def load_missed(unit: Unit, known: Known, serving_ms: int, missing: Iterable[NotLoaded], go: Go) -> None:
    """What placing asked for, in one question; and what that leads to."""
    wanted: dict[Kind, list[Any]] = {}
    ways: list[Asking] = []
    for one in missing:
        wanted.setdefault(one.kind, []).append(one.key)
        if one.way is not None:
            ways.append(one.way)
    await fetch(unit, known, serving_ms, wanted)
    if ways:
        await load(unit, known, serving_ms, ways, go, MAX_SPANS_ABOVE)
