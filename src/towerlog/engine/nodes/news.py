"""News: what one node has committed, as others are told of it. It names what has changed; whoever hears of it reads it.

Events are named by the positions that they lie between, and all else that changes with them is found by them. So news
is short, and one that is lost is found by the next one's positions. What changes without an event is named by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from towerlog.model.principal import shard_org
from towerlog.model.run import RunRow, Status
from towerlog.store.values import RunChange
from towerlog.wake.base import Change, Commit

MAX_NAMED = 400
"""What one piece of news names by itself, of each kind; past it others are told that they do not know all."""


class MovedRun(msgspec.Struct, array_like=True, frozen=True):
    """A run whose status a commit has moved, or that has begun in it."""

    run: int
    was: Status | None
    """None: it is new."""
    moves: tuple[tuple[int, Status], ...]
    """(seq, status from that event on)."""

    def then(self, later: MovedRun) -> MovedRun:
        """Both, one after the other."""
        return MovedRun(self.run, self.was, (*self.moves, *later.moves))

    def before(self, row: RunRow) -> RunRow | None:
        """The row as it was, as far as whoever shows it asks."""
        return None if self.was is None else msgspec.structs.replace(row, status=self.was)


class News(msgspec.Struct, array_like=True):
    """What one organisation's commits have changed since a position."""

    org: int
    after: int
    """The position that its first event follows."""
    until: int
    """The position of its last event; `after` where it has none."""
    moved: dict[int, MovedRun] = {}
    runs: set[int] = set()
    """Runs whose rows have changed without an event, and lanes, and agents, by their numbers."""
    lanes: set[int] = set()
    agents: set[int] = set()
    budgets: set[str] = set()
    approvals: set[tuple[int, int]] = set()
    alerts: set[str] = set()
    erased: set[int] = set()
    """Runs of which something was erased."""
    has_messages: bool = False
    """Messages to people wait."""
    is_short: bool = False
    """More has changed than it names."""

    def add(self, later: News) -> None:
        """What came after it."""
        if later.until > later.after:
            self.after = later.after if self.until == self.after else min(self.after, later.after)
            self.until = max(self.until, later.until)
        for run, one in later.moved.items():
            known = self.moved.get(run)
            self.moved[run] = one if known is None else known.then(one)
        self.runs |= later.runs
        self.lanes |= later.lanes
        self.agents |= later.agents
        self.budgets |= later.budgets
        self.approvals |= later.approvals
        self.alerts |= later.alerts
        self.erased |= later.erased
        self.has_messages = self.has_messages or later.has_messages
        self.is_short = self.is_short or later.is_short
        self.bound()

    def bound(self) -> None:
        """Names no more than MAX_NAMED of a kind. What was erased is named in any case."""
        for named in (self.moved, self.runs, self.lanes, self.agents, self.budgets, self.approvals, self.alerts):
            if len(named) > MAX_NAMED:
                self.shorten()
                return

    def shorten(self) -> None:
        """Names nothing but positions."""
        self.is_short = True
        self.moved, self.runs, self.lanes, self.agents = {}, set(), set(), set()
        self.budgets, self.approvals, self.alerts = set(), set(), set()

    def names_rows(self) -> bool:
        """Whether anything has to be told of it but events and messages."""
        named = self.runs, self.lanes, self.agents, self.budgets, self.approvals, self.alerts
        return self.is_short or any(named)


def parts_of(commit: Commit) -> dict[int, Commit]:
    """A commit by organisation; most are of one."""
    orgs = {event.org for event in commit.events}
    orgs.update(change.after.org for change in commit.runs.values())
    orgs.update(lane.org for lane in commit.lanes.values())
    orgs.update(row.org for row in commit.agents.values())
    for keys in (commit.budgets, commit.alerts):
        orgs.update(org for org, _ in keys)
    orgs.update(shard_org(run) for run, _ in commit.approvals)
    orgs |= commit.messages_of | commit.unknown
    if len(orgs) <= 1:
        return dict.fromkeys(orgs, commit)
    return {org: _part(commit, org) for org in sorted(orgs)}


def _part(commit: Commit, org: int) -> Commit:
    return Commit(
        [event for event in commit.events if event.org == org],
        {run: change for run, change in commit.runs.items() if change.after.org == org},
        {run: lane for run, lane in commit.lanes.items() if lane.org == org},
        {number: row for number, row in commit.agents.items() if row.org == org},
        {key: row for key, row in commit.budgets.items() if key[0] == org},
        {key: row for key, row in commit.approvals.items() if shard_org(key[0]) == org},
        {key: row for key, row in commit.alerts.items() if key[0] == org},
        commit.messages_of & {org},
        commit.unknown & {org},
    )


def news_of(org: int, part: Commit) -> News:
    """What others are told of a commit of one organisation."""
    events = part.events
    after, until = (events[0].position - 1, events[-1].position) if events else (0, 0)
    told = {event.run for event in events}
    news = News(
        org,
        after,
        until,
        moved=dict(_moved(part.runs)),
        runs=set(part.runs) - told,
        lanes={run for run in part.lanes if run not in told},
        agents=set(part.agents) - {event.agent for event in events},
        budgets={budget_id for _, budget_id in part.budgets},
        approvals=set(part.approvals),
        alerts={alert_id for _, alert_id in part.alerts},
        has_messages=bool(part.messages_of),
    )
    news.bound()
    return news


def copied(news: News) -> News:
    """The same, to be added to."""
    sets = {name: set(getattr(news, name)) for name in ("runs", "lanes", "agents", "budgets", "approvals", "alerts")}
    return msgspec.structs.replace(news, moved=dict(news.moved), erased=set(news.erased), **sets)


def positions_of(news: News) -> News:
    """What is left of news where the commits themselves are told."""
    return News(news.org, news.after, news.until, erased=news.erased, has_messages=news.has_messages)


def _moved(runs: Mapping[int, Change]) -> Iterable[tuple[int, MovedRun]]:
    for run, change in runs.items():
        before = change.before
        if before is None or before.status is not change.after.status or change.moves:
            yield run, MovedRun(run, None if before is None else before.status, change.moves)


def without_told(part: Commit, told: int) -> Commit:
    """A commit whose events up to a position have been told already."""
    return msgspec.structs.replace(part, events=[event for event in part.events if event.position > told])


def changes_of(rows: Mapping[int, RunRow], moved: Mapping[int, MovedRun]) -> dict[int, Change]:
    """Run number → how it has changed, as far as was told. What was not told has not moved its status."""
    found: dict[int, Change] = {}
    for run, row in rows.items():
        known = moved.get(run)
        found[run] = RunChange(row, row) if known is None else RunChange(known.before(row), row, known.moves)
    return found
