"""What budgets should have counted, told, paused and held: kept by hand, without looking at how the engine does it.

Every run is open for ever, and no agent ever takes a command: a run is asked to pause, to resume, or nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

DOLLAR = 1_000_000_000
HOUR_MS = 3_600_000


@dataclass(eq=False)
class Spender:
    """A run."""

    name: str
    agent: str
    thread: str
    parent: Spender | None = None
    run_id: str = ""
    """Once it has begun."""
    asked: str | None = None
    """`pause` or `resume`."""
    is_linked: bool = True
    """Somebody has told whose child it is."""

    def line(self) -> list[Spender]:
        """It and those above it, as far as that is known."""
        return [self, *([] if self.parent is None or not self.is_linked else self.parent.line())]


@dataclass(eq=False)
class Purse:
    """A budget. `step` is what the timer has to bring to its runs."""

    budget_id: str
    subject: str
    """What people are told that it is of."""
    scope: tuple[str, str]
    """(`organisation`, ""), (`agent`, name), (`thread`, id) or (`run`, name)."""
    amount: int
    period: str
    action: str
    warn: int
    start: int = 0
    spent: int = 0
    reserved: int = 0
    told_of: set[str] = field(default_factory=set)
    """`warning`, `exceeded`: what was told in this period."""
    step: str | None = None
    has_paused: bool = False
    paused: set[str] = field(default_factory=set)
    """Names of the runs that are paused by it."""
    let_go: set[str] = field(default_factory=set)
    """Names of the runs that people let go on since it was used up, and that have spent nothing since."""
    deleted: bool = False

    @property
    def exceeded(self) -> bool:
        return self.spent >= self.amount

    @property
    def stops(self) -> bool:
        return self.exceeded and self.action == "pause" and not self.deleted

    def covers(self, run: Spender) -> bool:
        kind, name = self.scope
        if kind == "run":
            return any(one.name == name for one in run.line())
        return {"organisation": True, "agent": run.agent == name, "thread": run.thread == name}[kind]

    def words(self) -> str:
        return f"{self.subject} has exceeded its budget of ${self.amount // DOLLAR}.00"

    def go_on(self) -> None:
        self.step, self.let_go = "resume" if self.has_paused else None, set()

    def stop_anew(self) -> None:
        self.step, self.let_go = "stop", set()


@dataclass(eq=False)
class Hold:
    """A reservation."""

    run: Spender
    amount: int
    ttl_ms: int
    ends_at: int
    purses: list[Purse]


def begin_of(period: str, now_ms: int) -> int:
    """When the period began that this moment is in."""
    if period == "month":
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()) * 1000
    lengths = {"total": None, "hour": HOUR_MS, "day": 24 * HOUR_MS}
    length = lengths[period]
    return 0 if length is None else now_ms // length * length


class Books:
    """All budgets, reservations and runs of an organisation. Times are given: wall ms; of reservations steady ms."""

    def __init__(self) -> None:
        self.runs: dict[str, Spender] = {}
        self.purses: list[Purse] = []
        self.holds: dict[str, Hold] = {}
        self.sums: list[tuple[int, Spender, int]] = []
        """(wall ms, run, nano-dollars)."""
        self.told: Counter[tuple[str, str]] = Counter()
        """(budget id, `warning` or `exceeded`) → how often."""
        self.refused = 0
        """Reservations."""
        self.kept: set[str] = set()
        """Ids of events."""

    def in_scope(self, run: Spender, now: int) -> list[Purse]:
        found = [purse for purse in self.purses if not purse.deleted and purse.covers(run)]
        for purse in found:
            self.turn(purse, now)
        return found

    @staticmethod
    def turn(purse: Purse, now: int) -> None:
        """A new period."""
        start = begin_of(purse.period, now)
        if start > purse.start:
            purse.start, purse.spent, purse.told_of = start, 0, set()
            purse.go_on()

    def spent_since(self, scope: tuple[str, str], start: int) -> int:
        purse = Purse("", "", scope, 0, "total", "warn", 0)
        return sum(nanos for at, run, nanos in self.sums if at >= start and purse.covers(run))

    # what is done

    def begin(self, run: Spender, now: int) -> None:
        self.runs[run.name] = run
        for purse in self.in_scope(run, now):
            if purse.stops:
                self._stop(purse, run)

    def spend(self, run: Spender, event_id: str, nanos: int, reservation: str | None, now: int) -> None:
        if event_id in self.kept:
            return
        self.kept.add(event_id)
        if run.name not in self.runs:
            self.begin(run, now)
        hold = self.holds.get(reservation or "")
        if hold is not None and hold.run is run:
            self._free(reservation or "")
        if not nanos:
            return
        self.sums.append((now, run, nanos))
        self._count({purse.budget_id: nanos for purse in self.in_scope(run, now)}, run)

    def link(self, run: Spender, now: int) -> None:
        """Its parent is told at last: trees have spent what it and those below it have."""
        trees = [purse for purse in self.purses if not purse.deleted and purse.scope[0] == "run"]
        for purse in trees:
            self.turn(purse, now)
        before = {purse.budget_id: self.spent_since(purse.scope, purse.start) for purse in trees}
        others = [purse for purse in trees if not purse.covers(run)]
        run.is_linked = True
        for purse in others:
            if purse.covers(run) and purse.stops:
                purse.step = "stop"
                self._stop(purse, run)
        more = {
            purse.budget_id: self.spent_since(purse.scope, purse.start) - before[purse.budget_id] for purse in trees
        }
        self._count({budget_id: nanos for budget_id, nanos in more.items() if nanos}, run)

    def _count(self, sums: dict[str, int], run: Spender) -> None:
        counting = [purse for purse in self.purses if purse.budget_id in sums]
        for purse in counting:
            was_stopping = purse.stops
            purse.spent += sums[purse.budget_id]
            self._tell(purse)
            if purse.stops and not was_stopping:
                purse.stop_anew()
        for purse in counting:
            if purse.stops:
                purse.let_go.discard(run.name)
                self._stop(purse, run)

    def _tell(self, purse: Purse) -> None:
        """Of whatever it is over, once."""
        over = {"warning"} if purse.spent >= purse.warn else set()
        over |= {"warning", "exceeded"} if purse.exceeded else set()
        self.told.update((purse.budget_id, what) for what in over - purse.told_of)
        purse.told_of |= over

    def warning(self, run: Spender, now: int) -> str | None:
        """What the reply to an event of this run says."""
        over = [purse for purse in self.in_scope(run, now) if purse.exceeded]
        first = next((purse for purse in over if purse.scope[0] == "agent"), over[0] if over else None)
        return None if first is None else first.words()

    def make(self, purse: Purse, now: int) -> None:
        purse.start = begin_of(purse.period, now)
        purse.spent = self.spent_since(purse.scope, purse.start)
        purse.step = "stop" if purse.stops else None
        self.purses.append(purse)

    def change(self, purse: Purse, now: int, amount: int | None, period: str | None, action: str | None) -> None:
        was_stopping, old = purse.stops and action in (None, purse.action), (purse.amount, purse.period)
        purse.amount, purse.action = amount or purse.amount, action or purse.action
        purse.warn = purse.amount // 2
        if period not in (None, purse.period):
            purse.period, purse.start = period or "", begin_of(period or "", now)
            purse.spent = self.spent_since(purse.scope, purse.start)
        self.turn(purse, now)
        if (purse.amount, purse.period) != old:
            purse.told_of = set()
        if not purse.stops:
            purse.go_on()
        elif not was_stopping or purse.step == "resume":
            purse.stop_anew()

    def delete(self, purse: Purse) -> None:
        purse.deleted = True
        purse.go_on()
        if not purse.has_paused:
            self.purses.remove(purse)

    def reserve(self, run: Spender, amount: int, now: int) -> Purse | None:
        """The budget that refuses it."""
        refusing = [purse for purse in self.in_scope(run, now) if purse.spent + purse.reserved + amount > purse.amount]
        self.refused += bool(refusing)
        return refusing[0] if refusing else None

    def hold(self, reservation: str, hold: Hold) -> None:
        self.holds[reservation] = hold
        for purse in hold.purses:
            purse.reserved += hold.amount

    def _free(self, reservation: str) -> None:
        hold = self.holds.pop(reservation)
        for purse in hold.purses:
            purse.reserved -= hold.amount

    def steer(self, run: Spender, action: str, now: int) -> None:
        """A person says so; it is nobody else's pause from then on."""
        for purse in self.purses:
            purse.paused.discard(run.name)
        if action == "resume":
            for purse in self.in_scope(run, now):
                if purse.stops:
                    purse.let_go.add(run.name)
        self._ask(run, action)

    @staticmethod
    def _ask(run: Spender, action: str) -> bool:
        if run.asked == action or (run.asked is None and action == "resume"):
            return False
        run.asked = action
        return True

    def _stop(self, purse: Purse, run: Spender) -> None:
        if run.name in purse.let_go:
            return
        self._tell(purse)  # what a change of its amount has crossed
        if self._ask(run, "pause"):
            purse.paused.add(run.name)
            purse.has_paused = True

    # what time does

    def sweep(self, now: int, steady: int) -> None:
        for reservation, hold in list(self.holds.items()):
            if hold.ends_at <= steady:
                self._free(reservation)
        for purse in self.purses:
            self.turn(purse, now)
        for purse in [purse for purse in self.purses if purse.step == "stop"]:
            purse.step = None
            for run in self.runs.values():
                if purse.covers(run):
                    self._stop(purse, run)
        for purse in [purse for purse in self.purses if purse.step == "resume"]:
            purse.step = None
            self._let_go_on(purse, now)

    def _let_go_on(self, purse: Purse, now: int) -> None:
        paused, purse.paused, purse.has_paused = purse.paused, set(), False
        for run in (self.runs[name] for name in paused):
            mine = self.in_scope(run, now)
            others = [one for one in mine if one.stops and one is not purse and run.name not in one.let_go]
            if others:
                others[0].paused.add(run.name)
                others[0].has_paused = True
            else:
                self._ask(run, "resume")
        if purse.deleted:
            self.purses.remove(purse)

    def restart(self, steady: int) -> None:
        for hold in self.holds.values():
            hold.ends_at = steady + hold.ttl_ms
