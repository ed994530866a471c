"""The kinds of rows that can be watched: which of them a commit has changed, and how they are read back.

A row is sent as its list shows it. Whoever adds a kind adds a line to `WATCHED`, and its encoder to the style.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import structlog

from towerlog.engine.follow.channel import MAX_CHUNK_BYTES
from towerlog.engine.queries import lanes, usage, views
from towerlog.engine.queries.context import QueryContext
from towerlog.engine.queries.inbox import approvals
from towerlog.errors import Damaged, NotFound
from towerlog.model.alert import AlertNow, AlertRow
from towerlog.model.budget import MAX_BUDGETS, BudgetScope
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import AgentView, RunView
from towerlog.model.principal import Principal, shard_org
from towerlog.model.question import RowFilter, RowKind
from towerlog.model.run import RunRow, Status
from towerlog.wake.base import Change, Commit

MAX_UNTRACED = 1000
"""Rows of a kind that changes without events, all of which are sent to a reader that comes back; if there are more,
it has to read the list."""

Key = int | str
"""A row's number in the store; a lane has that of its run, budgets and alerts have their ids. An approval is the number
of its run and the `seq` of what asks, with a full stop between; a number alone is all that this run has asked."""

log = structlog.get_logger("towerlog.live")


class Traits(msgspec.Struct, frozen=True, gc=False):
    """What a filter asks of a row; None for what its kind has not."""

    agent: str | None = None
    status: Status | None = None
    thread_id: str | None = None
    run_id: str | None = None


class LoadedRow(msgspec.Struct, frozen=True, gc=False):
    """A row as it is now."""

    key: Key
    view: Any
    """What the encoder of its list takes; None: it is there no more."""
    traits: Traits
    name: str = ""
    """Id of a deleted row, as its readers know it."""


class Loaded(NamedTuple):
    """Some rows as they are now."""

    rows: list[LoadedRow]
    left: Sequence[Key] = ()
    """What was asked for and not looked at, since what was found is large. At least one always is."""


class Missed(NamedTuple):
    """What a reader has missed."""

    position: int
    """It has everything up to there."""
    runs: Sequence[int]
    """Runs with events since."""


class Watched(msgspec.Struct, frozen=True):
    """One kind of rows."""

    changed: Callable[[Commit], Iterable[tuple[int, Key, Any]]]
    """Of a commit: organisation, key, and what `was` is asked with."""
    was: Callable[[Any], tuple[Traits, ...]]
    """The traits with which it may have been seen, where they can have been others: those before the commit, and those
    on its way to what it is now."""
    load: Callable[[QueryContext, Principal, Sequence[Key]], Awaitable[Loaded]]
    """The rows of some keys as they are now; of what is not to be found any more nothing is said."""
    missed: Callable[[QueryContext, int, Missed], Awaitable[list[Key] | None]]
    """(…, organisation, since when) → what may have changed since then; None where that is too much."""
    may_go: bool = False
    """Rows leave their list without being sent as something else. `missed` gives all that are in it then: of what is
    gone nothing is left that could be found."""


def fits(wanted: RowFilter, kind: RowKind, now: Traits | None, was: tuple[Traits, ...]) -> bool:
    """Whether a reader is told of a row: it meets the conditions, or met them since it was told last, or is gone."""
    if kind not in wanted.kinds:
        return False
    return now is None or _meets(wanted, now) or any(_meets(wanted, one) for one in was)


def _meets(wanted: RowFilter, traits: Traits) -> bool:
    return (
        (wanted.agent is None or traits.agent == wanted.agent)
        and (wanted.statuses is None or traits.status is None or traits.status in wanted.statuses)
        and (wanted.thread_id is None or traits.thread_id == wanted.thread_id)
        and (wanted.run_id is None or traits.run_id == wanted.run_id)
    )


def _nothing(_change: object) -> tuple[Traits, ...]:
    """Of rows whose traits do not change."""
    return ()


def _numbers(keys: Sequence[Key]) -> list[int]:
    return [key for key in keys if isinstance(key, int)]


# Runs


def _changed_runs(commit: Commit) -> Iterable[tuple[int, Key, Change]]:
    return [(change.after.org, number, change) for number, change in commit.runs.items()]


def _run_was(change: Change) -> tuple[Traits, ...]:
    """Also what it was for a moment: whoever reads the list while several commits are told as one has seen that."""
    before = () if change.before is None else (_run_traits(change.before),)
    if not change.moves:
        return before
    now = _run_traits(change.after)
    return (*before, *[msgspec.structs.replace(now, status=status) for _, status in change.moves])


def _run_traits(row: RunRow) -> Traits:
    return Traits(row.agent, row.status, row.thread_id, row.run_id)


async def _load_runs(source: QueryContext, principal: Principal, keys: Sequence[Key]) -> Loaded:
    found = await source.store.runs_by_number(principal.org, _numbers(keys))
    shown = await views.run_views(source.store, principal, list(found.values()), source.now())
    return Loaded([LoadedRow(view.row.run, view, _run_traits(view.row)) for view in shown])


async def _missed_runs(source: QueryContext, org: int, missed: Missed) -> list[Key] | None:
    return list(missed.runs)


# Agents


def _changed_agents(commit: Commit) -> Iterable[tuple[int, Key, None]]:
    return [(row.org, number, None) for number, row in commit.agents.items()]


async def _load_agents(source: QueryContext, principal: Principal, keys: Sequence[Key]) -> Loaded:
    found = await source.store.agents_by_number(principal.org, _numbers(keys))
    return Loaded([LoadedRow(row.agent, AgentView(row), Traits(row.name)) for row in found])


async def _missed_agents(source: QueryContext, org: int, missed: Missed) -> list[Key] | None:
    """All: heartbeats and registrations are no events."""
    found = await source.store.agents(org, MAX_UNTRACED + 1, None, None)
    return None if found.cut or len(found) > MAX_UNTRACED else [row.agent for row in found]


# Lanes


def _changed_lanes(commit: Commit) -> Iterable[tuple[int, Key, None]]:
    return [(lane.org, number, None) for number, lane in commit.lanes.items()]


async def _load_lanes(source: QueryContext, principal: Principal, keys: Sequence[Key]) -> Loaded:
    found = await source.store.lanes_of(principal.org, _numbers(keys))
    shown = await lanes.views_of(source, principal, found)
    return Loaded([LoadedRow(view.lane.run, view, _lane_traits(view.run, view.lane)) for view in shown])


def _lane_traits(run: RunView, lane: Lane) -> Traits:
    return Traits(lane.agent, None, run.row.thread_id, run.row.run_id)


async def _missed_lanes(source: QueryContext, org: int, missed: Missed) -> list[Key] | None:
    """Those that are not done, since heartbeats are no events; and of the runs with events those that are done."""
    still = await source.store.lanes(org, MAX_UNTRACED + 1)
    if len(still) > MAX_UNTRACED:
        return None
    ended = [lane.run for lane in await source.store.lanes_of(org, missed.runs) if lane.state is QueueState.DONE]
    return [*(lane.run for lane in still), *ended]


# Budgets


def _changed_budgets(commit: Commit) -> Iterable[tuple[int, Key, None]]:
    return [(org, budget_id, None) for org, budget_id in commit.budgets]


async def _load_budgets(source: QueryContext, principal: Principal, keys: Sequence[Key]) -> Loaded:
    found = await source.store.budgets(principal.org, MAX_BUDGETS, None)
    now_ms = source.clock.now_ms()
    shown = [await usage.budget_now(source, row, now_ms) for row in found if row.budget_id in set(keys)]
    rows = {view.row.budget_id: LoadedRow(view.row.budget_id, view, _budget_traits(view.row.scope)) for view in shown}
    return Loaded([rows.get(str(key)) or LoadedRow(key, None, Traits(), str(key)) for key in keys])


def _budget_traits(scope: BudgetScope) -> Traits:
    return Traits(scope.agent, None, scope.thread_id, scope.run_id)


async def _missed_budgets(source: QueryContext, org: int, missed: Missed) -> list[Key] | None:
    return [row.budget_id for row in await source.store.budgets(org, MAX_BUDGETS, None)]


# Approvals


def _changed_approvals(commit: Commit) -> Iterable[tuple[int, Key, None]]:
    """First runs whose status was shown with what they ask, or that have ended and left it: all of it is sent then, and
    what stands there by itself is not sent twice."""
    runs = [(change.after.org, number, None) for number, change in commit.runs.items() if _moves_approvals(change)]
    return [*runs, *((shard_org(run), f"{run}.{seq}", None) for run, seq in commit.approvals)]


def _moves_approvals(change: Change) -> bool:
    before, after = change.before, change.after
    if before is None or before.status is after.status:
        return False
    return bool(after.questions) or after.latest_step() is not None


async def _load_approvals(source: QueryContext, principal: Principal, keys: Sequence[Key]) -> Loaded:
    """Each with its event, which may be large: those that do not fit beside the others are left."""
    org = principal.org
    wanted: dict[str, None] = {}
    for key in keys:
        wanted |= dict.fromkeys([key] if isinstance(key, str) else await _asked_by(source, org, key))
    found: list[LoadedRow] = []
    size = 0
    for done, key in enumerate(wanted):
        if size > MAX_CHUNK_BYTES:
            return Loaded(found, list(islice(wanted, done, None)))
        row = await _approval_row(source, org, key)
        if row is not None:
            found.append(row)
            size += 0 if row.view is None else len(row.view.data)
    return Loaded(found)


async def _asked_by(source: QueryContext, org: int, run: int) -> list[str]:
    """What a run has open, or had when it ended, as far as no answer has closed it."""
    waiting = await source.store.approvals(org, MAX_UNTRACED, 0, None, run)
    left = await source.store.checkpoints_undecided(org, run, MAX_UNTRACED)
    return [f"{run}.{seq}" for seq in dict.fromkeys([row.seq for row in waiting] + [row.seq for row in left])]


async def _approval_row(source: QueryContext, org: int, key: str) -> LoadedRow | None:
    run, seq = (int(part) for part in key.split("."))
    try:
        view = await approvals.approval_at(source, org, run, seq)
    except NotFound:
        return None
    except Damaged:  # the others are to be shown all the same
        log.exception("row_failed", kind=RowKind.APPROVAL.value, key=key)
        return None
    agent = view.run.agent if view.row.agent is None else view.row.agent
    return LoadedRow(key, view, Traits(agent, None, view.run.thread_id, view.run.run_id))


async def _missed_approvals(source: QueryContext, org: int, missed: Missed) -> list[Key] | None:
    found = await source.store.approvals(org, MAX_UNTRACED + 1, 0, None, None)
    return None if found.cut or len(found) > MAX_UNTRACED else [f"{row.run}.{row.seq}" for row in found]


# Alerts


def _changed_alerts(commit: Commit) -> Iterable[tuple[int, Key, None]]:
    return [(org, alert_id, None) for org, alert_id in commit.alerts]


async def _load_alerts(source: QueryContext, principal: Principal, keys: Sequence[Key]) -> Loaded:
    found = [await source.store.alert(principal.org, str(key)) for key in keys]
    return Loaded([LoadedRow(row.alert_id, AlertNow(row), _alert_traits(row)) for row in found if row is not None])


def _alert_traits(row: AlertRow) -> Traits:
    return Traits(row.agent, None, row.thread_id, row.run_id)


async def _missed_alerts(source: QueryContext, org: int, missed: Missed) -> list[Key] | None:
    """By the place at which each has changed: some do so without an event."""
    found = await source.store.alerts_since(org, missed.position, MAX_UNTRACED + 1)
    return None if len(found) > MAX_UNTRACED else [row.alert_id for row in found]


WATCHED: dict[RowKind, Watched] = {
    RowKind.RUN: Watched(_changed_runs, _run_was, _load_runs, _missed_runs),
    RowKind.AGENT: Watched(_changed_agents, _nothing, _load_agents, _missed_agents),
    RowKind.LANE: Watched(_changed_lanes, _nothing, _load_lanes, _missed_lanes),
    RowKind.BUDGET: Watched(_changed_budgets, _nothing, _load_budgets, _missed_budgets, may_go=True),
    RowKind.APPROVAL: Watched(_changed_approvals, _nothing, _load_approvals, _missed_approvals, may_go=True),
    RowKind.ALERT: Watched(_changed_alerts, _nothing, _load_alerts, _missed_alerts),
}
"""Every kind."""
