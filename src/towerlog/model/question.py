"""Questions: the commands that only read, which do not pass the writer, and the streams.

`model/command.py` has the writing half and the whole set.
"""

from __future__ import annotations

import enum

import msgspec

from towerlog.model.alert import GetAlert, GetRule, ListAlerts, ListRules
from towerlog.model.alert_preview import PreviewRule
from towerlog.model.approval import ApprovalKind, GetApproval
from towerlog.model.audit import ListAudit
from towerlog.model.budget import GetBudget, ListBudgets, ListReservations
from towerlog.model.delivery import GetDelivery, ListDeliveries
from towerlog.model.member import ListMembers, ListSessions, ListSignInLinks
from towerlog.model.persona import GetPersona, GetRoute, ListPersonas, ListRoutes
from towerlog.model.price import FindListedPrices, GetPrice, ListPrices
from towerlog.model.retention import RetentionRead
from towerlog.model.run import Status


class RunFilter(msgspec.Struct, frozen=True, gc=False):
    """Conditions that must all hold; None: no condition."""

    statuses: tuple[Status, ...] | None = None
    agent: str | None = None
    thread_id: str | None = None
    model: str | None = None
    persona_id: str | None = None
    parent_run_id: str | None = None
    since: int | None = None
    until: int | None = None
    q: str | None = None
    """Words that it must all have, or parts of words: in its run, thread, trace or foreign id, in its agent's name, or
    in its `RunText`; case does not matter."""
    metadata: tuple[tuple[str, str], ...] = ()
    """Members that the metadata must have: a text, or a number, true, false or null as JSON writes it."""
    labels: tuple[tuple[str, str], ...] = ()
    """Labels that its worker must have."""
    min_cost_nanos: int | None = None
    max_cost_nanos: int | None = None
    has_errors: bool | None = None
    """Whether it has failed, was lost, or says what went wrong."""
    silent: bool | None = None
    """Whether its agent has given no sign of life for so long that this was noted."""


def unindexed(wanted: RunFilter) -> str | None:
    """The name of a parameter that only a look into each row can answer; None where there is none."""
    asked = {
        "q": wanted.q,
        "metadata": wanted.metadata,
        "label": wanted.labels,
        "min_cost_usd": wanted.min_cost_nanos,
        "max_cost_usd": wanted.max_cost_nanos,
        "has_errors": wanted.has_errors,
        "silent": wanted.silent,
    }
    return next((name for name, value in asked.items() if value not in (None, (), "")), None)


class ListRuns(msgspec.Struct, frozen=True, gc=False):
    """Runs, newest first. `before` is the run id of the last row seen; an unknown one is refused."""

    filter: RunFilter
    limit: int
    before: str | None = None
    given_as: str = "before"
    """What its sender calls that, for the refusal."""


class CountRuns(msgspec.Struct, frozen=True, gc=False):
    """How many runs a filter finds, by status, agent, model and persona."""

    filter: RunFilter


class GetDurations(msgspec.Struct, frozen=True, gc=False):
    """How long ended runs took, grouped `by` hour, day, agent, model, status or thread."""

    by: str
    filter: RunFilter
    limit: int


class SumRuns(msgspec.Struct, frozen=True, gc=False):
    """What runs have used, grouped `by` hour, day, agent, model, status or thread."""

    by: str
    filter: RunFilter
    limit: int


class GetOutline(msgspec.Struct, frozen=True, gc=False):
    """What a run spent its time on, in a window of it (wall ms; None: all of it), for a drawing of so many pixels."""

    run_id: str
    width: int
    since: int | None = None
    until: int | None = None


class GetRun(msgspec.Struct, frozen=True, gc=False):
    """One run. `tree`: with its descendants."""

    run_id: str
    tree: bool = False


class FindRuns(msgspec.Struct, frozen=True, gc=False):
    """The ids of runs that begin with `prefix` (lower case, dashes in their places), in the order of the ids."""

    prefix: str
    limit: int


class ListThreads(msgspec.Struct, frozen=True, gc=False):
    """Threads, newest first. `before` is a thread id."""

    limit: int
    before: str | None = None
    q: str | None = None
    """Words of a search, all of which stand in the id or the title."""


class GetThread(msgspec.Struct, frozen=True, gc=False):
    """One thread."""

    thread_id: str


class ListThreadRuns(msgspec.Struct, frozen=True, gc=False):
    """The runs of a thread that must exist, newest first."""

    thread_id: str
    limit: int


class LatestCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """The state that a thread resumes from, or that of one of its runs."""

    thread_id: str
    trace_id: str | None = None
    """The run's; None for that of the thread's own runs which was stored last."""
    agent: str | None = None
    """Whose checkpoint, where several agents report into the run; None for the newest."""


class ListApprovals(msgspec.Struct, frozen=True, gc=False):
    """What is open in the inbox, oldest first, after a position; of one kind or of one run, where these are given."""

    limit: int
    after: int = 0
    kind: ApprovalKind | None = None
    run_id: str | None = None


class ListCheckpoints(msgspec.Struct, frozen=True, gc=False):
    """The checkpoints of a run by step."""

    run_id: str
    limit: int
    after: tuple[int, str] | None = None
    """(step_index, agent) of the last one seen."""


class GetCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """One checkpoint with its history."""

    run_id: str
    step_index: int
    agent: str | None = None


class ListEvents(msgspec.Struct, frozen=True, gc=False):
    """A page of a run's log. `quarantined`: of what was refused from workers without the lease, instead."""

    run_id: str
    limit: int
    after_seq: int = 0
    types: tuple[str, ...] | None = None
    quarantined: bool = False
    names_agents: bool = False
    """Also the run, and the names of the agents that they are of."""


class Tail(msgspec.Struct, frozen=True, gc=False):
    """The newest `limit` events of an agent's feed, or those after a cursor (text, as it was sent)."""

    agent_id: str
    limit: int
    after: str | None = None


class ListAgents(msgspec.Struct, frozen=True, gc=False):
    """Agents by name. `after` is the last name seen; `name`: only that one."""

    limit: int
    after: str | None = None
    name: str | None = None


class GetAgent(msgspec.Struct, frozen=True, gc=False):
    """One agent by UUID."""

    agent_id: str


class ListLanes(msgspec.Struct, frozen=True, gc=False):
    """Lanes in the queue or held, oldest first; or (`statuses`) those of runs in one of these, newest first.

    At most `limit` are shown. The encoder cuts: several words of the dialect mean one status, and it filters by them.
    """

    limit: int
    statuses: tuple[Status, ...] | None = None


class ListWorkers(msgspec.Struct, frozen=True, gc=False):
    """Workers with the lanes that they hold; `worker_id`: only that one."""

    limit: int
    worker_id: str | None = None


class ListKeys(msgspec.Struct, frozen=True, gc=False):
    """The organisation's keys, newest first."""

    limit: int
    before: str | None = None


class GetUsage(msgspec.Struct, frozen=True, gc=False):
    """Roll-ups between two times (ms), grouped `by` hour, agent or model."""

    by: str
    limit: int
    since: int | None = None
    until: int | None = None
    agent: str | None = None
    model: str | None = None
    after: str | None = None


# Streams


class FollowRun(msgspec.Struct, frozen=True, gc=False):
    """A run's events after a seq. `follow` False: end when all stored events were sent.

    `epoch`: the log that the cursor belongs to, if it says so; None: this one.
    `is_reconnect`: the cursor is the id of the last event that this reader has received.
    """

    run_id: str
    after_seq: int = 0
    follow: bool = True
    epoch: str | None = None
    is_reconnect: bool = False


class FollowAgent(msgspec.Struct, frozen=True, gc=False):
    """An agent's feed: after a cursor, else from the newest `tail` events on; then live."""

    agent_id: str
    tail: int
    after: str | None = None


class RowKind(enum.StrEnum):
    """What can be watched: rows of these kinds."""

    RUN = "run"
    AGENT = "agent"
    LANE = "lane"
    BUDGET = "budget"
    APPROVAL = "approval"
    ALERT = "alert"


class RowFilter(msgspec.Struct, frozen=True):
    """Of which rows a reader is told when they change; None: no condition.

    A condition holds for rows that can meet it: an agent has no status, and is told of whatever statuses are asked for.
    """

    kinds: frozenset[RowKind] = frozenset(RowKind)
    agent: str | None = None
    statuses: frozenset[Status] | None = None
    thread_id: str | None = None
    run_id: str | None = None


class FollowRows(msgspec.Struct, frozen=True, gc=False):
    """The organisation's rows as they change. `after`: a cursor as it was sent; None: from now on.

    `follow` False: end when all that has changed by now was sent.
    """

    wanted: RowFilter
    after: str | None
    credits_per_dollar: int
    """What rows show money in, beside dollars."""
    follow: bool = True


class ListenKind(enum.Enum):
    """What can be listened to."""

    USER = "user"
    RUN = "run"
    AGENT = "agent"


class Listen(msgspec.Struct, frozen=True, gc=False):
    """All events of a run, of an agent, or of the runs that the caller's keys have begun, from now on."""

    kind: ListenKind
    name: str
    """Its id."""


Read = (
    ListRuns
    | CountRuns
    | GetDurations
    | SumRuns
    | GetOutline
    | GetRun
    | FindRuns
    | ListThreads
    | GetThread
    | ListThreadRuns
    | LatestCheckpoint
    | ListApprovals
    | GetApproval
    | ListCheckpoints
    | GetCheckpoint
    | ListEvents
    | Tail
    | ListAgents
    | GetAgent
    | ListLanes
    | ListWorkers
    | ListKeys
    | GetUsage
    | ListPersonas
    | GetPersona
    | ListRoutes
    | GetRoute
    | ListBudgets
    | GetBudget
    | ListReservations
    | ListPrices
    | FindListedPrices
    | GetPrice
    | ListRules
    | GetRule
    | ListAlerts
    | GetAlert
    | ListDeliveries
    | GetDelivery
    | PreviewRule
    | ListAudit
    | ListMembers
    | RetentionRead
    | ListSignInLinks
    | ListSessions
)


def may_take_long(asked: object) -> bool:
    """Whether it may take as long as a search does: it looks at any number of rows, until its time is over."""
    if isinstance(asked, ListRuns):
        return unindexed(asked.filter) is not None
    return isinstance(asked, CountRuns | GetDurations | SumRuns)


Stream = FollowRun | FollowAgent | FollowRows
