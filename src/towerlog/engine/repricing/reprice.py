"""Computing anew what was computed: by the prices of today, as of the time of each call. What was written stays there.

The difference is written beside it, as an event for each agent, model and hour of a run; asking again finds nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from typing import NamedTuple, Protocol
from weakref import WeakValueDictionary

import msgspec

from towerlog.engine.control.cancel import CONTROL, run_of
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.engine.pricing.book import PriceBook, PriceList
from towerlog.engine.queries.views import add_names
from towerlog.engine.repricing.replay import Replay
from towerlog.errors import Conflict, Overloaded
from towerlog.model.computed_costs import MAX_COMPUTED_CELLS
from towerlog.model.event import Event, EventType, Logged, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.name_pattern import NamePattern
from towerlog.model.outcome import Outcome, RunChanged
from towerlog.model.price import (
    MAX_PRICES,
    CorrectCosts,
    CostChange,
    PriceRow,
    Reprice,
    RepricedPage,
)
from towerlog.model.principal import Principal
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow
from towerlog.model.times import FUTURE_TOLERANCE_MS, format_ms
from towerlog.model.usage import NO_USAGE, dollars_json
from towerlog.projections.usage import HOUR_MS
from towerlog.store.base import Store

RUNS_AT_ONCE = 50
"""Runs that are read from the store at a time."""
MAX_RUNS = 500
MAX_EVENTS = 5000
MAX_CHANGES = 500
"""One request looks at no more runs, events and changes than these; the run with which it reaches one of them is looked
at whole."""
CHANGES_AT_ONCE = 500
"""Changes of one commit."""
MAX_TRIES = 5
"""How often a run is looked at again that has spent something meanwhile."""
EVENTS_AT_ONCE = 200
"""Of a run, from the store at a time."""
EVENTS_BETWEEN_TURNS = 8
"""Then the event loop may go on with something else."""
MAX_WAITING = 4
"""Requests of one organisation that wait for an earlier one of it."""
_NEVER_SPENDS = {EventType.MESSAGE_DELTA, EventType.TOOL_CALL, EventType.TOOL_RESULT, EventType.LANE_REPORT}
_TYPES = [kind.value for kind in EventType if kind not in _NEVER_SPENDS]
"""Types that may tell usage, or the model of it."""


class Submit(Protocol):
    """What writes changes."""

    def __call__(
        self, principal: Principal, command: CorrectCosts, dialect: str, idempotency: None, address: str | None
    ) -> Awaitable[Outcome]:
        """`dialect`: none; `address`: from where it was asked."""


class _Asked(NamedTuple):
    """What one request works with."""

    principal: Principal
    command: Reprice
    address: str | None
    book: PriceBook
    """Of its own: what it has looked up is forgotten with it."""
    own: tuple[PriceRow, ...]


class Repricing:
    """Answers `Reprice`."""

    def __init__(self, store: Store, listed: PriceList, submit: Submit) -> None:
        """`listed`: the prices of those who have none of their own."""
        self._store = store
        self._listed = listed
        self._submit = submit
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        """Of organisations for which something is computed."""
        self._waiting: Counter[int] = Counter()

    async def answer(self, principal: Principal, command: Reprice, address: str | None) -> RepricedPage:
        """What changes in some runs, the newest first. Unless it is a dry run that is written when this returns.

        The requests of one organisation are answered one after the other. Raises Overloaded where too many wait.
        """
        org = principal.org
        if self._waiting[org] > MAX_WAITING:
            raise Overloaded("Costs of this organisation are already being recomputed.", retry_after=1)
        turn = self._turns.setdefault(org, asyncio.Lock())
        self._waiting[org] += 1
        try:
            async with turn:
                await self._listed.read()
                asked = _Asked(principal, command, address, PriceBook(self._listed), await self._own(org))
                return await self._page(asked)
        finally:
            self._waiting[org] -= 1
            if not self._waiting[org]:
                del self._waiting[org]

    async def _page(self, asked: _Asked) -> RepricedPage:
        org, command = asked.principal.org, asked.command
        before, seen, events = command.before, 0, 0
        pattern = None if command.model is None else NamePattern(command.model)
        changes: list[CostChange] = []
        while seen < MAX_RUNS and events < MAX_EVENTS and len(changes) < MAX_CHANGES:
            rows = await self._store.runs(org, RunFilter(), RUNS_AT_ONCE, before)
            for row in rows:
                before, seen = row.run, seen + 1
                is_meant = row.last_event_at + FUTURE_TOLERANCE_MS >= command.since and _is_computed(row)
                if is_meant and (pattern is None or _may_use(row, pattern)):
                    found, looked = await self._run(asked, row)
                    changes, events = [*changes, *found], events + looked
                if seen >= MAX_RUNS or events >= MAX_EVENTS or len(changes) >= MAX_CHANGES:
                    break
            else:
                if not rows:
                    return RepricedPage(changes, seen, None)
        return RepricedPage(changes, seen, str(before))

    async def _own(self, org: int) -> tuple[PriceRow, ...]:
        """The organisation's own prices."""
        found: list[PriceRow] = []
        while page := await self._store.prices(org, MAX_PRICES, found[-1].number if found else None):
            found += page
        return tuple(found)

    async def _run(self, asked: _Asked, row: RunRow) -> tuple[list[CostChange], int]:
        """The changes of one run, and how many events were looked at. Raises Conflict where it spends all the time."""
        looked, replay = 0, await self._begun(asked, row)
        for _ in range(MAX_TRIES):
            if replay.is_stale:
                replay = await self._begun(asked, row)
            async for event, agent in self._events(row, replay.last_seq, _TYPES):
                replay.take(event, agent)
                looked += 1
                if not looked % EVENTS_BETWEEN_TURNS:
                    await asyncio.sleep(0)
            changes = replay.changes()
            if asked.command.dry_run or not changes:
                return changes, looked
            try:
                seq = replay.usage_seq
                for at in range(0, len(changes), CHANGES_AT_ONCE):
                    some = tuple(changes[at : at + CHANGES_AT_ONCE])
                    correct = CorrectCosts(row.run_id, seq, some)
                    done = await self._submit(asked.principal, correct, "", None, asked.address)
                    seq = done.row.usage_seq if isinstance(done, RunChanged) else seq
            except Conflict:
                continue  # it is read on from where this ended: few events, however many it has
            return changes, looked
        raise Conflict(f"Run {row.run_id} reports costs too often to be recomputed now: try again.")

    async def _begun(self, asked: _Asked, row: RunRow) -> Replay:
        earlier = [found async for found in self._events(row, 0, [EventType.COST_REPRICED.value])]
        return Replay(row, asked.command, asked.book, asked.own, earlier)

    async def _events(self, row: RunRow, after: int, types: list[str]) -> AsyncIterator[tuple[Logged, str]]:
        """Events of a run after a seq with the names of their agents, in order."""
        names: dict[int, str] = {}
        while page := await self._store.events(row.org, row.run, after, EVENTS_AT_ONCE, types):
            after = page[-1].seq
            await add_names(self._store, row.org, names, (event for event in page if isinstance(event, Event)))
            for event in page:
                yield event, names.get(event.agent, "") if isinstance(event, Event) else ""


def _is_computed(row: RunRow) -> bool:
    """Whether something was, and the run remembers all agents of which."""
    return row.retired is None and (row.usage.computed_nanos is not None or bool(row.usage.unpriced_calls))


def _may_use(row: RunRow, pattern: NamePattern) -> bool:
    """Whether something of a run may have been priced by such a model. Its events need not be read where its row has
    all models that were named in it, and none is meant."""
    shares = row.shares.values()
    # Who has no model of its own has told calls that name theirs: those of other keys.
    is_unknown = any(one.several_models or (one.model is None and one.increments != NO_USAGE) for one in shares)
    if is_unknown or len(row.computed_cells) >= MAX_COMPUTED_CELLS:
        return True
    named = {row.model, row.first_model, *(one.model for one in shares), *(cell.model for cell in row.computed_cells)}
    return any(pattern.fits((name or "").lower()) for name in named)


# Writing


def needs_of_correct(needs: Needs, principal: Principal, command: CorrectCosts) -> None:
    """The run and its agents."""
    needs.counters(principal.org)
    needs.run(principal.org, RunById(command.run_id))
    for change in command.changes:
        needs.agent(principal.org, change.agent)


def correct_costs(plan: Plan, principal: Principal, command: CorrectCosts) -> RunChanged:
    """Writes what was computed anew. Raises Conflict if the run has spent or got back something since; NotFound."""
    row = run_of(plan, principal, command.run_id)
    if row.usage_seq != command.usage_seq:
        raise Conflict("The run has spent something meanwhile, or its costs were recomputed.")
    for change in command.changes:
        run_state = plan.run_state_of(row.run)
        assert run_state is not None, "its row was found"
        changed, difference = change.repriced, change.new_nanos - change.old_nanos
        members = {
            "model": changed.model or None,
            "provider": change.provider,
            "hour": format_ms(changed.hour * HOUR_MS),
            "calls": change.calls,
            "old_usd": dollars_json(change.old_nanos),
            "new_usd": dollars_json(change.new_nanos),
            "difference_usd": dollars_json(difference),
            "priced_calls": -changed.counted.unpriced,
            "price_version": changed.version or None,
        }
        facts = Facts(effects=Effects(repriced=changed, provider=change.provider, cards=change.cards))
        plan.append(
            run_state,
            plan.agent(row.org, change.agent),
            EventType.COST_REPRICED,
            msgspec.json.encode(members),
            dialect=CONTROL,
            facts=facts,
            occurred_at=changed.hour * HOUR_MS,
        )
        row = plan.row_of(run_state)
    return RunChanged(row, changed=True)
