"""Budgets: an amount of money for a part of the organisation and a period, and what happens when it is used up.

A budget is state, no projection: its counter moves in the transaction of the event that spent, and a rebuild leaves it
alone. Periods are in UTC, by the server's clock when the event is stored. Money is integer nano-dollars.
"""

from __future__ import annotations

import enum
import functools
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

import msgspec

from towerlog.model.agent import normal_name
from towerlog.model.usage import MAX_SUM, format_dollars

MAX_BUDGETS = 200
"""Of an organisation: each is looked at whenever money is spent."""
MAX_HOLD_SECONDS = 3600
DEFAULT_HOLD_SECONDS = 60
"""How long a reservation holds its amount if nothing settles it."""
DEFAULT_WARN_AT = 0.8
MAX_RESERVATIONS = 10_000
"""Of an organisation that may be open at a time."""
MAX_RESERVATIONS_OF_KEY = 2500
"""The same of one key, so that none takes the place of all others."""
MAX_RESERVATIONS_OF_RUN = 100
"""The same of one run: a program that reserves and never tells of its calls holds no more than these."""
MAX_LARGE_HOLD_SECONDS = 300
"""How long a reservation may hold its amount with which its key holds more than a half of a budget: for so long all
other keys may find nothing left."""
MAX_COUNTED_HOLDERS = 64
"""Keys of which a budget knows what they hold; where there are more, the others hold too little for that to matter."""
MAX_LET_GO = 128
"""Runs that people let go on although a budget is used up, of which it knows that; of more, those that they let go on
first are asked again."""
MAX_BUDGET_BYTES = 10 * 1024
"""Of a budget as it is stored."""
MAX_REFUSALS_TOLD = 60
"""Reservations that one budget refuses in a minute and that their runs' logs tell of."""
MAX_KNOWN_HOURS = 64
"""Of which it is kept when their periods began: with each sum that is spent, all budgets ask that of one moment."""
MAX_KNOWN_AMOUNTS = 4096
"""Amounts and fractions of which it is kept what they come to: rules ask it of each budget with each sum."""
_HOUR_MS = 3_600_000


class Period(enum.StrEnum):
    """How long an amount is for; `total`: for ever."""

    TOTAL = "total"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class BudgetAction(enum.StrEnum):
    """What is asked of the open runs of a budget that is used up."""

    WARN = "warn"
    PAUSE = "pause"
    CANCEL = "cancel"


class BudgetState(enum.StrEnum):
    """`exceeded`: nothing is left of it; `warning`: less than the rest that it warns of."""

    OK = "ok"
    WARNING = "warning"
    EXCEEDED = "exceeded"


class BudgetStep(enum.StrEnum):
    """What is being brought to the runs of a budget, a few in each commit."""

    STOP = "stop"
    RESUME = "resume"


class BudgetScope(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Whose money a budget counts: exactly one of these."""

    organisation: bool = False
    agent: str | None = None
    """Name of the agent that spends, in whichever run."""
    thread_id: str | None = None
    run_id: str | None = None
    """The root of a tree: this run and all that are below it."""

    def __post_init__(self) -> None:
        if self.agent is not None:
            msgspec.structs.force_setattr(self, "agent", normal_name(self.agent))

    def covers(self, agent: str | None, thread_id: str) -> bool:
        """Whether it counts what this agent spends in this thread; what a tree spends is told by its runs."""
        if self.agent is not None:
            return self.agent == agent
        return self.organisation or (self.thread_id is not None and self.thread_id == thread_id)

    def subject(self) -> str:
        """What it is of, for people."""
        if self.agent is not None:
            return f"Agent '{self.agent}'"
        if self.thread_id is not None:
            return f"Thread '{self.thread_id}'"
        return "The organisation" if self.run_id is None else f"Run '{self.run_id}'"


class PeriodCount(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a budget has counted in a period that is not the present one."""

    start: int
    spent_nanos: int = 0
    warning_told: bool = msgspec.field(default=False, name="warned")
    exceeded_told: bool = msgspec.field(default=False, name="exceeded")
    kept_nanos: int = 0
    unpriced_calls: int = 0


class BudgetRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A budget and its counter. Times are wall ms."""

    org: int
    budget_id: str
    number: int
    """Rises with each creation in the organisation."""
    name: str
    scope: BudgetScope
    amount_nanos: int
    period: Period
    action: BudgetAction
    warn_at: float
    """The fraction of the amount from which on it warns."""
    warn_nanos: int
    """That much of it."""
    created_at: int
    created_by: str | None = None
    """A user id."""
    key_id: str = ""
    """Of the key that made it."""
    period_start: int = 0
    """When the period began that `spent_nanos` is of; 0 for `total`."""
    spent_nanos: int = 0
    aside: tuple[PeriodCount, ...] = ()
    """Periods that a clock which was set may come back to: the last one before this, and those that lie ahead."""
    begun_at: int = 0
    begun_nanos: int = 0
    """For `total`: since when it counts, and what was spent before that."""
    reserved_nanos: int = 0
    """What open reservations hold."""
    held_by: dict[str, int] = {}
    """Key id → how much of that its reservations hold."""
    kept_nanos: int = 0
    """What is held on in this period of reservations that were settled by calls whose cost nobody knows."""
    unpriced_calls: int = 0
    """Calls of this period whose cost nobody knows."""
    warning_told: bool = msgspec.field(default=False, name="warned")
    exceeded_told: bool = msgspec.field(default=False, name="exceeded")
    """What runs were told of in this period, once each; whether it is so now, the sum alone says."""
    step: BudgetStep | None = None
    step_after: int = 0
    """Number of the last run that the step has reached."""
    has_paused: bool = False
    """Some runs are paused by it."""
    let_go: tuple[int, ...] = ()
    """Numbers of runs that people have let go on since it was used up: until they spend again."""
    refused_since: int = 0
    refusals_told: int = 0
    """When the minute began in which it last told of a reservation that it refused, and how many it told of in it."""
    deleted: bool = False
    """It is gone for everybody, and is kept until the runs that it paused go on."""

    def held_nanos(self) -> int:
        """What is held of it and not spent, as far as is known."""
        return self.reserved_nanos + self.kept_nanos

    def is_mostly_held_by(self, key_id: str, more_nanos: int) -> bool:
        """Whether a key holds more than a half of it, with so much more."""
        return 2 * (self.held_by.get(key_id, 0) + more_nanos) > self.amount_nanos

    @property
    def state(self) -> BudgetState:
        """How much of it is left, in a word."""
        if self.is_exceeded:
            return BudgetState.EXCEEDED
        return BudgetState.WARNING if self.spent_nanos >= self.warn_nanos else BudgetState.OK

    @property
    def is_exceeded(self) -> bool:
        """Whether nothing is left of it now. A correction that takes some of the money back ends that."""
        return self.spent_nanos >= self.amount_nanos

    def is_stopping(self) -> bool:
        """Whether no run may begin in its scope, and open ones are asked to pause or to end."""
        return self.is_exceeded and self.action is not BudgetAction.WARN and not self.deleted

    def is_held_up(self) -> bool:
        """Whether it stops nobody any more, and what it has stopped was not asked to go on yet."""
        is_left = self.has_paused and self.step is not BudgetStep.RESUME
        return (is_left or self.step is BudgetStep.STOP) and not self.is_stopping()

    def resets_at(self) -> int | None:
        """When the next period begins; None for `total`."""
        return period_end(self.period, self.period_start)

    def due_at(self) -> int | None:
        """When the timer has something to do about it: 0 for now, None for never."""
        if self.step is not None:
            return 0
        return self.resets_at() if self.has_paused else None

    def told(self) -> str:
        """What those are told who spend from it once it is used up."""
        return f"{self.scope.subject()} has exceeded its budget of ${dollars_text(self.amount_nanos)}"

    def told_early(self) -> str:
        """The same where it only warns."""
        spent, amount = dollars_text(self.spent_nanos), dollars_text(self.amount_nanos)
        return f"{self.scope.subject()} has used ${spent} of its budget of ${amount}"

    def told_now(self) -> str:
        """The one or the other, by what is spent."""
        return self.told() if self.is_exceeded else self.told_early()


class SpendingPace(msgspec.Struct, frozen=True, gc=False):
    """How fast a budget is spent."""

    nanos_per_hour: int
    ends_at: int | None
    """When nothing will be left of it at this pace, wall ms; None where its period ends before, or nothing is spent."""


class Reservation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Money that a run may spend, held in every budget that counts it until an event settles it or its time is over."""

    org: int
    reservation_id: str
    run: int
    """The run's number."""
    amount_nanos: int
    ttl_ms: int
    expires_at: int
    """On the clock of leases. A restart gives each one its whole time anew."""
    budgets: tuple[str, ...] = ()
    """Ids of the budgets that hold it."""
    key_id: str = ""
    """Of the key that asked for it."""


class HeldWanted(NamedTuple):
    """Which open reservations are asked for: of an organisation, with lower ids than `before`, at most so many; in a
    budget, of a run (its number), of a key, where these are given."""

    org: int
    limit: int
    before: str | None = None
    budget_id: str | None = None
    run: int | None = None
    key_id: str | None = None


def dollars_text(nanos: int) -> str:
    """`10.00`, `0.0125`: two decimals, and as many more as are needed."""
    whole, _, part = format_dollars(nanos).partition(".")
    return f"{whole}.{part.ljust(2, '0')}" if nanos < MAX_SUM else f"{whole}.00 or more"


@functools.lru_cache(maxsize=MAX_KNOWN_AMOUNTS)
def warn_nanos(amount_nanos: int, warn_at: float) -> int:
    """From which amount on it warns."""
    return int((amount_nanos * Decimal(repr(warn_at))).to_integral_value(ROUND_CEILING))


def period_start(period: Period, now_ms: int) -> int:
    """When the period began that this moment is in; 0 for `total`."""
    return 0 if period is Period.TOTAL else _start_of(period, now_ms // _HOUR_MS)


@functools.lru_cache(maxsize=MAX_KNOWN_HOURS)
def _start_of(period: Period, hour: int) -> int:
    """The same for an hour, counted from 1970: every period begins with one."""
    now = datetime.fromtimestamp(hour * (_HOUR_MS // 1000), UTC)
    if period is not Period.HOUR:
        now = now.replace(hour=0)
    if period is Period.MONTH:
        now = now.replace(day=1)
    return int(now.timestamp()) * 1000


def period_end(period: Period, start_ms: int) -> int | None:
    """When the period ends that began then; None for `total`."""
    if period is Period.TOTAL:
        return None
    start = datetime.fromtimestamp(start_ms // 1000, UTC)
    # 32 days from the first of a month are in the next one.
    ahead = {Period.HOUR: timedelta(hours=1), Period.DAY: timedelta(days=1), Period.MONTH: timedelta(days=32)}
    return period_start(period, int((start + ahead[period]).timestamp()) * 1000)


# Commands and questions


class CreateBudget(msgspec.Struct, frozen=True, gc=False):
    """Make a budget; it begins with what its current period has spent."""

    name: str
    scope: BudgetScope
    amount_nanos: int
    period: Period
    action: BudgetAction
    warn_at: float = DEFAULT_WARN_AT
    dry_run: bool = False
    """Only tell how it would be."""


class ChangeBudget(msgspec.Struct, frozen=True, gc=False):
    """Change a budget; None leaves what it is about as it is."""

    budget_id: str
    name: str | None = None
    amount_nanos: int | None = None
    period: Period | None = None
    action: BudgetAction | None = None
    warn_at: float | None = None
    dry_run: bool = False
    """Only tell how it would be."""


class DeleteBudget(msgspec.Struct, frozen=True, gc=False):
    """Delete a budget; what it paused goes on."""

    budget_id: str


class ReserveBudget(msgspec.Struct, frozen=True, gc=False):
    """Hold an amount for a run in all budgets that count what it spends, if each has that much left."""

    run_id: str
    """The run's id, or what its client calls it (`run_key`, `sdk_run_id`)."""
    amount_nanos: int
    ttl_ms: int = DEFAULT_HOLD_SECONDS * 1000
    agent: str | None = None
    """Name of the agent that will spend it; None: the run's own."""


class ReleaseReservation(msgspec.Struct, frozen=True, gc=False):
    """Hold nothing any more by a reservation, before an event settles it or its time is over."""

    reservation_id: str


class ListReservations(msgspec.Struct, frozen=True, gc=False):
    """Open reservations, newest first: in a budget, of a run, of a key, where these are given. `before`: the id of the
    last one that was seen."""

    limit: int
    before: str | None = None
    budget_id: str | None = None
    run_id: str | None = None
    key_id: str | None = None


class ListBudgets(msgspec.Struct, frozen=True, gc=False):
    """Budgets, newest first. `before` is the number of the last one seen."""

    limit: int
    before: int | None = None


class GetBudget(msgspec.Struct, frozen=True, gc=False):
    """One budget."""

    budget_id: str


class BudgetNow(msgspec.Struct, frozen=True, gc=False):
    """A budget in its present period; `created`: whether this command created it."""

    row: BudgetRow
    created: bool = False
    pace: SpendingPace | None = None
    """Only where budgets are read."""


class ReservationNow(msgspec.Struct, frozen=True, gc=False):
    """A reservation, and the id of its run. `row.expires_at` is by the wall clock."""

    row: Reservation
    run_id: str


class Reserved(msgspec.Struct, frozen=True, gc=False):
    """Whether money is held. `refused_by`: id of the budget that has not so much left."""

    reservation_id: str | None
    refused_by: str | None = None
